import { at, buildTensor, requireLength, valueAt } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** Group norm over all pixels of a group of channels, with biased variance. `weight`, `bias`: one a channel. */
export function groupNorm(
  input: ReferenceTensor,
  groups: number,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
  epsilon = 1e-5,
): ReferenceTensor {
  const [batches, height, width, channels] = input.shape;
  if (channels % groups !== 0) {
    throw new RangeError(`${channels} channels cannot be divided into ${groups} groups.`);
  }
  requireLength("weight", weight, channels);
  requireLength("bias", bias, channels);
  const groupSize = channels / groups;
  const mean = averageOfGroups((value) => value);
  const variance = averageOfGroups((value, batch, group) => (value - valueAt(mean, batch, 0, 0, group)) ** 2);
  return buildTensor(input.shape, (batch, row, column, channel) => {
    const group = Math.floor(channel / groupSize);
    const centred = valueAt(input, batch, row, column, channel) - valueAt(mean, batch, 0, 0, group);
    const deviation = Math.sqrt(valueAt(variance, batch, 0, 0, group) + epsilon);
    return (centred / deviation) * at(weight, channel) + at(bias, channel);
  });

  function averageOfGroups(term: (value: number, batch: number, group: number) => number): ReferenceTensor {
    return buildTensor([batches, 1, 1, groups], (batch, _row, _column, group) => {
      let sum = 0;
      for (let row = 0; row < height; row++) {
        for (let column = 0; column < width; column++) {
          for (let channel = group * groupSize; channel < (group + 1) * groupSize; channel++) {
            sum += term(valueAt(input, batch, row, column, channel), batch, group);
          }
        }
      }
      return sum / (height * width * groupSize);
    });
  }
}
