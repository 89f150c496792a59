import { compileSampling, joinPlans, prepareSteps, runSteps, type SamplingJob, type SamplingPlans } from "../src/fusion/sampling.ts";
import { compile, type Plan } from "../src/graph/plan.ts";
import { ConstantStore, Session } from "../src/graph/session.ts";
import type { Device } from "../src/runtime/device.ts";
import { PipelineCache } from "../src/runtime/pipelines.ts";
import type { Forecast } from "./budget.ts";
import { openBenchDevice } from "./gpu.ts";
import { median } from "./statistics.ts";
import type { Pictures, Size, Workload } from "./workload.ts";

/** A whole network, or one part of it, at one size. */
export interface WholeRun extends Size {
  /** `fusion`: from two pictures in memory to one. `once`, `step`: the parts of a diffusion model, from the CPU's go to the GPU's done. */
  readonly part: string;
  /** First run on a new device: graph, plan, memory and shaders included; absent where that was another row's. */
  readonly firstMilliseconds?: number;
  /** Median of the runs after it. */
  readonly milliseconds: number;
  readonly runs: number;
  readonly millisecondsPerMegapixel: number;
  readonly dispatches: number;
  readonly pipelines: number;
  readonly gigaflopsPerSecond: number;
  /** Of the measured peak of f32 arithmetic. */
  readonly shareOfPeak: number;
  /** Bytes of GPU memory, as planned. */
  readonly peakBytes: number;
}

/** What a run is given: the time by the clock until which it may go on, and what is known of this adapter's speed. */
export interface Limits {
  readonly until: number;
  readonly forecast: Forecast;
  readonly f32GigaflopsPerSecond: number;
}

const MOST_RUNS = 15;
const LEAST_RUNS = 2;
/** Steady runs need no longer. */
const ENOUGH_MILLISECONDS = 6000;

interface Timed {
  readonly first: number;
  readonly times: readonly number[];
}

/** One run first, then at least two more. */
async function repeat(started: number, until: number, run: () => Promise<void>): Promise<Timed> {
  await run();
  const first = performance.now() - started;
  const times: number[] = [];
  const enough = performance.now() + ENOUGH_MILLISECONDS;
  while (times.length < LEAST_RUNS || (times.length < MOST_RUNS && performance.now() < Math.min(enough, until))) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  return { first, times };
}

/**
 * Times a workload at one size; each size on a device of its own, so that no shader is compiled before its first run.
 *
 * @returns undefined when the forecast says that it would not be done in time
 */
export async function timeWorkload(workload: Workload, size: Size, deviceName: string | undefined, limits: Limits): Promise<WholeRun[] | undefined> {
  const device = await openBenchDevice(deviceName);
  try {
    return await (workload.sampling ? timeSampling(workload, workload.sampling(size), size, device, limits) : timeGraph(workload, size, device, limits));
  } finally {
    device.gpu.destroy();
  }
}

const fits = (plans: readonly Plan[], { until, forecast }: Limits): boolean =>
  plans.reduce((sum, { dispatches }) => sum + (1 + LEAST_RUNS) * forecast.milliseconds(dispatches), 0) <= until - performance.now();

async function timeGraph(workload: Workload, size: Size, device: Device, limits: Limits): Promise<WholeRun[] | undefined> {
  const started = performance.now();
  const [part] = workload.parts(size);
  if (!part) return undefined;
  const plan = compile(part.graph, device.traits);
  if (!fits([plan], limits)) return undefined;
  const pictures = workload.pictures(size);
  const constants = new ConstantStore(device);
  const opened = await open(plan, device, new PipelineCache(device), constants);
  const timed = await repeat(started, limits.until, async () => {
    await runOnce(opened.session, pictures);
  });
  opened.session.dispose();
  constants.dispose();
  limits.forecast.learn(plan.dispatches, median(timed.times));
  return [wholeRun(part.name, size, timed, plan, opened.pipelines, limits)];
}

