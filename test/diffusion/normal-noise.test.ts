import { describe, expect, it } from "vitest";
import { normalDeviate, normalNoise, type NoiseRegion, normalQuantileTable } from "../../src/diffusion/normal-noise.ts";

const table = normalQuantileTable();
const UNIT = 2 ** -21;

/** The probability that a standard normal deviate exceeds z ≥ 0: a power series, or for large z a continued fraction. */
function upperTail(z: number): number {
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  if (z < 3) {
    let term = z;
    let sum = z;
    for (let k = 3; k < 80; k += 2) {
      term *= (z * z) / k;
      sum += term;
    }
    return 0.5 - sum * density;
  }
  let fraction = 0;
  for (let k = 100; k >= 1; k--) fraction = k / (z + fraction);
  return density / (z + fraction);
}

/** Noise without the padding of the channels. */
function values(region: Partial<NoiseRegion>): Float64Array {
  const whole = { seed: 1, step: 0, originX: 0, originY: 0, width: 256, height: 256, channels: 4, ...region };
  const padded = Math.ceil(whole.channels / 4) * 4;
  return Float64Array.from(normalNoise(whole)).filter((_, i) => i % padded < whole.channels);
}

/** One channel of 256×256 pixels. */
function plane(region: Partial<NoiseRegion>, channel: number): Float64Array {
  return values(region).filter((_, i) => i % 4 === channel);
}

function correlation(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, i) => sum + value * (b[i] ?? NaN), 0) / a.length;
}

describe("normalQuantileTable", () => {
  it("holds the quantiles of the normal distribution to half a unit", () => {
    expect(table).toHaveLength(3969);
    table.forEach((entry, i) => {
      const tail = 2 ** (Math.floor(i / 128) - 32) * (1 + (i % 128) / 128);
      // Half a unit more or less must lie on either side of the tail probability.
      expect(upperTail(Math.abs((entry + 0.51) * UNIT))).toBeLessThan(tail);
      if (entry > 0) expect(upperTail((entry - 0.51) * UNIT)).toBeGreaterThan(tail);
    });
  });

  it("falls strictly, and the interpolation stays within 32 bits", () => {
    for (let i = 0; i + 1 < table.length; i++) {
      const fall = (table[i] ?? NaN) - (table[i + 1] ?? NaN);
      expect(fall).toBeGreaterThan(0);
      expect(fall * 8191 + 4096).toBeLessThan(2 ** 32);
    }
    expect(table[0]).toBeLessThan(2 ** 24);
  });

  it("is the same on every JavaScript engine", () => {
    // From an independent program with other library functions.
    expect(table.reduce((hash, entry) => (Math.imul(hash, 31) + entry) >>> 0, 0)).toBe(851527055);
  });
});

describe("normalDeviate", () => {
  it("gives the values of an independent program", () => {
    const expected: [number, number][] = [
      [0x00000000, 13065803],
      [0x00000001, 13065803],
      [0x00000002, 12836156],
      [0x12345678, 3077712],
      [0x3fffffff, 1414509],
      [0x40000000, 1414506],
      [0x7fffffff, 1],
      [0x80000000, -13065803],
      [0xdeadbeef, -696846],
      [0xffffffff, -1],
    ];
    for (const [word, units] of expected) expect(normalDeviate(word, table)).toBe(units * UNIT);
  });

  it("is a float32 number for any bits", () => {
    for (let i = 0; i < 100_000; i++) {
      const z = normalDeviate(Math.imul(i, 0x9e3779b9) >>> 0, table);
      expect(Math.fround(z) === z).toBe(true);
    }
  });

  it("has over all its values the variance and kurtosis of the normal distribution", () => {
    // All 31-bit numbers with an equal leading part give the same deviate: 2^19 parts in each octave.
    let variance = 0;
    let fourth = 0;
    const add = (tail: number, probability: number): void => {
      const square = normalDeviate(tail, table) ** 2;
      variance += probability * square;
      fourth += probability * square * square;
    };
    for (let tail = 0; tail < 2 ** 19; tail++) add(tail, 2 ** -31);
    for (let octave = 19; octave < 31; octave++) {
      for (let part = 0; part < 2 ** 19; part++) add(2 ** octave + part * 2 ** (octave - 19), 2 ** (octave - 50));
    }
    expect(Math.abs(variance - 1)).toBeLessThan(2e-6);
    expect(Math.abs(fourth / variance ** 2 - 3)).toBeLessThan(4e-6);
  });

  it("has a distribution function within 2e-6 of the normal one", () => {
    let largest = 0;
    for (let octave = 19; octave < 31; octave++) {
      for (let part = 0; part < 2 ** 19; part += 97) {
        // All numbers from this one up to the next part share a deviate: compare at both ends of the jump.
        const tail = 2 ** octave + part * 2 ** (octave - 19);
        const exact = upperTail(normalDeviate(tail, table));
        largest = Math.max(largest, exact - tail / 2 ** 32, (tail + 2 ** (octave - 19)) / 2 ** 32 - exact);
      }
    }
    expect(largest).toBeLessThan(2e-6);
  });
});

