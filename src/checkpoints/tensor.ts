import { SinterError } from "../errors.ts";
import { float16ToFloat32Bits, float32BitsToFloat16 } from "../float16.ts";

/** Element types a checkpoint may hold, named as in the safetensors format. All are little-endian. */
export type ElementType = "F64" | "F32" | "F16" | "BF16" | "I64" | "I32" | "I16" | "I8" | "U8" | "BOOL";

/** A tensor as stored: contiguous, row-major, little-endian. A scalar has the shape []. */
export interface StoredTensor {
  readonly elementType: ElementType;
  readonly shape: readonly number[];
  /** Exactly `elementCount(shape) * elementBytes[elementType]` bytes; may be a view of the file. */
  readonly bytes: Uint8Array;
}

/** What a checkpoint file holds: named tensors, and text about them (empty for PyTorch files). */
export interface Checkpoint {
  readonly tensors: Map<string, StoredTensor>;
  readonly metadata: Record<string, string>;
}

/** Bytes of one element. */
export const elementBytes: Readonly<Record<ElementType, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
};

/** Number of elements of a shape; 1 for a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** A shape as text for messages: `[16, 1, 3, 3]`. */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/**
 * The values of a tensor as float32: F16, BF16 and BOOL widened exactly, F64 and integers rounded once to nearest even.
 * An F32 tensor that lies on a 4-byte boundary is returned as a view, without a copy.
 */
export function toFloat32(tensor: StoredTensor): Float32Array {
  const { elementType, bytes } = tensor;
  if (elementType === "F32") return new Float32Array(...alignedRange(bytes, 4));
  const count = bytes.byteLength / elementBytes[elementType];
  const values = new Float32Array(count);
  switch (elementType) {
    case "F16": {
      const source = new Uint16Array(...alignedRange(bytes, 2));
      const bits = new Uint32Array(values.buffer);
      for (let i = 0; i < count; i++) bits[i] = float16ToFloat32Bits(source[i] ?? 0);
      return values;
    }
    case "BF16": {
      const source = new Uint16Array(...alignedRange(bytes, 2));
      const bits = new Uint32Array(values.buffer);
      for (let i = 0; i < count; i++) bits[i] = (source[i] ?? 0) << 16;
      return values;
    }
    case "I64": {
      const source = new BigInt64Array(...alignedRange(bytes, 8));
      for (let i = 0; i < count; i++) values[i] = bigIntToNumber(source[i] ?? 0n);
      return values;
    }
    case "F64":
      values.set(new Float64Array(...alignedRange(bytes, 8)));
      return values;
    case "I32":
      values.set(new Int32Array(...alignedRange(bytes, 4)));
      return values;
    case "I16":
      values.set(new Int16Array(...alignedRange(bytes, 2)));
      return values;
    case "I8":
      values.set(new Int8Array(...alignedRange(bytes, 1)));
      return values;
    case "U8":
    case "BOOL":
      values.set(bytes);
      return values;
  }
}

/**
 * A tensor of the given shape from float32 values; F16 rounds to nearest even and keeps infinities and NaN.
 * @throws SinterError `F16_OVERFLOW` when a finite value lies beyond ±65504 after rounding.
 */
export function fromFloat32(values: Float32Array, shape: readonly number[], elementType: "F32" | "F16"): StoredTensor {
  if (values.length !== elementCount(shape)) {
    throw new SinterError("SIZE_MISMATCH", `${values.length} values do not fill a tensor of shape ${formatShape(shape)}.`);
  }
  if (elementType === "F32") {
    return { elementType, shape, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
  }
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < halves.length; i++) {
    const half = float32BitsToFloat16(bits[i] ?? 0);
    if ((half & 0x7fff) === 0x7c00 && Number.isFinite(values[i])) {
      throw new SinterError("F16_OVERFLOW", `The value ${values[i]} does not fit in f16 (largest 65504).`, {
        fix: "Keep these weights in f32.",
      });
    }
    halves[i] = half;
  }
  return { elementType, shape, bytes: new Uint8Array(halves.buffer) };
}

/** Arguments for a typed array over `bytes`: the bytes themselves when aligned, else a copy. */
function alignedRange(bytes: Uint8Array, alignment: number): [ArrayBufferLike, number, number] {
  // Not slice(), which for a Node Buffer does not copy.
  const aligned = bytes.byteOffset % alignment === 0 ? bytes : new Uint8Array(bytes);
  return [aligned.buffer, aligned.byteOffset, aligned.byteLength / alignment];
}

/**
 * A 64-bit integer as a float64 that rounds to the same float32 as the integer itself: beyond 2^53 the low bits are
 * gathered into one sticky bit, since rounding first to float64 and then to float32 can differ from rounding once.
 */
function bigIntToNumber(value: bigint): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  const sticky = (value & 0x3ffn) === 0n ? 0n : 1n;
  return Number((value >> 10n) | sticky) * 1024;
}
