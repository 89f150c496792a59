import { at, buildTensor, requireLength, valueAt } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** Layer norm over the channels of every pixel, with biased variance. `weight`, `bias`: one a channel. */
export function layerNorm(
  input: ReferenceTensor,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
  epsilon = 1e-5,
): ReferenceTensor {
  const [batches, height, width, channels] = input.shape;
  requireLength("weight", weight, channels);
  requireLength("bias", bias, channels);
  const one = [batches, height, width, 1] as const;
  const mean = buildTensor(one, (batch, row, column) => {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) {
      sum += valueAt(input, batch, row, column, channel);
    }
    return sum / channels;
  });
  const variance = buildTensor(one, (batch, row, column) => {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) {
      sum += (valueAt(input, batch, row, column, channel) - valueAt(mean, batch, row, column, 0)) ** 2;
    }
    return sum / channels;
  });
  return buildTensor(input.shape, (batch, row, column, channel) => {
    const centred = valueAt(input, batch, row, column, channel) - valueAt(mean, batch, row, column, 0);
    const deviation = Math.sqrt(valueAt(variance, batch, row, column, 0) + epsilon);
    return (centred / deviation) * at(weight, channel) + at(bias, channel);
  });
}
