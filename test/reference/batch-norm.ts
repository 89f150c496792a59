import { at, mapTensor, requireLength } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** One number a channel each, named as in `torch.nn.BatchNorm2d`. */
export interface BatchNormParameters {
  readonly runningMean: ArrayLike<number>;
  readonly runningVariance: ArrayLike<number>;
  readonly weight: ArrayLike<number>;
  readonly bias: ArrayLike<number>;
}

/** Batch norm at inference: the stored statistics, not those of the input. */
export function batchNorm(input: ReferenceTensor, parameters: BatchNormParameters, epsilon = 1e-5): ReferenceTensor {
  const { runningMean, runningVariance, weight, bias } = parameters;
  for (const [name, values] of Object.entries(parameters)) {
    requireLength(name, values, input.shape[3]);
  }
  return mapTensor(input, (value, channel) => {
    const deviation = Math.sqrt(at(runningVariance, channel) + epsilon);
    return ((value - at(runningMean, channel)) / deviation) * at(weight, channel) + at(bias, channel);
  });
}
