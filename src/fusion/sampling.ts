import type { StoredTensor } from "../checkpoints/tensor.ts";
import type { Graph } from "../graph/graph.ts";
import type { Plan } from "../graph/plan.ts";
import type { Session } from "../graph/session.ts";
import { checkStepRange, runChecked } from "./finite.ts";
import type { FusionJob } from "./recipe.ts";
import type { Task } from "./tasks.ts";

/** The samplers that `--sampler` names. */
export const SAMPLERS = ["ddim", "ddpm", "dpm++"] as const;

export type Sampler = (typeof SAMPLERS)[number];

/** How a diffusion model samples; what is left out takes the recipe's default. */
export interface SamplingOptions {
  readonly task: Task;
  readonly steps?: number;
  readonly sampler?: Sampler;
  /** Share of fresh noise in DDIM, 0 … 1. */
  readonly eta?: number;
  /** A whole number from 0; the same seed gives the same noise to the bit everywhere. */
  readonly seed?: number;
  /** Imported noise, instead of the seed's: `noise.0` is the start, `noise.k` what the k-th step that runs adds; 1 × 3 × padded height × padded width. */
  readonly noise?: ReadonlyMap<string, StoredTensor>;
}

/** How a diffusion model fuses: a sampler's loop around a network. */
export interface SamplingRecipe {
  /** How the published program makes 8-bit numbers, for `--reference`. */
  readonly rounding: "half-even";
  sample(job: FusionJob, options: SamplingOptions): SamplingJob;
}

/** One fusion: its graphs and what goes into them. */
export interface SamplingJob {
  /** Built when asked for, since pictures of one size share them. */
  graphs(): SamplingGraphs;
  /** Inputs of `once` beside the pictures. */
  readonly onceInputs: Readonly<Record<string, Float32Array>>;
  /** The first `sample`, where it is imported. */
  readonly start?: Float32Array;
  /** Inputs of each step that runs. */
  readonly steps: readonly Readonly<Record<string, Float32Array>>[];
}

/** The graphs of a sampler; pictures come in as in `Recipe`. */
export interface SamplingGraphs {
  /** What is done once a pair, from `first` and `second`: outputs `shared`, and `start` where the noise is made here. */
  readonly once: Graph;
  /** One step: inputs `sample`, `previous`, `shared` and those of `steps`; outputs `next`, `x0` and `output range`, the `minMax` of the network's output. */
  readonly step: Graph;
  /**
   * From the last `sample` to the fused picture in 0..`pictureScale`, its first output, and `range` as in `Recipe`; inputs and outputs
   * `step k` hold the `output range` of the k-th step.
   */
  readonly finish: Graph;
}

/** The compiled graphs of a sampler. */
export interface SamplingPlans {
  readonly once: Plan;
  /** Holds the outputs of `once` while its memory makes room for that of `step`. */
  readonly held: Plan;
  readonly step: Plan;
  readonly finish: Plan;
}

/** Allocates a plan. */
export type OpenSession = (plan: Plan) => Promise<Session>;

export function compileSampling({ once, step, finish }: SamplingGraphs, compile: (graph: Graph) => Plan): SamplingPlans {
  const held = { inputs: once.outputs, nodes: [], outputs: once.outputs };
  return { once: compile(once), held: compile(held), step: compile(step), finish: compile(finish) };
}

/** Does what is done once a pair and opens a step that has its results. The caller disposes of the session. */
export async function prepareSteps(
  open: OpenSession,
  plans: SamplingPlans,
  job: SamplingJob,
  pictures: Readonly<Record<"first" | "second", Float32Array>>,
  debug = false,
): Promise<Session> {
  const sessions: Session[] = [];
  const opened = async (plan: Plan): Promise<Session> => {
    const session = await open(plan);
    sessions.push(session);
    return session;
  };
  const names = plans.once.outputs.map(({ tensor }) => tensor.name);
  try {
    const once = await opened(plans.once);
    for (const [name, data] of Object.entries({ ...pictures, ...job.onceInputs })) once.write(name, data);
    if (debug) await runChecked(once, "what is computed before the first step");
    else once.run();
    const held = await opened(plans.held);
    once.copyTo(held, Object.fromEntries(names.map((name) => [name, name])));
    once.dispose();
    const step = await open(plans.step);
    held.copyTo(step, Object.fromEntries(names.map((name) => [name, name === "start" ? "sample" : name])));
    if (job.start) step.write("sample", job.start);
    return step;
  } finally {
    for (const session of sessions) session.dispose();
  }
}

