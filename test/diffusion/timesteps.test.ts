import { describe, expect, it } from "vitest";
import { maskDifuserSchedule, noiseSchedule } from "../../src/diffusion/noise-schedules.ts";
import { maskDifuserTimesteps, sr3Timesteps, trailingTimesteps } from "../../src/diffusion/timesteps.ts";

const schedule = maskDifuserSchedule();
const alphaBar = (t: number): number => schedule.alphasBar[t] ?? NaN;
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe("maskDifuserTimesteps", () => {
  it("takes 5 steps at 800, 600, 400, 200, 0 with alpha-bar one later, rounded to float32", () => {
    const points = maskDifuserTimesteps(schedule, 5);
    expect(points.map(({ timestep }) => timestep)).toEqual([800, 600, 400, 200, 0]);
    expect(points.map((point) => point.alphaBar)).toEqual([801, 601, 401, 201, 1].map((t) => Math.fround(alphaBar(t))));
    expect(points.map((point) => point.nextAlphaBar)).toEqual([601, 401, 201, 1, 0].map((t) => Math.fround(alphaBar(t))));
    expect(points[0]?.alphaBar).toBeCloseTo(0.001483, 6);
    expect(points[4]?.nextAlphaBar).toBe(Math.fround(0.9999));
  });

  it("runs more steps than asked for where 1000 is not divisible", () => {
    expect(maskDifuserTimesteps(schedule, 7).map(({ timestep }) => timestep)).toEqual([994, 852, 710, 568, 426, 284, 142, 0]);
    expect(maskDifuserTimesteps(schedule, 6)).toHaveLength(7);
    expect(maskDifuserTimesteps(schedule, 1)).toHaveLength(1);
    expect(maskDifuserTimesteps(schedule, 500)).toHaveLength(500);
  });

  it("refuses exactly the values at which the published program reads past its table", () => {
    const expected = [3, 9, 27, 36, 37, ...range(101, 111), ...range(251, 333), ...range(501, 1000)];
    const refused = range(1, 1000).filter((steps) => {
      try {
        maskDifuserTimesteps(schedule, steps);
        return false;
      } catch {
        return true;
      }
    });
    expect(refused).toEqual(expected);
  });

  it("says which step counts work instead", () => {
    expect(() => maskDifuserTimesteps(schedule, 105)).toThrow(
      expect.objectContaining({ code: "INVALID_STEPS", fix: expect.stringContaining("100 or 112 steps") as string }),
    );
    expect(() => maskDifuserTimesteps(schedule, 1000)).toThrow(
      expect.objectContaining({ fix: expect.stringContaining("500 steps") as string }),
    );
  });

  it.each([0, -1, 2.5, 1001, NaN])("refuses %d steps", (steps) => {
    expect(() => maskDifuserTimesteps(schedule, steps)).toThrow(expect.objectContaining({ code: "INVALID_STEPS", where: "steps" }));
    expect(() => trailingTimesteps(schedule, steps)).toThrow(expect.objectContaining({ code: "INVALID_STEPS", where: "steps" }));
  });
});

describe("trailingTimesteps", () => {
  it("runs as many steps as asked for, strictly downwards from T − 1, and ends without noise", () => {
    for (const steps of [...range(1, 40), 333, 334, 501, 999, 1000]) {
      const points = trailingTimesteps(schedule, steps);
      expect(points).toHaveLength(steps);
      expect(points[0]?.timestep).toBe(999);
      expect(points.at(-1)?.nextAlphaBar).toBe(1);
      for (const [k, point] of points.entries()) {
        expect(point.alphaBar).toBe(alphaBar(point.timestep));
        const next = points[k + 1];
        if (next === undefined) continue;
        expect(next.timestep).toBeLessThan(point.timestep);
        expect(point.nextAlphaBar).toBe(next.alphaBar);
      }
    }
  });

  it("spaces 5 of 1000 evenly", () => {
    expect(trailingTimesteps(schedule, 5).map(({ timestep }) => timestep)).toEqual([999, 799, 599, 399, 199]);
  });
});

describe("sr3Timesteps", () => {
  it("visits every timestep of the schedule downwards", () => {
    const small = noiseSchedule({ name: "linear", steps: 4, start: 0.1, end: 0.4 });
    expect(sr3Timesteps(small)).toEqual(
      [3, 2, 1, 0].map((t) => ({ timestep: t, alphaBar: small.alphasBar[t], nextAlphaBar: small.alphasBarPrevious[t] })),
    );
  });
});
