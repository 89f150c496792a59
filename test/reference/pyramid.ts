import { at, buildTensor, requireSameShape, valueAt } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** Burt and Adelson's generating kernel. */
const KERNEL = [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16];

/** Mirrors an index about the first and last position until it lies inside; neither is repeated. */
function mirrored(index: number, size: number): number {
  if (size === 1) return 0;
  let position = index;
  while (position < 0 || position >= size) position = position < 0 ? -position : 2 * (size - 1) - position;
  return position;
}

/** The picture filtered with the kernel in both directions. */
function smooth(input: ReferenceTensor): ReferenceTensor {
  const [, height, width] = input.shape;
  const rows = buildTensor(input.shape, (batch, row, column, channel) =>
    KERNEL.reduce((sum, weight, k) => sum + weight * valueAt(input, batch, mirrored(row + k - 2, height), column, channel), 0),
  );
  return buildTensor(input.shape, (batch, row, column, channel) =>
    KERNEL.reduce((sum, weight, k) => sum + weight * valueAt(rows, batch, row, mirrored(column + k - 2, width), channel), 0),
  );
}

/** One level up a Gaussian pyramid: smoothed, then every other pixel from the first on. */
export function pyramidReduce(input: ReferenceTensor): ReferenceTensor {
  const [batches, height, width, channels] = input.shape;
  const smoothed = smooth(input);
  return buildTensor([batches, Math.ceil(height / 2), Math.ceil(width / 2), channels], (batch, row, column, channel) =>
    valueAt(smoothed, batch, 2 * row, 2 * column, channel),
  );
}

/**
 * One level down: zeros between the pixels, smoothed so that a constant stays itself. Along a side of one pixel there are no zeros.
 */
export function pyramidExpand(input: ReferenceTensor, height: number, width: number): ReferenceTensor {
  const [batches, , , channels] = input.shape;
  const spread = buildTensor([batches, height, width, channels], (batch, row, column, channel) =>
    row % 2 === 0 && column % 2 === 0 ? valueAt(input, batch, row / 2, column / 2, channel) : 0,
  );
  const gain = (height === 1 ? 1 : 2) * (width === 1 ? 1 : 2);
  const smoothed = smooth(spread);
  return { shape: smoothed.shape, data: smoothed.data.map((value) => value * gain) };
}

/** Element by element. */
export function zip(first: ReferenceTensor, second: ReferenceTensor, combine: (a: number, b: number) => number): ReferenceTensor {
  requireSameShape(first, second);
  return { shape: first.shape, data: first.data.map((value, index) => combine(value, at(second.data, index))) };
}

/** `levels` levels of detail, finest first, and the reduced picture that remains. */
export function laplacianPyramid(input: ReferenceTensor, levels: number): ReferenceTensor[] {
  if (levels === 0) return [input];
  const [, height, width] = input.shape;
  const reduced = pyramidReduce(input);
  const detail = zip(input, pyramidExpand(reduced, height, width), (a, b) => a - b);
  return [detail, ...laplacianPyramid(reduced, levels - 1)];
}

/** The picture of which {@link laplacianPyramid} makes these levels. */
export function restorePyramid(pyramid: readonly ReferenceTensor[]): ReferenceTensor {
  return pyramid.reduceRight((coarse, detail) => {
    const [, height, width] = detail.shape;
    return zip(detail, pyramidExpand(coarse, height, width), (a, b) => a + b);
  });
}

/** Fusion by the coefficient of larger magnitude at each level of detail and the mean of what remains. */
export function laplacianFusion(first: ReferenceTensor, second: ReferenceTensor, levels: number): ReferenceTensor {
  const other = laplacianPyramid(second, levels);
  return restorePyramid(
    laplacianPyramid(first, levels).map((level, index) => {
      const rule = index === levels ? (a: number, b: number) => (a + b) / 2 : (a: number, b: number) => (Math.abs(a) >= Math.abs(b) ? a : b);
      return zip(level, other[index] ?? level, rule);
    }),
  );
}