async function timeSampling(workload: Workload, job: SamplingJob, size: Size, device: Device, limits: Limits): Promise<WholeRun[] | undefined> {
  const started = performance.now();
  const plans = compileSampling(job.graphs(), (graph) => compile(graph, device.traits));
  if (!fits([plans.once, plans.step], limits)) return undefined;
  const pictures = workload.pictures(size);
  const pipelines = new PipelineCache(device);
  const constants = new ConstantStore(device);
  // The other half is for a whole fusion.
  const half = (performance.now() + limits.until) / 2;

  const once = await open(plans.once, device, pipelines, constants);
  const onceTimed = await repeat(started, half, async () => {
    for (const [name, data] of Object.entries({ ...pictures, ...job.onceInputs })) once.session.write(name, data);
    once.session.run();
    await once.session.finished();
  });
  once.session.dispose();
  limits.forecast.learn(plans.once.dispatches, median(onceTimed.times));

  const stepStarted = performance.now();
  const stepOpened = await open(plans.step, device, pipelines, constants);
  const [inputs = {}] = job.steps;
  const stepTimed = await repeat(stepStarted, half, async () => {
    for (const [name, data] of Object.entries(inputs)) stepOpened.session.write(name, data);
    stepOpened.session.run();
    stepOpened.session.copyTo(stepOpened.session, { next: "sample", x0: "previous" });
    await stepOpened.session.finished();
  });
  stepOpened.session.dispose();
  limits.forecast.learn(plans.step.dispatches, median(stepTimed.times));

  const rows = [
    wholeRun("once", size, onceTimed, plans.once, once.pipelines, limits),
    wholeRun("step", size, stepTimed, plans.step, stepOpened.pipelines, limits),
  ];
  const expected = median(onceTimed.times) + job.steps.length * median(stepTimed.times);
  if (expected <= limits.until - performance.now()) rows.push(await timeFusion(plans, job, pictures, size, device, pipelines, constants, limits));
  constants.dispose();
  return rows;
}

/** All steps from two pictures in memory to one, with memory allocated anew as the engine does it and kernels already compiled. */
async function timeFusion(
  plans: SamplingPlans,
  job: SamplingJob,
  pictures: Pictures,
  size: Size,
  device: Device,
  pipelines: PipelineCache,
  constants: ConstantStore,
  limits: Limits,
): Promise<WholeRun> {
  const create = (plan: Plan): Promise<Session> => Session.create(plan, device, pipelines, constants);
  const times: number[] = [];
  const enough = Math.min(limits.until, performance.now() + ENOUGH_MILLISECONDS);
  do {
    const start = performance.now();
    const step = await prepareSteps(create, plans, job, pictures);
    const finish = await create(plans.finish);
    await runSteps(step, finish, job);
    await finish.read(plans.finish.outputs[0]?.tensor.name ?? "");
    times.push(performance.now() - start);
    step.dispose();
    finish.dispose();
  } while (times.length < MOST_RUNS && performance.now() + (times[0] ?? 0) < enough);
  const plan = joinPlans(plans, job.steps.length);
  const dispatches = plans.once.dispatches.length + job.steps.length * plans.step.dispatches.length + plans.finish.dispatches.length;
  return { ...wholeRun(`fusion, ${job.steps.length} steps`, size, { times }, plan, 0, limits), dispatches };
}

async function open(plan: Plan, device: Device, pipelines: PipelineCache, constants: ConstantStore): Promise<{ readonly session: Session; readonly pipelines: number }> {
  let compiled = 0;
  const session = await Session.create(plan, device, pipelines, constants, (_, total) => {
    compiled = total;
  });
  return { session, pipelines: compiled };
}

function wholeRun(part: string, size: Size, { first, times }: Partial<Timed> & Pick<Timed, "times">, plan: Plan, pipelines: number, limits: Limits): WholeRun {
  const milliseconds = median(times);
  const gigaflopsPerSecond = plan.operations / milliseconds / 1e6;
  return {
    ...size,
    part,
    ...(first !== undefined && { firstMilliseconds: first }),
    milliseconds,
    runs: times.length,
    millisecondsPerMegapixel: (milliseconds * 1e6) / (size.width * size.height),
    dispatches: plan.dispatches.length,
    pipelines,
    gigaflopsPerSecond,
    shareOfPeak: gigaflopsPerSecond / limits.f32GigaflopsPerSecond,
    peakBytes: plan.peakBytes,
  };
}

/** @returns milliseconds from the inputs in memory to the result in memory */
export async function runOnce(session: Session, inputs: Readonly<Record<string, Float32Array>>): Promise<number> {
  const [output] = session.plan.outputs;
  const started = performance.now();
  for (const [name, data] of Object.entries(inputs)) session.write(name, data);
  session.run();
  await session.read(output?.tensor.name ?? "");
  return performance.now() - started;
}