/** What the host keeps of a long run, to go on from when the device is lost. */
export interface KeptStep {
  /** How many steps are done. */
  readonly done: number;
  /** x_t after them and the last x_0, as the step's inputs take them. */
  readonly sample: Float32Array;
  readonly previous: Float32Array;
}

/** What happens beside the sampler's loop. */
export interface StepHooks {
  readonly signal?: AbortSignal | undefined;
  readonly onStep?: (done: number, total: number) => void;
  /** Called after each `previewEvery`-th step but the last, while `finish` holds the picture that the network sees in x_t. */
  readonly onPreview?: ((step: number) => Promise<void>) | undefined;
  readonly previewEvery?: number | undefined;
  /** Called when a step has come to the host, in runs of more than a minute. */
  readonly onKeep?: (kept: KeptStep) => void;
  /** Where to go on; `step` gets its tensors here. */
  readonly from?: KeptStep | undefined;
  /** Runs operator by operator and names the first whose output is not finite. */
  readonly debug?: boolean | undefined;
}

/** Milliseconds of a run after which a lost device costs more than a copy of each step. */
const KEEP_AFTER = 60_000;

/**
 * Runs the sampler's loop. Nothing is read back until the last step is done, unless a hook asks for it; then `finish` has the fused
 * picture and its range.
 *
 * @throws SinterError `NOT_FINITE` naming the step; the signal's reason when it stops the run between steps
 */
export async function runSteps(step: Session, finish: Session, job: SamplingJob, hooks: StepHooks = {}): Promise<void> {
  const { signal, onStep, onPreview, previewEvery = 1, onKeep, from, debug = false } = hooks;
  const total = job.steps.length;
  const started = performance.now();
  if (from) {
    step.write("sample", from.sample);
    step.write("previous", from.previous);
  }
  for (const [i, inputs] of job.steps.entries()) {
    const done = i + 1;
    if (from && done <= from.done) continue;
    // One step at a time, so that progress is true and a run can be stopped.
    await step.finished();
    onStep?.(i, total);
    signal?.throwIfAborted();
    for (const [name, data] of Object.entries(inputs)) step.write(name, data);
    if (debug) await runChecked(step, `step ${done} of ${total}`);
    else step.run();
    step.copyTo(finish, { "output range": stepRange(done) });
    step.copyTo(step, { next: "sample", x0: "previous" });
    if (done === total) break;
    if (onKeep && performance.now() - started > KEEP_AFTER) {
      // Not waited for; that a device is lost meanwhile shows elsewhere.
      Promise.all([step.read("next"), step.read("x0")]).then(([sample, previous]) => onKeep({ done, sample, previous }), () => undefined);
    }
    if (onPreview && done % previewEvery === 0) {
      step.copyTo(finish, { x0: "sample" });
      finish.run();
      checkStepRange(await finish.read(stepRange(done)), done, total);
      await onPreview(done);
    }
  }
  step.copyTo(finish, { next: "sample" });
  if (debug) await runChecked(finish, "what follows the last step");
  else finish.run();
  const ranges = await Promise.all(job.steps.map((_, i) => finish.read(stepRange(i + 1))));
  onStep?.(total, total);
  for (const [i, range] of ranges.entries()) checkStepRange(range, i + 1, total);
}

/** The name of what is known about the k-th step in the finishing graph. */
export const stepRange = (k: number): string => `step ${k}`;

/** The plans of a sampling job as one: what `--dry-run` shows, with the work of all steps and the memory of those needed together. */
export function joinPlans({ once, held, step, finish }: SamplingPlans, steps: number): Plan & { readonly steps: number } {
  const plans = [once, step, finish];
  const constants = new Map(plans.flatMap((plan) => plan.constants).map((constant) => [constant.key, constant]));
  const constantBytes = plans.reduce((sum, plan) => sum + plan.constantBytes, 0);
  const bytes = ({ peakBytes, constantBytes: own }: Plan): number => peakBytes - own;
  return {
    dispatches: plans.flatMap((plan) => plan.dispatches),
    inputs: once.inputs,
    outputs: finish.outputs,
    buffers: [...step.buffers, ...finish.buffers],
    constants: [...constants.values()],
    constantBytes,
    peakBytes: constantBytes + Math.max(bytes(once) + bytes(held), bytes(step) + Math.max(bytes(held), bytes(finish))),
    operations: once.operations + steps * step.operations + finish.operations,
    steps,
  };
}