describe("normalNoise", () => {
  it("gives the values of an independent program", () => {
    const expected: [Partial<NoiseRegion>, number[]][] = [
      [{ seed: 1, channels: 4 }, [-584360, -560212, -2867971, -1681979]],
      [{ seed: 3407, step: 5, originX: 639, originY: 479, channels: 3 }, [-4595306, 2195757, -9424]],
      [
        { seed: Number.MAX_SAFE_INTEGER, step: 1000, originX: 100_000, originY: 7, channels: 5 },
        [2409247, -41860, -639487, -467080, -93447],
      ],
    ];
    for (const [region, units] of expected) {
      expect([...values({ width: 1, height: 1, ...region })]).toEqual(units.map((unit) => unit * UNIT));
    }
  });

  it("is the same in any tiling", () => {
    const region = { seed: 9, step: 2, channels: 3 };
    const whole = normalNoise({ ...region, originX: 0, originY: 0, width: 20, height: 11 });
    const tile = normalNoise({ ...region, originX: 7, originY: 4, width: 9, height: 5 });
    for (let row = 0; row < 5; row++) {
      const begin = ((row + 4) * 20 + 7) * 4;
      expect(tile.subarray(row * 36, row * 36 + 36)).toEqual(whole.subarray(begin, begin + 36));
    }
  });

  it.each([1, 2, 3, 5, 7])("pads %d channels with zeros and gives a channel the same noise whatever their number", (channels) => {
    const size = { seed: 4, step: 1, originX: 0, originY: 0, width: 6, height: 3 };
    const all = normalNoise({ ...size, channels: 8 });
    const some = normalNoise({ ...size, channels });
    const padded = Math.ceil(channels / 4) * 4;
    expect(some).toHaveLength(6 * 3 * padded);
    some.forEach((value, i) => {
      const channel = i % padded;
      expect(value).toBe(channel < channels ? all[Math.floor(i / padded) * 8 + channel] : 0);
    });
  });

  it("passes as normal noise: moments and the Kolmogorov-Smirnov distance of 2^18 values", () => {
    for (const seed of [1, 3407]) {
      const noise = values({ seed });
      const count = noise.length;
      const moment = (power: number): number => noise.reduce((sum, z) => sum + z ** power, 0) / count;
      // Four standard errors of each.
      expect(Math.abs(moment(1))).toBeLessThan(4 / Math.sqrt(count));
      expect(Math.abs(moment(2) - 1)).toBeLessThan(4 * Math.sqrt(2 / count));
      expect(Math.abs(moment(3))).toBeLessThan(4 * Math.sqrt(15 / count));
      expect(Math.abs(moment(4) - 3)).toBeLessThan(4 * Math.sqrt(96 / count));
      const distance = noise.toSorted().reduce((largest, z, i) => {
        const below = z < 0 ? upperTail(-z) : 1 - upperTail(z);
        return Math.max(largest, (i + 1) / count - below, below - i / count);
      }, 0);
      // Exceeded once in a thousand.
      expect(distance).toBeLessThan(1.95 / Math.sqrt(count));
    }
  });

  it("has no correlation between channels, steps, seeds and neighbouring pixels", () => {
    const first = plane({}, 0);
    const limit = 4 / Math.sqrt(first.length);
    const others = {
      "channel 1": plane({}, 1),
      "channel 3": plane({}, 3),
      "step 1": plane({ step: 1 }, 0),
      "seed 2": plane({ seed: 2 }, 0),
      "seed 1 + 2^32": plane({ seed: 1 + 2 ** 32 }, 0),
      "right neighbour": plane({ originX: 1 }, 0),
      "lower neighbour": plane({ originY: 1 }, 0),
      transposed: first.map((_, i) => first[(i % 256) * 256 + Math.floor(i / 256)] ?? NaN).map((z, i) => (i % 257 === 0 ? 0 : z)),
    };
    for (const [name, other] of Object.entries(others)) expect(Math.abs(correlation(first, other)), name).toBeLessThan(limit);
  });
});
