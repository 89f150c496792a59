import { conv2d, type Conv2dAttributes, type Convolution, convolutionOf } from "../../src/kernels/conv2d/conv2d.ts";
import type { Dispatch, Operator, OperatorJob } from "../../src/kernels/kernel.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import type { Activation } from "../../src/kernels/activation.ts";
import { add } from "../reference/elementwise.ts";
import { conv2d as reference } from "../reference/conv2d.ts";
import { layerNorm } from "../reference/layer-norm.ts";
import { randomTensor, type ReferenceTensor } from "../reference/tensor.ts";
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
  readonly residual?: boolean;
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
  const bias = options.bias ? randomWeight("bias", [outputs] as const, 3) : undefined;
  const epsilon = 1e-5;
  const normalised = normalise ? layerNorm(input, new Float32Array(inputs).fill(1), new Float32Array(inputs), epsilon) : input;
  const activated = activate(reference(normalised, weight, bias?.data, { stride, padding, dilation }), activation);
  const added = residual ? randomTensor(activated.shape, 4, 1, type) : undefined;
  const attributes: Conv2dAttributes = {
    weight,
    stride,
    padding,
    dilation,
    residual,
    ...(bias && { bias }),
    ...(activation && { activation }),
    ...(normalise && { normalise: { epsilon } }),
  };
  return {
    job: { operator, attributes, inputs: [input, ...(added ? [added] : [])], elementType: type },
    expected: added ? add(activated, added) : activated,
  };
}
