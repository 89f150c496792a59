import { conv2d, type Conv2dAttributes, convolutionOf } from "../../src/kernels/conv2d/conv2d.ts";
import type { Convolution } from "../../src/kernels/conv2d/convolution.ts";
import type { Dispatch, Operator, OperatorJob } from "../../src/kernels/kernel.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import type { Activation } from "../../src/kernels/activation.ts";
import { conv2d as reference } from "../reference/conv2d.ts";
import { layerNorm } from "../reference/layer-norm.ts";
import { at, randomTensor, type ReferenceTensor } from "../reference/tensor.ts";
import { activate } from "./activations.ts";
import { type OperatorCase, randomWeight } from "./operators.ts";

/** A convolution to test a kernel with. */
export interface ConvolutionCase {
  /** Batch, height, width. */
  readonly size: readonly [number, number, number];
  /** Input and output channels. */
  readonly channels: readonly [number, number];
  readonly kernel?: readonly [number, number];
  readonly stride?: number;
  readonly padding?: number;
  readonly dilation?: number;
  readonly bias?: boolean;
  readonly activation?: Activation;
  /** Of the output's shape, or one number a channel. */
  readonly residual?: boolean | "channels";
  readonly normalise?: boolean;
}

type Convolve = (convolution: Convolution, scratch: OperatorJob<unknown>["scratch"]) => Dispatch[] | undefined;

/** conv2d with one kernel, whatever the shapes. */
export const convolutionBy = (convolve: Convolve): Operator<Conv2dAttributes> => ({
  ...conv2d,
  dispatches(job) {
    const dispatches = convolve(convolutionOf(job), job.scratch);
    if (!dispatches) throw new Error("the device cannot run this kernel");
    return dispatches;
  },
});

/** The operator with random weights, and what the reference makes of them. */
export function prepareConvolution(
  operator: Operator<Conv2dAttributes>,
  options: ConvolutionCase,
  type: ElementType,
): { job: OperatorCase<Conv2dAttributes>; expected: ReferenceTensor } {
  const { size, channels, kernel = [1, 1], stride = 1, padding = 0, dilation = 1, activation, residual = false, normalise } = options;
  const [inputs, outputs] = channels;
  const input = randomTensor([...size, inputs], 1, 1, type);
  const weight = randomWeight("weight", [outputs, inputs, ...kernel] as const, 2, type);
  // Biases are stored in f32 whatever the tensors are.
  const bias = options.bias ? randomWeight("bias", [outputs] as const, 3) : undefined;
  const epsilon = 1e-5;
  const normalised = normalise ? layerNorm(input, new Float32Array(inputs).fill(1), new Float32Array(inputs), epsilon) : input;
  const activated = activate(reference(normalised, weight, bias?.data, { stride, padding, dilation }), activation);
  const [, , , count] = activated.shape;
  const added = residual ? randomTensor(residual === "channels" ? [1, 1, 1, count] : activated.shape, 4, 1, type) : undefined;
  const attributes: Conv2dAttributes = {
    weight,
    stride,
    padding,
    dilation,
    residual: residual !== false,
    ...(bias && { bias }),
    ...(activation && { activation }),
    ...(normalise && { normalise: { epsilon } }),
  };
  return {
    job: { operator, attributes, inputs: [input, ...(added ? [added] : [])], elementType: type },
    // Channels come last, so that one number a channel repeats.
    expected: added ? { shape: activated.shape, data: activated.data.map((value, i) => value + at(added.data, i % added.data.length)) } : activated,
  };
}
