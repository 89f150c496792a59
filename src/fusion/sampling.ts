import type { StoredTensor } from "../checkpoints/tensor.ts";
import type { Graph } from "../graph/graph.ts";
import type { Plan } from "../graph/plan.ts";
import { Session } from "../graph/session.ts";
import { checkStepRange, runChecked } from "./finite.ts";
import type { FusionJob } from "./recipe.ts";
import type { Task } from "./tasks.ts";
import { compileTiles, joinTilePlans, type OpenSession, type OpenTiles, openTiles, prepareTiles, type RunSession, runTiles, type TiledNetwork, type TilePlans } from "./tiles.ts";

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
  /** The same work in tiles. */
  tiles(): TiledSamplingGraphs;
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

/** The graphs of a sampler whose network works in tiles; see src/fusion/tiles.ts. */
export interface TiledSamplingGraphs extends Pick<SamplingGraphs, "finish"> {
  /** From `first` and `second`: outputs the network's pictures but `sample`, what is `given` to it, and `start` as in `SamplingGraphs`. */
  readonly once: Graph;
  /** Which outputs of `once` go into which inputs of the network, whatever the tile; its only other input beside pictures is `time`. */
  readonly given: Readonly<Record<string, string>>;
  readonly network: TiledNetwork;
  /** What a step does with the network's `output`: inputs and outputs as in `SamplingGraphs.step`, and `sample` as an output too. */
  readonly update: Graph;
}

/** The compiled graphs of a sampler. */
export interface SamplingPlans {
  readonly once: Plan;
  /** Holds the outputs of `once` while its memory makes room for that of `step`. */
  readonly held: Plan;
  readonly step: Plan;
  readonly finish: Plan;
}

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
    await runner(debug, "what is computed before the first step")(once);
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

/** Runs a session, or with `debug` operator by operator; `when` is for the message. */
export const runner =
  (debug: boolean, when: string): RunSession =>
  async (session) => {
    if (debug) await runChecked(session, when);
    else session.run();
  };

/** A step whose network works in tiles. */
export interface TiledStep {
  /** What follows the network: has the step's inputs but `time`, and its outputs. */
  readonly session: Session;
  write(name: string, data: Float32Array): void;
  /** @throws the signal's reason when it stops the run between tiles */
  run(run: RunSession, signal?: AbortSignal): Promise<void>;
  dispose(): void;
}

/** The compiled graphs of a sampler in tiles. */
export interface TiledSamplingPlans {
  readonly once: Plan;
  readonly given: Readonly<Record<string, string>>;
  readonly tiles: TilePlans;
  readonly update: Plan;
  readonly finish: Plan;
}

/** @param edge longest side of a tile */
export function compileTiledSampling({ once, given, network, update, finish }: TiledSamplingGraphs, edge: number, compile: (graph: Graph) => Plan): TiledSamplingPlans {
  return { once: compile(once), given, tiles: compileTiles(network, edge, compile), update: compile(update), finish: compile(finish) };
}

