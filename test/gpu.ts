import { rewriteAll } from "../src/graph/rewrites.ts";
import type { Graph } from "../src/graph/graph.ts";
import { compile } from "../src/graph/plan.ts";
import { ConstantStore, Session } from "../src/graph/session.ts";
import { findGpu } from "../src/platform/gpu.ts";
import { type Device, type DeviceTraits, openDevice } from "../src/runtime/device.ts";
import { PipelineCache } from "../src/runtime/pipelines.ts";

/** A device of this machine's adapter with its pipelines; one for each test file. */
export interface TestGpu {
  readonly device: Device;
  readonly pipelines: PipelineCache;
}

/** Opens the adapter; where there is none, the error says what `sinter doctor` says and the test fails. */
export async function openTestGpu(): Promise<TestGpu> {
  const device = await openDevice(await findGpu());
  return { device, pipelines: new PipelineCache(device) };
}

/** Runs a graph once and reads all its outputs. `traits` may ask for smaller limits than the device has, to force banding. */
export async function runGraph(
  { device, pipelines }: TestGpu,
  graph: Graph,
  inputs: Readonly<Record<string, Float32Array>>,
  traits: DeviceTraits = device.traits,
): Promise<Record<string, Float32Array>> {
  const constants = new ConstantStore(device);
  const session = await Session.create(compile(graph, traits), device, pipelines, constants);
  try {
    for (const [name, data] of Object.entries(inputs)) session.write(name, data);
    session.run();
    const outputs: Record<string, Float32Array> = {};
    for (const { name } of graph.outputs) outputs[name] = await session.read(name);
    return outputs;
  } finally {
    session.dispose();
    constants.dispose();
  }
}

export { rewriteAll };
