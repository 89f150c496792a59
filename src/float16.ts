/** The bits of the float32 that equals a half-precision number given by its bits. */
export function float16ToFloat32Bits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13);
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // A subnormal half is a normal float: shift its leading one to bit 10, which then falls off as the implicit bit.
  const shift = Math.clz32(fraction) - 21;
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
}

/** Half-precision numbers that are set as those of a Float32Array are: from float32 numbers, each rounded to the nearest, ties to even. */
export class Float16Writer {
  readonly #halves: Uint16Array;

  /** @param halves gets the bits */
  constructor(halves: Uint16Array) {
    this.#halves = halves;
  }

  set(values: Float32Array, offset = 0): void {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    const halves = this.#halves;
    for (let i = 0; i < bits.length; i++) halves[offset + i] = float32BitsToFloat16(bits[i] ?? 0);
  }
}

/** The bits of the half-precision number nearest to a float32 given by its bits, ties to even. */
export function float32BitsToFloat16(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  // 65520 is halfway between 65504, the largest half, and 65536, so it and all above round to infinity.
  if (magnitude >= 0x477ff000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) {
    const rebased = magnitude - 0x38000000;
    return sign | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
  }
  if (magnitude < 0x33000000) return sign;
  // Subnormal half, in units of 2^-24: significand * 2^(exponent - 126), with the exponent 102 to 112 here.
  const significand = (magnitude & 0x7fffff) | 0x800000;
  const shift = 126 - (magnitude >>> 23);
  const quotient = significand >>> shift;
  const remainder = significand & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  const roundsUp = remainder > half || (remainder === half && (quotient & 1) === 1);
  return sign | (quotient + (roundsUp ? 1 : 0));
}
