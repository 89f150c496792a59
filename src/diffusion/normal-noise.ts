import { philox4x32, philoxKey } from "./philox.ts";

// The interpolation table: 31 octaves of the tail probability, 128 equal segments in each. It holds |z| in multiples of
// 2^-21, so that a deviate comes from integer arithmetic alone, and its conversion to float32 (below 2^24) is exact.
const OCTAVES = 31;
const SEGMENT_BITS = 7;
const FRACTION_BITS = 12;
const UNIT = 2 ** -21;

/** A rectangle of noise, in the coordinates of the whole picture that is sampled (padding included). */
export interface NoiseRegion {
  /** A whole number from 0 to 2^53 − 1. */
  seed: number;
  /** 0 for the start of sampling, k for what the k-th step that runs adds. */
  step: number;
  /** Column and row of the region's first pixel in the picture. */
  originX: number;
  originY: number;
  width: number;
  height: number;
  channels: number;
}

/**
 * The table that turns random bits into normal deviates: entry 128·k + s, k = 0 … 30, is −Φ⁻¹(p) in multiples of 2^-21,
 * rounded, for the tail probability p = 2^(k−32)·(1 + s/128); one last entry, 0, stands for p = 1/2. 3969 entries, 15.5 KiB.
 * No entry lies so close to a tie that the last digits of `Math.log`, which differ between JavaScript engines, could
 * change its rounding.
 */
export function normalQuantileTable(): Uint32Array<ArrayBuffer> {
  const segments = 2 ** SEGMENT_BITS;
  return Uint32Array.from({ length: OCTAVES * segments + 1 }, (_, entry) => {
    const tail = 2 ** (Math.floor(entry / segments) - OCTAVES - 1) * (1 + (entry % segments) / segments);
    return Math.round(upperQuantile(tail) / UNIT);
  });
}

/**
 * The standard normal deviate of 32 random bits: bit 31 is the sign, the other 31 bits, u, give the tail probability
 * u/2^32. The octave of u, its next 7 bits and the 12 bits after those pick a table entry and a place between it and the
 * next one. Only integer operations, so that a GPU, whatever its float rounding, makes the same float32 to the bit.
 *
 * The distribution: symmetric with mean 0, variance 1 + 1.7·10^-6, kurtosis 3 − 3.6·10^-6, and a distribution function
 * within 1.4·10^-6 of Φ. Neighbouring values are at most 2·10^-6 apart up to |z| = 4, 2·10^-4 up to 5, 0.03 up to 6. The
 * largest is 6.23, which a true normal deviate exceeds once in 2·10^9 draws; 0 itself does not occur.
 *
 * @param table what `normalQuantileTable` returns
 */
export function normalDeviate(word: number, table: Uint32Array): number {
  const tail = Math.max(word & 0x7fffffff, 1);
  const octave = 31 - Math.clz32(tail);
  const belowLeadingOne = ((tail << (31 - octave)) << 1) >>> 0;
  const position = belowLeadingOne >>> (32 - SEGMENT_BITS - FRACTION_BITS);
  const entry = (octave << SEGMENT_BITS) + (position >>> FRACTION_BITS);
  const fraction = position & (2 ** FRACTION_BITS - 1);
  const here = table[entry] ?? 0;
  const fall = here - (table[entry + 1] ?? 0);
  // The deviate of the middle of the interval, rounded to the nearest unit.
  const magnitude = here - ((fall * (2 * fraction + 1) + 2 ** FRACTION_BITS) >>> (FRACTION_BITS + 1));
  return ((word & 0x80000000) === 0 ? magnitude : -magnitude | 0) * UNIT;
}

/**
 * Standard normal noise, the CPU twin of `kernels/normal-noise`: equal to it to the bit. The four deviates of channels
 * 4g … 4g+3 of a pixel come from the Philox block with counter (column, row, g, step) and the seed as key, so a pixel's
 * noise depends on its place in the picture alone, and any tiling, banding or padding gives the same.
 *
 * @returns [row][column][channel], channels rounded up to a multiple of 4 with zeros
 * @throws SinterError INVALID_SEED
 */
export function normalNoise(region: NoiseRegion): Float32Array<ArrayBuffer> {
  const { seed, step, originX, originY, width, height, channels } = region;
  const key = philoxKey(seed);
  const table = normalQuantileTable();
  const groups = Math.ceil(channels / 4);
  const noise = new Float32Array(width * height * groups * 4);
  let index = 0;
  for (let row = originY; row < originY + height; row++) {
    for (let column = originX; column < originX + width; column++) {
      for (let group = 0; group < groups; group++) {
        philox4x32([column, row, group, step], key).forEach((word, lane) => {
          if (group * 4 + lane < channels) noise[index + lane] = normalDeviate(word, table);
        });
        index += 4;
      }
    }
  }
  return noise;
}

/**
 * The z ≥ 0 that a standard normal deviate exceeds with probability `tail`, for 2^-32 ≤ tail ≤ 1/2, to about 16 digits
 * (Wichura 1988, algorithm AS 241, routine PPND16; its third region lies below 2^-32).
 */
function upperQuantile(tail: number): number {
  const q = 0.5 - tail;
  if (q <= 0.425) {
    const r = 0.180625 - q * q;
    return (q * polynomial(CENTRE_NUMERATOR, r)) / polynomial(CENTRE_DENOMINATOR, r);
  }
  const r = Math.sqrt(-Math.log(tail)) - 1.6;
  return polynomial(TAIL_NUMERATOR, r) / polynomial(TAIL_DENOMINATOR, r);
}

/** Horner's rule; the constant term comes first. */
function polynomial(coefficients: readonly number[], x: number): number {
  return coefficients.reduceRight((sum, coefficient) => sum * x + coefficient, 0);
}

const CENTRE_NUMERATOR = [
  3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946, 45921.95393154987,
  67265.7709270087, 33430.57558358813, 2509.0809287301227,
];
const CENTRE_DENOMINATOR = [
  1, 42.31333070160091, 687.1870074920579, 5394.196021424751, 21213.794301586597, 39307.89580009271,
  28729.085735721943, 5226.495278852854,
];
const TAIL_NUMERATOR = [
  1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045, 1.2704582524523684,
  0.2417807251774506, 0.022723844989269184, 0.0007745450142783414,
];
const TAIL_DENOMINATOR = [
  1, 2.053191626637759, 1.6763848301838038, 0.6897673349851, 0.14810397642748008,
  0.015198666563616457, 0.0005475938084995345, 1.0507500716444169e-9,
];