/** As `prepareSteps`, in tiles. */
export async function prepareTiledSteps(
  open: OpenSession,
  plans: TiledSamplingPlans,
  job: SamplingJob,
  pictures: Readonly<Record<"first" | "second", Float32Array>>,
  debug = false,
  signal?: AbortSignal,
): Promise<TiledStep> {
  const once = await open(plans.once);
  let tiles: OpenTiles | undefined;
  let session: Session | undefined;
  try {
    for (const [name, data] of Object.entries({ ...pictures, ...job.onceInputs })) once.write(name, data);
    await runner(debug, "what is computed before the first step")(once);
    tiles = await openTiles(plans.tiles, open);
    session = await open(plans.update);
    const { source, given } = tiles;
    const outputs = plans.once.outputs.map(({ tensor }) => tensor.name);
    once.copyTo(source, Object.fromEntries(plans.tiles.network.pictures.filter((name) => outputs.includes(name)).map((name) => [name, name])));
    once.copyTo(given, plans.given);
    if (job.start) session.write("sample", job.start);
    else once.copyTo(session, { start: "sample" });
  } catch (error) {
    tiles?.dispose();
    session?.dispose();
    throw error;
  } finally {
    once.dispose();
  }
  const [network, update] = [tiles, session];
  const stopBy = (stop?: AbortSignal) => (): void => stop?.throwIfAborted();
  try {
    await prepareTiles(plans.tiles, network, { open, run: runner(debug, "what is computed before the first step"), onTile: stopBy(signal) });
  } catch (error) {
    network.dispose();
    update.dispose();
    throw error;
  }
  return {
    session: update,
    write: (name, data) => (name === "time" ? network.given : update).write(name, data),
    async run(run, signalOfRun) {
      update.copyTo(network.source, { sample: "sample" });
      await runTiles(plans.tiles, network, { open, run, onTile: stopBy(signalOfRun) });
      network.canvas.copyTo(update, { output: "output" });
      await run(update);
    },
    dispose() {
      network.dispose();
      update.dispose();
    },
  };
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
export async function runSteps(step: Session | TiledStep, finish: Session, job: SamplingJob, hooks: StepHooks = {}): Promise<void> {
  const { signal, onStep, onPreview, previewEvery = 1, onKeep, from, debug = false } = hooks;
  const total = job.steps.length;
  const session = step instanceof Session ? step : step.session;
  const started = performance.now();
  if (from) {
    session.write("sample", from.sample);
    session.write("previous", from.previous);
  }
  for (const [i, inputs] of job.steps.entries()) {
    const done = i + 1;
    if (from && done <= from.done) continue;
    // One step at a time, so that progress is true and a run can be stopped.
    await session.finished();
    onStep?.(i, total);
    signal?.throwIfAborted();
    for (const [name, data] of Object.entries(inputs)) step.write(name, data);
    const run = runner(debug, `step ${done} of ${total}`);
    if (step instanceof Session) await run(step);
    else await step.run(run, signal);
    session.copyTo(finish, { "output range": stepRange(done) });
    session.copyTo(session, { next: "sample", x0: "previous" });
    if (done === total) break;
    if (onKeep && performance.now() - started > KEEP_AFTER) {
      // Not waited for; that a device is lost meanwhile shows elsewhere.
      Promise.all([session.read("next"), session.read("x0")]).then(([sample, previous]) => onKeep({ done, sample, previous }), () => undefined);
    }
    if (onPreview && done % previewEvery === 0) {
      session.copyTo(finish, { x0: "sample" });
      finish.run();
      checkStepRange(await finish.read(stepRange(done)), done, total);
      await onPreview(done);
    }
  }
  session.copyTo(finish, { next: "sample" });
  await runner(debug, "what follows the last step")(finish);
  const ranges = await Promise.all(job.steps.map((_, i) => finish.read(stepRange(i + 1))));
  onStep?.(total, total);
  for (const [i, range] of ranges.entries()) checkStepRange(range, i + 1, total);
}

/** The name of what is known about the k-th step in the finishing graph. */
export const stepRange = (k: number): string => `step ${k}`;

/** As `joinPlans`, of a sampler in tiles. */
export function joinTiledPlans({ once, tiles, update, finish }: TiledSamplingPlans, steps: number): Plan & { readonly steps: number } {
  const { preparing, ...step } = joinTilePlans(tiles, [update]);
  const constants = new Map([once, step, finish].flatMap((plan) => plan.constants).map((constant) => [constant.key, constant]));
  return {
    ...step,
    dispatches: [...once.dispatches, ...step.dispatches, ...finish.dispatches],
    inputs: once.inputs,
    outputs: finish.outputs,
    constants: [...constants.values()],
    peakBytes: Math.max(step.peakBytes + finish.peakBytes, once.peakBytes + tiles.source.peakBytes + tiles.given.peakBytes + tiles.canvas.peakBytes + update.peakBytes),
    operations: once.operations + preparing + steps * step.operations + finish.operations,
    steps,
  };
}

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
