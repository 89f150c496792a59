import { at, buildTensor, requireLength, valueAt } from "./tensor.ts";
import type { ReferenceTensor, ReferenceWeight } from "./tensor.ts";

/** Linear layer over the channels of every pixel, `weight` [outputs, inputs] as in `torch.nn.Linear`. */
export function linear(
  input: ReferenceTensor,
  weight: ReferenceWeight<readonly [outputs: number, inputs: number]>,
  bias?: ArrayLike<number>,
): ReferenceTensor {
  const [batches, height, width, channels] = input.shape;
  const [outputs, inputs] = weight.shape;
  if (inputs !== channels) {
    throw new RangeError(`Weights for ${inputs} inputs do not fit ${channels} channels.`);
  }
  requireLength("weight", weight.data, outputs * inputs);
  if (bias) {
    requireLength("bias", bias, outputs);
  }
  return buildTensor([batches, height, width, outputs], (batch, row, column, output) => {
    let sum = bias ? at(bias, output) : 0;
    for (let channel = 0; channel < inputs; channel++) {
      sum += valueAt(input, batch, row, column, channel) * at(weight.data, output * inputs + channel);
    }
    return sum;
  });
}
