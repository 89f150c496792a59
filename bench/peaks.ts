import type { Device, SubgroupMatrix } from "../src/runtime/device.ts";
import { preprocess } from "../src/runtime/shader.ts";
import copyCode from "./kernels/copy.wgsl";
import emptyCode from "./kernels/empty.wgsl";
import fmaCode from "./kernels/fma.wgsl";
import matrixCode from "./kernels/matrix.wgsl";

/** What the matrix units reach with one kind of product. */
export interface MatrixPeak {
  /** Element types and sizes, such as `f16→f32 16×16×16`. */
  readonly product: string;
  readonly gigaflopsPerSecond: number;
}

/** What an adapter reaches with kernels that do one thing only: the measure for all others. */
export interface Peaks {
  /** 10⁹ floating-point operations a second, a fused multiply-add counted as two. */
  readonly f32GigaflopsPerSecond: number;
  /** Likewise in f16; absent where the device has none. */
  readonly f16GigaflopsPerSecond?: number;
  /** Floating-point products of the matrix units that the device offers; empty where there are none. */
  readonly matrix: readonly MatrixPeak[];
  /** 10⁹ bytes a second read plus written by a copy that does not fit a cache. */
  readonly copyGigabytesPerSecond: number;
  /** What each further dispatch of a pass adds, in microseconds. */
  readonly dispatchMicroseconds: number;
  /** From submit to the notice that the work is done, in microseconds. */
  readonly submitMicroseconds: number;
}

const CHAINS = 6;
const STEPS = 16;
/** Enough independent products to hide their latency, few enough to stay in registers. */
const ACCUMULATORS = 8;
const MATRIX_STEPS = 8;
/** A multiple of every subgroup's size. */
const MATRIX_LANES = 128;
const MATRIX_WORKGROUPS = 4096;
/** A measurement repeats until it takes this long; the shortest of `TRIALS` counts. */
const MILLISECONDS = 60;
const TRIALS = 5;

/** Measures the peaks; takes a few seconds. */
export async function measurePeaks(device: Device): Promise<Peaks> {
  const { gpu, traits } = device;
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
    matrix: await matrixPeaks(device),
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

/** The WGSL that measures a product; the element types are f16 or f32. */
export function matrixPeakCode({ componentType, resultComponentType, M, N, K }: SubgroupMatrix): string {
  const defines = { INPUT_F32: componentType === "f32" ? 1 : 0, RESULT_F32: resultComponentType === "f32" ? 1 : 0, M, N, K, ACCUMULATORS, STEPS: MATRIX_STEPS, LANES: MATRIX_LANES };
  return preprocess(matrixCode, defines, "matrix");
}

async function matrixPeaks({ gpu, traits }: Device): Promise<MatrixPeak[]> {
  const isFloat = (type: string): boolean => type === "f16" || type === "f32";
  const products = traits.subgroupMatrices.filter(({ componentType, resultComponentType }) => isFloat(componentType) && isFloat(resultComponentType));
  const peaks: MatrixPeak[] = [];
  for (const product of products) {
    const { componentType, resultComponentType, M, N, K } = product;
    peaks.push({ product: `${componentType}→${resultComponentType} ${M}×${N}×${K}`, gigaflopsPerSecond: await matrixMultiply(gpu, product) });
  }
  return peaks;
}

async function matrixMultiply(gpu: GPUDevice, product: SubgroupMatrix): Promise<number> {
  const pipeline = await makePipeline(gpu, matrixPeakCode(product), {});
  const { M, N, K } = product;
  const usage = GPUBufferUsage.STORAGE;
  const uniforms = gpu.createBuffer({ size: 16, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  const input = gpu.createBuffer({ size: Math.max(M, N) * K * 4, usage });
  const output = gpu.createBuffer({ size: 64 * ACCUMULATORS * M * N * 4, usage });
  const group = bind(gpu, pipeline, [uniforms, input, output]);
  const subgroups = (MATRIX_WORKGROUPS * MATRIX_LANES) / gpu.adapterInfo.subgroupMaxSize;
  const { count, milliseconds } = await repeat(1, (iterations) => {
    gpu.queue.writeBuffer(uniforms, 0, new Uint32Array([iterations, 0, 0, 0]));
    return timed(gpu, (pass) => dispatch(pass, pipeline, group, MATRIX_WORKGROUPS));
  });
  for (const buffer of [uniforms, input, output]) buffer.destroy();
  return (count * subgroups * ACCUMULATORS * MATRIX_STEPS * 2 * M * N * K) / milliseconds / 1e6;
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
