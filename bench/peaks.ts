import type { Device } from "../src/runtime/device.ts";
import { preprocess } from "../src/runtime/shader.ts";
import copyCode from "./kernels/copy.wgsl";
import emptyCode from "./kernels/empty.wgsl";
import fmaCode from "./kernels/fma.wgsl";

/** What an adapter reaches with kernels that do one thing only: the measure for all others. */
export interface Peaks {
  /** 10⁹ floating-point operations a second, a fused multiply-add counted as two. */
  readonly f32GigaflopsPerSecond: number;
  /** Likewise in f16; absent where the device has none. */
  readonly f16GigaflopsPerSecond?: number;
  /** 10⁹ bytes a second read plus written by a copy that does not fit a cache. */
  readonly copyGigabytesPerSecond: number;
  /** What each further dispatch of a pass adds, in microseconds. */
  readonly dispatchMicroseconds: number;
  /** From submit to the notice that the work is done, in microseconds. */
  readonly submitMicroseconds: number;
}

const CHAINS = 6;
const STEPS = 16;
/** A measurement repeats until it takes this long; the shortest of `TRIALS` counts. */
const MILLISECONDS = 60;
const TRIALS = 5;

/** Measures the peaks; takes a few seconds. */
export async function measurePeaks({ gpu, traits }: Device): Promise<Peaks> {
  const lanes = [32, 64, 256].filter((count) => count <= traits.maxComputeInvocationsPerWorkgroup);
  const best = async (measure: (lanes: number) => Promise<number>): Promise<number> => {
    let peak = 0;
    for (const count of lanes) peak = Math.max(peak, await measure(count));
    return peak;
  };
  // Some drivers are fast with fma(), others with a product and a sum, which they may fuse.
  const arithmetic = async (f16: boolean): Promise<number> =>
    Math.max(await best((count) => multiplyAdd(gpu, f16, false, count)), await best((count) => multiplyAdd(gpu, f16, true, count)));
  const f16GigaflopsPerSecond = traits.f16 ? await arithmetic(true) : undefined;
  return {
    f32GigaflopsPerSecond: await arithmetic(false),
    ...(f16GigaflopsPerSecond !== undefined && { f16GigaflopsPerSecond }),
    copyGigabytesPerSecond: await best((count) => copy(gpu, count, traits.maxStorageBufferBindingSize)),
    ...(await latencies(gpu)),
  };
}

async function multiplyAdd(gpu: GPUDevice, f16: boolean, fused: boolean, lanes: number): Promise<number> {
  const code = preprocess(fmaCode, { F16: f16 ? 1 : 0, FUSED: fused ? 1 : 0, CHAINS, STEPS }, "fma");
  const pipeline = await makePipeline(gpu, code, { LANES: lanes });
  const invocations = 1 << 16;
  const output = gpu.createBuffer({ size: invocations * 8, usage: GPUBufferUsage.STORAGE });
  const uniforms = gpu.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  const group = bind(gpu, pipeline, [uniforms, output]);
  const perIteration = invocations * CHAINS * STEPS * 4;
  const { count, milliseconds } = await repeat(1, (iterations) => {
    const data = new ArrayBuffer(16);
    new Uint32Array(data)[0] = iterations;
    new Float32Array(data)[1] = 0.999;
    gpu.queue.writeBuffer(uniforms, 0, data);
    return timed(gpu, (pass) => dispatch(pass, pipeline, group, invocations / lanes));
  });
  output.destroy();
  uniforms.destroy();
  return (count * perIteration) / milliseconds / 1e6;
}

async function copy(gpu: GPUDevice, lanes: number, limit: number): Promise<number> {
  const pipeline = await makePipeline(gpu, copyCode, { LANES: lanes });
  const size = Math.min(limit, 128 << 20);
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
  const buffers = [gpu.createBuffer({ size, usage }), gpu.createBuffer({ size, usage })];
  const group = bind(gpu, pipeline, buffers);
  const { count, milliseconds } = await repeat(1, (copies) =>
    timed(gpu, (pass) => {
      for (let i = 0; i < copies; i++) dispatch(pass, pipeline, group, 8192);
    }),
  );
  for (const buffer of buffers) buffer.destroy();
  return (count * size * 2) / milliseconds / 1e6;
}

async function latencies(gpu: GPUDevice): Promise<{ dispatchMicroseconds: number; submitMicroseconds: number }> {
  const pipeline = await makePipeline(gpu, emptyCode, {});
  const output = gpu.createBuffer({ size: 4, usage: GPUBufferUsage.STORAGE });
  const group = bind(gpu, pipeline, [output]);
  const pass = (dispatches: number): Promise<number> =>
    timed(gpu, (encoder) => {
      for (let i = 0; i < dispatches; i++) dispatch(encoder, pipeline, group, 1);
    });
  const one = await shortest(4 * TRIALS, () => pass(1));
  const { count, milliseconds } = await repeat(16, pass);
  output.destroy();
  return { dispatchMicroseconds: (milliseconds / count) * 1000, submitMicroseconds: one * 1000 };
}

/** Doubles the count until the work takes `MILLISECONDS`, then repeats it `TRIALS` times and keeps the shortest. */
async function repeat(start: number, run: (count: number) => Promise<number>): Promise<{ count: number; milliseconds: number }> {
  let count = start;
  await run(count);
  while ((await run(count)) < MILLISECONDS) count *= 2;
  return { count, milliseconds: await shortest(TRIALS, () => run(count)) };
}

async function shortest(trials: number, run: () => Promise<number>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < trials; i++) least = Math.min(least, await run());
  return least;
}

/** Milliseconds from submit to the notice that a pass is done: what a timestamp would say, plus the way there and back. */
async function timed(gpu: GPUDevice, encode: (pass: GPUComputePassEncoder) => void): Promise<number> {
  const encoder = gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  encode(pass);
  pass.end();
  const commands = encoder.finish();
  await gpu.queue.onSubmittedWorkDone();
  const start = performance.now();
  gpu.queue.submit([commands]);
  await gpu.queue.onSubmittedWorkDone();
  return performance.now() - start;
}

async function makePipeline(gpu: GPUDevice, code: string, constants: Record<string, number>): Promise<GPUComputePipeline> {
  const module = gpu.createShaderModule({ code });
  return gpu.createComputePipelineAsync({ layout: "auto", compute: { module, constants } });
}

function bind(gpu: GPUDevice, pipeline: GPUComputePipeline, buffers: readonly GPUBuffer[]): GPUBindGroup {
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  return gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
}

function dispatch(pass: GPUComputePassEncoder, pipeline: GPUComputePipeline, group: GPUBindGroup, workgroups: number): void {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(workgroups);
}
