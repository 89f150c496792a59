import { buildTensor, valueAt } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/**
 * Channels to pixels as in `torch.nn.PixelShuffle`: input channel c·factor² + y·factor + x becomes output channel c of
 * pixel (y, x) in a block of factor × factor.
 */
export function pixelShuffle(input: ReferenceTensor, factor: number): ReferenceTensor {
  const [batches, height, width, channels] = input.shape;
  const outputs = channels / factor ** 2;
  if (!Number.isInteger(outputs)) {
    throw new RangeError(`${channels} channels cannot be divided by ${factor}².`);
  }
  return buildTensor([batches, height * factor, width * factor, outputs], (batch, row, column, channel) => {
    const inputChannel = channel * factor ** 2 + (row % factor) * factor + (column % factor);
    return valueAt(input, batch, Math.floor(row / factor), Math.floor(column / factor), inputChannel);
  });
}
