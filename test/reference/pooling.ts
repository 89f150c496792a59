import { bothDirections, buildTensor, valueAt } from "./tensor.ts";
import type { Pair, ReferenceTensor } from "./tensor.ts";

export interface PoolingOptions {
  /** The kernel size by default. */
  readonly stride?: Pair;
  /** 0 by default. */
  readonly padding?: Pair;
}

/** Average pooling; padding counts as zeros, in the divisor too (`torch.nn.AvgPool2d`'s `count_include_pad`). */
export function averagePool(input: ReferenceTensor, kernel: Pair, options: PoolingOptions = {}): ReferenceTensor {
  const [kernelHeight, kernelWidth] = bothDirections(kernel);
  return pool(input, kernel, options, (values) => sumOf(values) / (kernelHeight * kernelWidth));
}

/** Maximum pooling; padding never wins. */
export function maxPool(input: ReferenceTensor, kernel: Pair, options: PoolingOptions = {}): ReferenceTensor {
  return pool(input, kernel, options, maximumOf);
}

/** Average of every channel over all pixels: [batch, 1, 1, channels]. */
export function globalAveragePool(input: ReferenceTensor): ReferenceTensor {
  return averagePool(input, [input.shape[1], input.shape[2]]);
}

/** Maximum of every channel over all pixels: [batch, 1, 1, channels]. */
export function globalMaxPool(input: ReferenceTensor): ReferenceTensor {
  return maxPool(input, [input.shape[1], input.shape[2]]);
}

/** Reduces the values under every position of the window that lie inside the picture. */
function pool(
  input: ReferenceTensor,
  kernel: Pair,
  options: PoolingOptions,
  reduce: (values: readonly number[]) => number,
): ReferenceTensor {
  const [batches, height, width, channels] = input.shape;
  const [kernelHeight, kernelWidth] = bothDirections(kernel);
  const [strideY, strideX] = bothDirections(options.stride ?? kernel);
  const [paddingY, paddingX] = bothDirections(options.padding ?? 0);
  const outputHeight = Math.floor((height + 2 * paddingY - kernelHeight) / strideY) + 1;
  const outputWidth = Math.floor((width + 2 * paddingX - kernelWidth) / strideX) + 1;
  return buildTensor([batches, outputHeight, outputWidth, channels], (batch, row, column, channel) => {
    const top = row * strideY - paddingY;
    const left = column * strideX - paddingX;
    const values: number[] = [];
    for (let inputRow = Math.max(top, 0); inputRow < Math.min(top + kernelHeight, height); inputRow++) {
      for (let inputColumn = Math.max(left, 0); inputColumn < Math.min(left + kernelWidth, width); inputColumn++) {
        values.push(valueAt(input, batch, inputRow, inputColumn, channel));
      }
    }
    return reduce(values);
  });
}

function sumOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0);
}

function maximumOf(values: readonly number[]): number {
  return values.reduce((maximum, value) => Math.max(maximum, value), -Infinity);
}
