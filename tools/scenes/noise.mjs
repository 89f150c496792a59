/** Seeded random numbers and procedural noise. Everything here is a pure function of its arguments. */

/**
 * A stream of uniform random numbers in [0, 1): a Weyl sequence through a mixing function.
 * @param {number} seed any integer
 * @returns {() => number}
 */
export function randomStream(seed) {
  let state = Math.imul(seed | 0, 0x9e3779b1) ^ 0x5bd1e995;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    return mix(state) / 4294967296;
  };
}

/**
 * Standard normal deviates from a uniform stream (Box-Muller, both values used).
 * @param {() => number} random
 * @returns {() => number}
 */
export function normalStream(random) {
  let spare = Number.NaN;
  return () => {
    if (!Number.isNaN(spare)) {
      const value = spare;
      spare = Number.NaN;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

/** @param {number} bits @returns {number} a well mixed unsigned 32-bit integer */
function mix(bits) {
  let h = bits ^ (bits >>> 16);
  h = Math.imul(h, 0x7feb352d);
  h ^= h >>> 15;
  h = Math.imul(h, 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/**
 * A hash of up to three lattice coordinates.
 * @param {number} x @param {number} [y] @param {number} [z] integers
 * @returns {number} in [0, 1)
 */
export function hash(x, y = 0, z = 0) {
  return mix(Math.imul(x | 0, 0x8da6b343) ^ Math.imul(y | 0, 0xd8163841) ^ Math.imul(z | 0, 0xcb1ab31f)) / 4294967296;
}

/** @param {number} t @returns {number} */
const fade = (t) => t * t * t * (t * (t * 6 - 15) + 10);

/**
 * Value noise on the integer lattice with quintic interpolation.
 * @param {number} x @param {number} y @param {number} [z]
 * @returns {number} in [0, 1)
 */
export function noise(x, y, z = 0) {
  const ix = Math.floor(x);
  const iy = Math.floor(y);
  const iz = Math.floor(z);
  const fx = fade(x - ix);
  const fy = fade(y - iy);
  const fz = fade(z - iz);
  const slice = (/** @type {number} */ k) => {
    const a = hash(ix, iy, k) * (1 - fx) + hash(ix + 1, iy, k) * fx;
    const b = hash(ix, iy + 1, k) * (1 - fx) + hash(ix + 1, iy + 1, k) * fx;
    return a * (1 - fy) + b * fy;
  };
  return fz === 0 ? slice(iz) : slice(iz) * (1 - fz) + slice(iz + 1) * fz;
}

/**
 * Fractal sum of `noise`, each octave twice as fine and half as strong.
 * @param {number} x @param {number} y @param {number} [z] @param {number} [octaves]
 * @returns {number} in [0, 1)
 */
export function fractal(x, y, z = 0, octaves = 4) {
  let sum = 0;
  let weight = 0.5;
  let total = 0;
  for (let octave = 0; octave < octaves; octave += 1) {
    sum += weight * noise(x, y, z === 0 ? 0 : z + octave * 17);
    total += weight;
    // The shift keeps the lattices of the octaves from lining up at the origin.
    x = x * 2 + 37.2;
    y = y * 2 + 11.7;
    z *= 2;
    weight /= 2;
  }
  return sum / total;
}

/** @param {number} x @param {number} low @param {number} high @returns {number} */
export const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

/**
 * @param {number} low
 * @param {number} high
 * @param {number} x
 * @returns {number} cubic step from 0 at `low` to 1 at `high`
 */
export function smoothstep(low, high, x) {
  const t = clamp((x - low) / (high - low), 0, 1);
  return t * t * (3 - 2 * t);
}

/** @param {number} a @param {number} b @param {number} t @returns {number} */
export const lerp = (a, b, t) => a + (b - a) * t;

/**
 * @param {number[]} a @param {number[]} b @param {number} t
 * @returns {[number, number, number]}
 */
export const blend = (a, b, t) => [lerp(a[0], b[0], t), lerp(a[1], b[1], t), lerp(a[2], b[2], t)];
