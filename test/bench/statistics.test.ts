import { describe, expect, it } from "vitest";
import { median, scatteredValues } from "../../bench/statistics.ts";

describe("median", () => {
  it("is the middle one, or between the two middle ones", () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([9, 1, 5, 6])).toBe(5.5);
    expect(median([])).toBeNaN();
  });
});

describe("scatteredValues", () => {
  it("spreads evenly over −scale..scale, another way for each seed", () => {
    const values = scatteredValues(10_000, 3, 2);
    const bins = Array.from({ length: 10 }, () => 0);
    for (const value of values) bins[Math.floor(((value + 2) / 4) * 10)] = (bins[Math.floor(((value + 2) / 4) * 10)] ?? 0) + 1;
    for (const count of bins) expect(Math.abs(count - 1000)).toBeLessThan(50);
    expect(scatteredValues(8, 4, 2)).not.toEqual(values.subarray(0, 8));
  });
});
