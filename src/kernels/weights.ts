import type { Constant, ConstantTarget } from "./kernel.ts";
import { type ElementType, vectors } from "./tensor.ts";

/** A named tensor of a checkpoint, or one that was computed from such: row-major, in PyTorch's order of dimensions. */
export interface Weight {
  /** Equal names hold equal numbers. */
  readonly name: string;
  readonly shape: readonly number[];
  /** The numbers as float32. They may be made anew whenever they are asked for: ask when they are used, once, and do not keep them. */
  readonly data: Float32Array;
}

/** A weight whose numbers are read from a checkpoint, or computed, whenever they are asked for, and kept by nobody. */
export const lazyWeight = (name: string, shape: readonly number[], read: () => Float32Array): Weight => ({
  name,
  shape,
  get data() {
    return read();
  },
});

/** How many numbers a weight has, without reading them. */
export const weightLength = ({ shape }: Weight): number => shape.reduce((product, size) => product * size, 1);

/** Vectors of the uniform buffers of conv2d/weights.wgsl: the larger is of 64 KiB, the most that every device can bind. */
export const UNIFORM_SIZES: readonly number[] = [1024, 4096];

/** Vectors of a convolution's matrix, both channel counts filled up with zeros. */
export function convolutionVectors({ shape }: Weight): number {
  const [outputs = 0, inputs = 0, height = 1, width = 1] = shape;
  return height * width * vectors(inputs) * 4 * vectors(outputs);
}

/** Rows of a matrix that are transposed at a time: reading takes whole cache lines, and what is written stays in the cache. */
const ROWS_AT_A_TIME = 32;

/**
 * [kernel row][kernel column][input channel][vector of output channels], both channel counts filled up with zeros.
 *
 * @param length vectors of the result, at least `convolutionVectors`; the rest is zero
 */
export function packConvolution(weight: Weight, elementType: ElementType, length = convolutionVectors(weight)): Constant {
  const { name, shape } = weight;
  const [outputs = 0, inputs = 0, height = 1, width = 1] = shape;
  const columns = vectors(outputs) * 4;
  const rows = vectors(inputs) * 4;
  const taps = height * width;
  const pack = (target: ConstantTarget): void => {
    const { data } = weight;
    const inner = inputs * taps;
    // A stride that is no power of two, or rows would push each other out of the cache.
    const stride = columns + 16;
    const transposed = new Float32Array(Math.min(ROWS_AT_A_TIME, inner) * stride);
    for (let first = 0; first < inner; first += ROWS_AT_A_TIME) {
      const count = Math.min(ROWS_AT_A_TIME, inner - first);
      for (let o = 0; o < outputs; o++) {
        for (let k = 0, from = o * inner + first; k < count; k++) transposed[k * stride + o] = data[from + k] ?? 0;
      }
      for (let k = 0; k < count; k++) {
        const row = ((first + k) % taps) * rows + Math.floor((first + k) / taps);
        target.set(transposed.subarray(k * stride, k * stride + columns), row * columns);
      }
    }
  };
  return { key: `convolution ${name} ${elementType} ${length}`, elementType, length, pack };
}

/** [kernel row][kernel column][output channel][vector of input channels]: only the input channels are filled up with zeros. Always f32. */
export function packByOutput(weight: Weight): Constant {
  const { name, shape } = weight;
  const [outputs = 0, inputs = 0, height = 1, width = 1] = shape;
  const columns = vectors(inputs) * 4;
  const taps = height * width;
  const pack = (target: ConstantTarget): void => {
    const { data } = weight;
    const transposed = new Float32Array(taps * columns);
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < inputs; i++) {
        for (let tap = 0; tap < taps; tap++) transposed[tap * columns + i] = data[(o * inputs + i) * taps + tap] ?? 0;
      }
      for (let tap = 0; tap < taps; tap++) target.set(transposed.subarray(tap * columns, (tap + 1) * columns), (tap * outputs + o) * columns);
    }
  };
  return { key: `by output ${name}`, elementType: "f32", length: taps * outputs * vectors(inputs), pack };
}

/** [kernel row][kernel column][vector of channels] from PyTorch's channels × 1 × height × width. */
export function packDepthwise(weight: Weight, elementType: ElementType): Constant {
  const { name, shape } = weight;
  const [channels = 0, , height = 1, width = 1] = shape;
  const columns = vectors(channels) * 4;
  const pack = (target: ConstantTarget): void => {
    const { data } = weight;
    const taps = height * width;
    const packed = new Float32Array(taps * columns);
    for (let c = 0; c < channels; c++) {
      for (let tap = 0; tap < taps; tap++) packed[tap * columns + c] = data[c * taps + tap] ?? 0;
    }
    target.set(packed);
  };
  return { key: `depthwise ${name} ${elementType}`, elementType, length: height * width * vectors(channels), pack };
}

/** One number a channel, filled up with zeros; all zeros where there is no weight. Always f32. */
export function packVector(weight: Weight | undefined, channels: number): Constant {
  return {
    key: weight ? `vector ${weight.name}` : `zeros ${vectors(channels)}`,
    elementType: "f32",
    length: vectors(channels),
    pack: (target) => {
      if (weight) target.set(weight.data);
    },
  };
}

/** The same number for each channel. Always f32. */
export function packUniform(value: number, channels: number): Constant {
  return { key: `uniform ${value} ${vectors(channels)}`, elementType: "f32", length: vectors(channels), pack: (target) => target.set(new Float32Array(vectors(channels) * 4).fill(value)) };
}
