import type { Constant } from "./kernel.ts";
import { type ElementType, vectors } from "./tensor.ts";

/** A named tensor of a checkpoint, widened to f32: row-major, in PyTorch's order of dimensions. */
export interface Weight {
  /** Equal names hold equal numbers. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Vectors of the uniform buffers of conv2d/weights.wgsl: the larger is of 64 KiB, the most that every device can bind. */
export const UNIFORM_SIZES: readonly number[] = [1024, 4096];

/** Vectors of a convolution's matrix, both channel counts filled up with zeros. */
export function convolutionVectors({ shape }: Weight): number {
  const [outputs = 0, inputs = 0, height = 1, width = 1] = shape;
  return height * width * vectors(inputs) * 4 * vectors(outputs);
}

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
  const pack = (): Float32Array => {
    // A folded weight is computed when its numbers are first asked for.
    const { data } = weight;
    const packed = new Float32Array(length * 4);
    const taps = height * width;
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < inputs; i++) {
        for (let tap = 0; tap < taps; tap++) packed[(tap * rows + i) * columns + o] = data[(o * inputs + i) * taps + tap] ?? 0;
      }
    }
    return packed;
  };
  return { key: `convolution ${name} ${elementType} ${length}`, elementType, length, pack };
}

/** [kernel row][kernel column][output channel][vector of input channels]: only the input channels are filled up with zeros. Always f32. */
export function packByOutput(weight: Weight): Constant {
  const { name, shape } = weight;
  const [outputs = 0, inputs = 0, height = 1, width = 1] = shape;
  const columns = vectors(inputs) * 4;
  const taps = height * width;
  const pack = (): Float32Array => {
    // A folded weight is computed when its numbers are first asked for.
    const { data } = weight;
    const packed = new Float32Array(taps * outputs * columns);
    for (let o = 0; o < outputs; o++) {
      for (let i = 0; i < inputs; i++) {
        for (let tap = 0; tap < taps; tap++) packed[(tap * outputs + o) * columns + i] = data[(o * inputs + i) * taps + tap] ?? 0;
      }
    }
    return packed;
  };
  return { key: `by output ${name}`, elementType: "f32", length: taps * outputs * vectors(inputs), pack };
}

/** [kernel row][kernel column][vector of channels] from PyTorch's channels × 1 × height × width. */
export function packDepthwise({ name, shape, data }: Weight, elementType: ElementType): Constant {
  const [channels = 0, , height = 1, width = 1] = shape;
  const columns = vectors(channels) * 4;
  const pack = (): Float32Array => {
    const taps = height * width;
    const packed = new Float32Array(taps * columns);
    for (let c = 0; c < channels; c++) {
      for (let tap = 0; tap < taps; tap++) packed[tap * columns + c] = data[c * taps + tap] ?? 0;
    }
    return packed;
  };
  return { key: `depthwise ${name} ${elementType}`, elementType, length: height * width * vectors(channels), pack };
}

/** One number a channel, filled up with zeros; all zeros where there is no weight. Always f32. */
export function packVector(weight: Weight | undefined, channels: number): Constant {
  return {
    key: weight ? `vector ${weight.name}` : `zeros ${vectors(channels)}`,
    elementType: "f32",
    length: vectors(channels),
    pack: () => {
      const packed = new Float32Array(vectors(channels) * 4);
      if (weight) packed.set(weight.data);
      return packed;
    },
  };
}

/** The same number for each channel. Always f32. */
export function packUniform(value: number, channels: number): Constant {
  return { key: `uniform ${value} ${vectors(channels)}`, elementType: "f32", length: vectors(channels), pack: () => new Float32Array(vectors(channels) * 4).fill(value) };
}
