import { compile } from "../src/graph/plan.ts";
import { ConstantStore, Session } from "../src/graph/session.ts";
import { PipelineCache } from "../src/runtime/pipelines.ts";
import { openBenchDevice } from "./gpu.ts";
import { median } from "./statistics.ts";
import type { Size, Workload } from "./workload.ts";

/** Whole runs at one size, from two pictures in memory to one: upload, all dispatches, read-back. */
export interface WholeRun extends Size {
  /** First run on a new device: graph, plan, memory and shaders included. */
  readonly firstMilliseconds: number;
  /** Median of the runs after it. */
  readonly milliseconds: number;
  readonly runs: number;
  readonly millisecondsPerMegapixel: number;
  readonly dispatches: number;
  readonly pipelines: number;
  /** Bytes of GPU memory, as planned. */
  readonly peakBytes: number;
}


export async function timeWholeRun(workload: Workload, size: Size, deviceName: string | undefined): Promise<WholeRun> {
  const pictures = workload.pictures(size);
  // Each size on a device of its own, so that no shader is compiled before its first run.
  const device = await openBenchDevice(deviceName);
  const constants = new ConstantStore(device);
  let pipelines = 0;
  const started = performance.now();
  const plan = compile(workload.graph(size), device.traits);
  const session = await Session.create(plan, device, new PipelineCache(device), constants, (_, total) => {
    pipelines = total;
  });
  const first = await runOnce(session, pictures);
  const firstMilliseconds = performance.now() - started;
  const times: number[] = [];
  let spent = first;
  while (times.length < 2 || (times.length < 15 && spent < 6000)) {
    const time = await runOnce(session, pictures);
    times.push(time);
    spent += time;
  }
  session.dispose();
  constants.dispose();
  device.gpu.destroy();
  const milliseconds = median(times);
  return {
    ...size,
    firstMilliseconds,
    milliseconds,
    runs: times.length,
    millisecondsPerMegapixel: (milliseconds * 1e6) / (size.width * size.height),
    dispatches: plan.dispatches.length,
    pipelines,
    peakBytes: plan.peakBytes,
  };
}

/** @returns milliseconds from the pictures in memory to the result in memory */
export async function runOnce(session: Session, pictures: { readonly first: Float32Array; readonly second: Float32Array }): Promise<number> {
  const started = performance.now();
  session.write("first", pictures.first);
  session.write("second", pictures.second);
  session.run();
  await session.read("output");
  return performance.now() - started;
}
