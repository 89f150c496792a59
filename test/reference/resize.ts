import { buildTensor, valueAt } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** Size of the result: [height, width]. The ratio of sizes is the scale, as where PyTorch is given `size`. */
export type OutputSize = readonly [height: number, width: number];

/** Bilinear resizing as in `torch.nn.functional.interpolate`, without antialiasing. */
export function resizeBilinear(input: ReferenceTensor, size: OutputSize, alignCorners = false): ReferenceTensor {
  return resizeSeparably(input, size, (index, from, to) => {
    const position = sourcePosition(index, from, to, alignCorners);
    const lower = Math.floor(position);
    const fraction = position - lower;
    return [
      { index: lower, weight: 1 - fraction },
      { index: lower + 1, weight: fraction },
    ];
  });
}

/** Bicubic resizing (Keys' kernel, a = −0.75) as in `torch.nn.functional.interpolate`, without antialiasing. */
export function resizeBicubic(input: ReferenceTensor, size: OutputSize, alignCorners = false): ReferenceTensor {
  return resizeSeparably(input, size, (index, from, to) => {
    const position = sourcePosition(index, from, to, alignCorners);
    const lower = Math.floor(position);
    return [-1, 0, 1, 2].map((offset) => ({
      index: lower + offset,
      weight: cubicKernel(position - (lower + offset)),
    }));
  });
}

/**
 * Nearest neighbour: source index ⌊index · from / to⌋, as in `torch.nn.functional.interpolate` (mode `nearest`).
 * For float32 tensors PyTorch rounds from / to to float32 first, which at some odd ratios (2 to 82 pixels) picks a
 * neighbour where the quotient is a whole number.
 */
export function resizeNearest(input: ReferenceTensor, size: OutputSize): ReferenceTensor {
  return resizeSeparably(input, size, (index, from, to) => [{ index: Math.floor((index * from) / to), weight: 1 }]);
}

interface Tap {
  readonly index: number;
  readonly weight: number;
}

/** Weighted sum over the taps of both directions; indices beyond the border read the border. */
function resizeSeparably(
  input: ReferenceTensor,
  [outputHeight, outputWidth]: OutputSize,
  taps: (index: number, from: number, to: number) => readonly Tap[],
): ReferenceTensor {
  const [batches, height, width, channels] = input.shape;
  return buildTensor([batches, outputHeight, outputWidth, channels], (batch, row, column, channel) => {
    let sum = 0;
    for (const vertical of taps(row, height, outputHeight)) {
      const inputRow = Math.min(Math.max(vertical.index, 0), height - 1);
      for (const horizontal of taps(column, width, outputWidth)) {
        const inputColumn = Math.min(Math.max(horizontal.index, 0), width - 1);
        sum += vertical.weight * horizontal.weight * valueAt(input, batch, inputRow, inputColumn, channel);
      }
    }
    return sum;
  });
}

function sourcePosition(index: number, from: number, to: number, alignCorners: boolean): number {
  if (alignCorners) {
    return to === 1 ? 0 : (index * (from - 1)) / (to - 1);
  }
  return ((index + 0.5) * from) / to - 0.5;
}

function cubicKernel(distance: number): number {
  const a = -0.75;
  const x = Math.abs(distance);
  if (x <= 1) {
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  }
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}
