import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { affordableRows, Budget, Forecast, leastMilliseconds } from "../../bench/budget.ts";

const PEAKS = { f32GigaflopsPerSecond: 100, matrix: [], copyGigabytesPerSecond: 10, dispatchMicroseconds: 10, submitMicroseconds: 50 };

describe("leastMilliseconds", () => {
  it("is bound by arithmetic above 10 operations a byte, by bandwidth below", () => {
    expect(leastMilliseconds({ operations: 200e6, bytes: 10e6 }, PEAKS)).toBeCloseTo(2, 12);
    expect(leastMilliseconds({ operations: 50e6, bytes: 10e6 }, PEAKS)).toBeCloseTo(1, 12);
  });
});

describe("Forecast", () => {
  const dispatches = [{ operations: 100e6, bytes: 1e6 }, { operations: 0, bytes: 20e6 }];

  it("guesses high at first", () => {
    // At least 1 ms and 2 ms, and twice 10 µs.
    expect(new Forecast(PEAKS).milliseconds(dispatches)).toBeCloseTo(3.02 / 0.05, 9);
  });

  it("foretells what it has learnt, and more work in proportion", () => {
    const forecast = new Forecast(PEAKS);
    forecast.learn(dispatches, 15.1);
    expect(forecast.milliseconds(dispatches)).toBeCloseTo(15.1, 9);
    expect(forecast.milliseconds([...dispatches, ...dispatches])).toBeCloseTo(30.2, 9);
  });

  it("never foretells less than the peaks allow", () => {
    const forecast = new Forecast(PEAKS);
    forecast.learn(dispatches, 0.001);
    expect(forecast.milliseconds(dispatches)).toBeCloseTo(3.02, 9);
  });
});

describe("Budget", () => {
  it("gives a section its part, and what it leaves to the others", () => {
    let now = 1000;
    const budget = new Budget(600, 3, () => now);
    expect(budget.section(1)).toBe(1200);
    now = 1100;
    // 500 left for two.
    expect(budget.section(1)).toBe(1350);
    now = 1500;
    expect(budget.section(1)).toBe(1600);
  });

  it("gives nothing when the time is up", () => {
    let now = 0;
    const budget = new Budget(10, 1, () => now);
    now = 50;
    expect(budget.section(1)).toBe(50);
  });

  it("never ends later than it may, whatever the sections take", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.double({ min: 0, max: 1, noNaN: true })), { minLength: 1, maxLength: 8 }), (sections) => {
        let now = 0;
        const budget = new Budget(1000, sections.reduce((sum, [weight]) => sum + weight, 0), () => now);
        for (const [weight, used] of sections) now += (budget.section(weight) - now) * used;
        expect(now).toBeLessThanOrEqual(1000 + 1e-9);
      }),
    );
  });
});

describe("affordableRows", () => {
  it("is the most that fits, in whole steps", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 1, max: 32 }), fc.double({ min: 0, max: 3000, noNaN: true }), (rows, step, milliseconds) => {
        const chosen = affordableRows(rows, step, milliseconds, (count) => count);
        if (rows <= milliseconds) expect(chosen).toBe(rows);
        else {
          expect(chosen % step).toBe(0);
          expect(chosen === step || chosen <= milliseconds).toBe(true);
          expect(chosen + step > milliseconds || chosen + step >= rows).toBe(true);
        }
      }),
    );
  });
});
