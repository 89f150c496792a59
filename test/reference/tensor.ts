/** Float64 tensors of the reference operators: plain NHWC, no channel padding. */

/** Sizes of a tensor, slowest axis first. */
export type ReferenceShape = readonly [batch: number, height: number, width: number, channels: number];

/** A tensor in NHWC order: the channel is the fastest axis, and nothing is padded. */
export interface ReferenceTensor {
  readonly shape: ReferenceShape;
  readonly data: Float64Array;
}

/** Weights in PyTorch's order; the operator says which axis is which. Any number array will do as data. */
export interface ReferenceWeight<Shape extends readonly number[]> {
  readonly shape: Shape;
  readonly data: ArrayLike<number>;
}

/** One number for both directions, or one for each. */
export type Pair = number | readonly [vertical: number, horizontal: number];

/** The storage type in which random values are exact. */
export type Precision = "f32" | "f16";

/** Number of elements of a shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Element `index` of `data`. @throws RangeError outside the array, so that a wrong index cannot pass unnoticed. */
export function at(data: ArrayLike<number>, index: number): number {
  const value = data[index];
  if (value === undefined) {
    throw new RangeError(`Index ${index} lies outside an array of ${data.length} elements.`);
  }
  return value;
}

/** Index of the first channel of a pixel, for loops over channels. @throws RangeError outside the tensor. */
export function pixelIndex(tensor: ReferenceTensor, batch: number, row: number, column: number): number {
  const [batches, height, width, channels] = tensor.shape;
  if (batch < 0 || batch >= batches || row < 0 || row >= height || column < 0 || column >= width) {
    throw new RangeError(`Pixel (${batch}, ${row}, ${column}) lies outside a tensor of ${tensor.shape.join("×")}.`);
  }
  return ((batch * height + row) * width + column) * channels;
}

/** One value of a tensor. @throws RangeError outside the tensor. */
export function valueAt(tensor: ReferenceTensor, batch: number, row: number, column: number, channel: number): number {
  if (channel < 0 || channel >= tensor.shape[3]) {
    throw new RangeError(`Channel ${channel} lies outside a tensor of ${tensor.shape.join("×")}.`);
  }
  return at(tensor.data, pixelIndex(tensor, batch, row, column) + channel);
}

/** A tensor whose values are computed one by one. */
export function buildTensor(
  shape: ReferenceShape,
  value: (batch: number, row: number, column: number, channel: number) => number,
): ReferenceTensor {
  const [batches, height, width, channels] = shape;
  const data = new Float64Array(elementCount(shape));
  let index = 0;
  for (let batch = 0; batch < batches; batch++) {
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        for (let channel = 0; channel < channels; channel++) {
          data[index++] = value(batch, row, column, channel);
        }
      }
    }
  }
  return { shape, data };
}

/** Applies a function to every value. */
export function mapTensor(input: ReferenceTensor, transform: (value: number, channel: number) => number): ReferenceTensor {
  const channels = input.shape[3];
  return { shape: input.shape, data: input.data.map((value, index) => transform(value, index % channels)) };
}

/** NHWC values from NCHW values, the order of PyTorch. `shape` is [batch, channels, height, width]. */
export function fromNchw(
  shape: readonly [batch: number, channels: number, height: number, width: number],
  data: ArrayLike<number>,
): ReferenceTensor {
  const [batches, channels, height, width] = shape;
  requireLength("NCHW data", data, elementCount(shape));
  return buildTensor([batches, height, width, channels], (batch, row, column, channel) =>
    at(data, ((batch * channels + channel) * height + row) * width + column),
  );
}

/** The values in NCHW order, the order of PyTorch. */
export function toNchw(tensor: ReferenceTensor): Float64Array {
  const [batches, height, width, channels] = tensor.shape;
  const data = new Float64Array(tensor.data.length);
  let index = 0;
  for (let batch = 0; batch < batches; batch++) {
    for (let channel = 0; channel < channels; channel++) {
      for (let row = 0; row < height; row++) {
        for (let column = 0; column < width; column++) {
          data[index++] = valueAt(tensor, batch, row, column, channel);
        }
      }
    }
  }
  return data;
}

/**
 * Uniform values in [-scale, scale], the same for the same seed everywhere, each exactly representable in `precision`:
 * what a kernel reads is then what the reference reads.
 */
export function randomValues(length: number, seed: number, scale = 1, precision: Precision = "f32"): Float64Array {
  const next = mulberry32(seed);
  const round = precision === "f16" ? roundToFloat16 : Math.fround;
  return Float64Array.from({ length }, () => round((2 * next() - 1) * scale));
}

/** {@link randomValues} as a tensor. */
export function randomTensor(shape: ReferenceShape, seed: number, scale = 1, precision: Precision = "f32"): ReferenceTensor {
  return { shape, data: randomValues(elementCount(shape), seed, scale, precision) };
}

/** The nearest binary16 number, ties to even. @throws RangeError where binary16 would be infinite, or for NaN. */
export function roundToFloat16(value: number): number {
  const magnitude = Math.abs(value);
  // 65520 is half way between the largest number, 65504, and the next power of two.
  if (!(magnitude < 65520)) {
    throw new RangeError(`${value} has no finite float16 value.`);
  }
  if (magnitude === 0) {
    return value;
  }
  // 11 significant bits; below 2^-14 the numbers are subnormal and evenly spaced.
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -14);
  const spacing = 2 ** (exponent - 10);
  const quotient = magnitude / spacing;
  const below = Math.floor(quotient);
  const remainder = quotient - below;
  const up = remainder > 0.5 || (remainder === 0.5 && below % 2 === 1);
  return Math.sign(value) * (up ? below + 1 : below) * spacing;
}

/**
 * Error of a tensor: largest |actual − expected| over largest |expected|.
 *
 * Where `expected` is all zero it is 0 if `actual` is all zero too, else infinity. A NaN or an infinity on either side
 * gives infinity, so that it can never pass a bound.
 * @throws RangeError if the lengths differ or nothing is compared.
 */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  requireLength("actual values", actual, expected.length);
  if (expected.length === 0) {
    throw new RangeError("There is nothing to compare.");
  }
  let largestDifference = 0;
  let largestExpected = 0;
  for (let index = 0; index < expected.length; index++) {
    const difference = Math.abs(at(actual, index) - at(expected, index));
    if (!Number.isFinite(difference)) {
      return Infinity;
    }
    largestDifference = Math.max(largestDifference, difference);
    largestExpected = Math.max(largestExpected, Math.abs(at(expected, index)));
  }
  return largestDifference === 0 ? 0 : largestDifference / largestExpected;
}

/** @throws RangeError if `data` has not exactly `length` elements. */
export function requireLength(name: string, data: ArrayLike<number>, length: number): void {
  if (data.length !== length) {
    throw new RangeError(`Expected ${length} elements of ${name}, found ${data.length}.`);
  }
}

/** @throws RangeError if the shapes differ. */
export function requireSameShape(first: ReferenceTensor, second: ReferenceTensor): void {
  if (first.shape.join() !== second.shape.join()) {
    throw new RangeError(`Shapes differ: ${first.shape.join("×")} and ${second.shape.join("×")}.`);
  }
}

/** Both directions of a {@link Pair}. */
export function bothDirections(pair: Pair): readonly [vertical: number, horizontal: number] {
  return typeof pair === "number" ? [pair, pair] : pair;
}

/** Tommy Ettinger's Mulberry32: uniform numbers in [0, 1) from a 32-bit counter. */
function mulberry32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
