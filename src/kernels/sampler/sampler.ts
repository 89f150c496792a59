import { defineKernel, type Dispatch, type Kernel, type Operator, type OperatorJob, perPixelDispatches, shapeError, wholeBinding } from "../kernel.ts";
import { formatShape, type Shape, type TensorView } from "../tensor.ts";
import estimateCode from "./estimate.wgsl";
import nextCode from "./next.wgsl";

/** The factors of one sampler step, as a tensor 1 × 1 × 1 × 12 in f32; what they mean stands at `SamplerStep` in src/diffusion. */
export const SAMPLER_FACTORS = [
  "x0FromSample",
  "x0FromOutput",
  "clipLow",
  "clipHigh",
  "nextFromX0",
  "nextFromSample",
  "nextFromOutput",
  "nextFromNoise",
  "nextFromPreviousX0",
  "unused 1",
  "unused 2",
  "unused 3",
] as const;

const estimateKernel = defineKernel("sampler/estimate", estimateCode);
const nextKernel = defineKernel("sampler/next", nextCode);

function checkInputs(name: string, inputs: readonly Shape[], count: number): Shape {
  const [sample, ...rest] = inputs;
  const factors = rest.pop();
  if (!sample || !factors || inputs.length !== count) return shapeError(name, `expected ${count} inputs`, inputs);
  if (rest.some((shape) => formatShape(shape) !== formatShape(sample))) return shapeError(name, "expected equal shapes", inputs);
  if (formatShape(factors) !== `1×1×1×${SAMPLER_FACTORS.length}`) return shapeError(name, `expected ${SAMPLER_FACTORS.length} factors`, inputs);
  return sample;
}

/**
 * The x_0 that belongs to a noisy picture, clipped. Inputs: the sample (f32), the network's output, the factors (`SAMPLER_FACTORS`).
 * Output: f32.
 */
export const samplerEstimate: Operator<Record<never, never>> = {
  name: "samplerEstimate",
  outputShape: (inputs) => checkInputs("samplerEstimate", inputs, 3),
  outputType: () => "f32",
  dispatches: (job) => update(job, estimateKernel, ["sample", "network"]),
};

/**
 * The sample of the next step. Inputs: the sample (f32), the network's output, x_0, fresh noise, the x_0 of the step before (all
 * f32), the factors (`SAMPLER_FACTORS`). An operand whose factor is 0 may hold anything. Output: f32.
 */
export const samplerNext: Operator<Record<never, never>> = {
  name: "samplerNext",
  outputShape: (inputs) => checkInputs("samplerNext", inputs, 6),
  outputType: () => "f32",
  dispatches: (job) => update(job, nextKernel, ["sample", "network", "estimate", "noise", "previous"]),
};

function update({ inputs, output, traits }: OperatorJob<Record<never, never>>, kernel: Kernel, names: readonly string[]): Dispatch[] {
  const [network, factors] = [inputs[1], inputs.at(-1)] as [TensorView, TensorView];
  const { channels } = output.shape;
  return perPixelDispatches({
    kernel,
    defines: { F16: network.storage.elementType === "f16" ? 1 : 0 },
    inputs: Object.fromEntries(names.map((name, i) => [name, inputs[i]])),
    output,
    uniforms: { channels },
    bindings: { factors: wholeBinding(factors) },
    operationsPerPixel: 2 * names.length * channels,
    traits,
  });
}
