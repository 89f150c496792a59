import { SinterError } from "../errors.ts";

/** Four unsigned 32-bit words. */
export type PhiloxBlock = readonly [number, number, number, number];

/** Two unsigned 32-bit words, the low one first. */
export type PhiloxKey = readonly [low: number, high: number];

const ROUNDS = 10;
const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const KEY_STEP_0 = 0x9e3779b9;
const KEY_STEP_1 = 0xbb67ae85;

/**
 * Philox 4×32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): the 128 random bits that belong
 * to a counter and a key. Bits of different counters, or of different keys, are independent.
 */
export function philox4x32(counter: PhiloxBlock, key: PhiloxKey): PhiloxBlock {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0);
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + KEY_STEP_0) | 0;
    k1 = (k1 + KEY_STEP_1) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/**
 * The key of a seed: its low and its high 32 bits.
 *
 * @throws SinterError INVALID_SEED if the seed is no whole number from 0 to 2^53 − 1.
 */
export function philoxKey(seed: number): PhiloxKey {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new SinterError("INVALID_SEED", `a seed must be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}, not ${seed}`, {
      where: "seed",
    });
  }
  return [seed >>> 0, Math.floor(seed / 2 ** 32)];
}

/** The high 32 bits of the product of two unsigned 32-bit numbers, from products of 16-bit halves. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const otherMiddle = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(otherMiddle / 0x10000)) | 0;
}
