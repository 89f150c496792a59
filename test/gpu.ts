import { rewriteAll } from "../src/graph/rewrites.ts";
import type { Graph } from "../src/graph/graph.ts";
import { compile, type Plan } from "../src/graph/plan.ts";
import { ConstantStore, Session } from "../src/graph/session.ts";
import { findGpu } from "../src/platform/gpu.ts";
import { waitQuietly } from "../src/platform/wait.ts";
import { type Device, type DeviceTraits, openDevice } from "../src/runtime/device.ts";
import { PipelineCache } from "../src/runtime/pipelines.ts";

/** A device of this machine's adapter with its pipelines; one for each test file. */
export interface TestGpu {
  readonly device: Device;
  readonly pipelines: PipelineCache;
}

/** Opens the adapter; where there is none, the error says what `sinter doctor` says and the test fails. */
export async function openTestGpu(): Promise<TestGpu> {
  return testGpu(await openDevice(await findGpu(), waitQuietly));
}

/** Dawn's null backend: it validates everything and computes nothing. */
export async function openNullGpu(): Promise<TestGpu> {
  return testGpu(await openDevice(await findGpu({ backend: "null" })));
}

function testGpu(device: Device): TestGpu {
  const poisoned = { ...device, gpu: poisonTensors(device.gpu) };
  return { device: poisoned, pipelines: new PipelineCache(poisoned) };
}

/**
 * The same device, but memory for tensors starts as NaN instead of zero, as if another tensor had lain there: what a kernel
 * forgets to write, padding included, shows.
 */
function poisonTensors(gpu: GPUDevice): GPUDevice {
  const createBuffer = (descriptor: GPUBufferDescriptor): GPUBuffer => {
    const buffer = gpu.createBuffer(descriptor);
    if (descriptor.label?.startsWith("tensors")) gpu.queue.writeBuffer(buffer, 0, new Uint8Array(descriptor.size).fill(0xff));
    return buffer;
  };
  return new Proxy(gpu, {
    get(target, key) {
      if (key === "createBuffer") return createBuffer;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/**
 * Runs a graph once and reads all its outputs; a validation error of WebGPU is an error. `traits` may ask for smaller limits
 * than the device has, to force banding, or for fewer features.
 */
export function runGraph(
  gpu: TestGpu,
  graph: Graph,
  inputs: Readonly<Record<string, Float32Array>>,
  traits: DeviceTraits = gpu.device.traits,
): Promise<Record<string, Float32Array>> {
  return runPlan(gpu, compile(graph, traits), inputs);
}

/** Runs a plan as `runGraph` does. */
export async function runPlan(
  { device, pipelines }: TestGpu,
  plan: Plan,
  inputs: Readonly<Record<string, Float32Array>>,
): Promise<Record<string, Float32Array>> {
  const constants = new ConstantStore(device);
  let session: Session | undefined;
  device.gpu.pushErrorScope("validation");
  try {
    session = await Session.create(plan, device, pipelines, constants);
    for (const [name, data] of Object.entries(inputs)) session.write(name, data);
    session.run();
    const outputs: Record<string, Float32Array> = {};
    for (const { tensor } of plan.outputs) outputs[tensor.name] = await session.read(tensor.name);
    return outputs;
  } finally {
    const invalid = await device.gpu.popErrorScope();
    session?.dispose();
    constants.dispose();
    // oxlint-disable-next-line no-unsafe-finally -- WebGPU's message says more than what failed after it
    if (invalid) throw new Error(invalid.message);
  }
}

export { rewriteAll };
