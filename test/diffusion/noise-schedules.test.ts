import { describe, expect, it } from "vitest";
import { maskDifuserSchedule, noiseSchedule, posterior, type ScheduleName } from "../../src/diffusion/noise-schedules.ts";
import { goldenTensors, hasGoldens, largestRelativeError } from "./golden.ts";

const names: ScheduleName[] = ["linear", "linear-float32", "quadratic", "cosine", "constant", "jsd", "warmup10", "warmup50"];

describe("noise schedules", () => {
  it("give the betas of their definitions", () => {
    const expected: [ScheduleName, number[]][] = [
      ["linear", [0.01, 0.03, 0.05, 0.07, 0.09]],
      ["quadratic", [0.01, 0.04, 0.09]],
      ["constant", [0.09, 0.09, 0.09]],
      ["jsd", [1 / 4, 1 / 3, 1 / 2, 1]],
      ["warmup50", [0.01, 0.05, 0.09, 0.09, 0.09, 0.09]],
      ["warmup10", Array<number>(9).fill(0.09)],
    ];
    for (const [name, values] of expected) {
      const { betas } = noiseSchedule({ name, steps: values.length, start: 0.01, end: 0.09 });
      expect(largestRelativeError(betas, values), name).toBeLessThan(1e-14);
    }
    const { betas } = noiseSchedule({ name: "linear-float32", steps: 5, start: 0.01, end: 0.09 });
    expect(largestRelativeError(betas, [0.01, 0.03, 0.05, 0.07, 0.09])).toBeLessThan(2 ** -23);
    expect(betas).toEqual(betas.map(Math.fround));
  });

  it("follow the squared cosine down to the last timestep, whose beta is limited", () => {
    const { alphasBar, betas } = noiseSchedule({ name: "cosine", steps: 40, start: 0.1, end: 0.2 });
    const curve = Array.from({ length: 40 }, (_, t) => Math.cos(((t / 40 + 0.008) / 1.008) * (Math.PI / 2)) ** 2);
    for (let t = 0; t < 39; t++) expect(alphasBar[t]).toBeCloseTo((curve[t + 1] ?? NaN) / (curve[0] ?? NaN), 13);
    expect(betas[39]).toBe(0.999);
  });

  it.each(names)("%s: the tables belong together", (name) => {
    const tables = noiseSchedule({ name, steps: 20, start: 1e-4, end: 0.3 });
    let product = 1;
    for (let t = 0; t < 20; t++) {
      const beta = tables.betas[t] ?? NaN;
      expect(tables.alphasBarPrevious[t]).toBe(product);
      product *= 1 - beta;
      expect(tables.alphas[t]).toBe(1 - beta);
      expect(tables.alphasBar[t]).toBe(product);
    }
    expect(tables.posteriorVariance[0]).toBe(0);
    expect(tables.posteriorMeanX0[0]).toBeCloseTo(1, 12);
    expect(tables.posteriorMeanSample[0]).toBe(0);
  });

  it("the posterior is the one Bayes' rule gives", () => {
    // x' = √p·x0 + √(1−p)·e, x = √(1−b)·x' + √b·e': precisions add.
    const [beta, previous] = [0.2, 0.6];
    const { variance, meanX0, meanSample } = posterior(beta, previous * (1 - beta), previous);
    const precision = 1 / (1 - previous) + (1 - beta) / beta;
    expect(variance).toBeCloseTo(1 / precision, 14);
    expect(meanX0).toBeCloseTo(Math.sqrt(previous) / (1 - previous) / precision, 14);
    expect(meanSample).toBeCloseTo(Math.sqrt(1 - beta) / beta / precision, 14);
  });

  it.each(names)("%s: one step is possible", (name) => {
    const { betas } = noiseSchedule({ name, steps: 1, start: 0.25, end: 0.25 });
    expect(betas.length).toBe(1);
    expect(betas[0]).toBeGreaterThan(0);
  });

  it.each([
    [{ steps: 0 }, "0"],
    [{ steps: 2.5 }, "2.5"],
    [{ start: 0 }, "start"],
    [{ end: 1 }, "end"],
    [{ end: NaN }, "end"],
  ])("refuses %o", (wrong, named) => {
    expect(() => noiseSchedule({ name: "linear", steps: 10, start: 1e-4, end: 0.02, ...wrong })).toThrow(
      expect.objectContaining({ code: "INVALID_SCHEDULE", message: expect.stringContaining(named) as string }),
    );
  });
});

describe.skipIf(!hasGoldens)("noise schedules against the published programs (needs ../shared/golden)", () => {
  const sr3Names: [string, ScheduleName][] = [
    ["linear", "linear"],
    ["quad", "quadratic"],
    ["cosine", "cosine"],
    ["const", "constant"],
    ["jsd", "jsd"],
    ["warmup10", "warmup10"],
    ["warmup50", "warmup50"],
  ];

  it("agree with every SR3 table to 1e-12, cosine to 1e-11", () => {
    const golden = goldenTensors("sgdfuse/schedules_f64.safetensors");
    let compared = 0;
    for (const [theirs, name] of sr3Names) {
      for (const steps of [8, 50, 1000]) {
        const ours = noiseSchedule({ name, steps, start: 1e-6, end: 1e-2 });
        const tables = {
          betas: ours.betas,
          alphas_cumprod: ours.alphasBar,
          posterior_variance: ours.posteriorVariance,
          posterior_mean_coef1: ours.posteriorMeanX0,
          posterior_mean_coef2: ours.posteriorMeanSample,
        };
        for (const [table, values] of Object.entries(tables)) {
          const expected = golden.get(`${theirs}.n${steps}.${table}`);
          if (expected === undefined) continue;
          // The smallest cosine beta, 4e-5, is 1 minus a ratio of cosines, which libraries round differently: 2.2e-16
          // of 1 is 5e-12 of it.
          const limit = name === "cosine" ? 1e-11 : 1e-12;
          expect(largestRelativeError(values, expected), `${name} ${steps} ${table}`).toBeLessThan(limit);
          compared++;
        }
      }
    }
    expect(compared).toBe(golden.size);
  });

  it("agree with Mask-DiFuser's betas to the bit, and with what follows from them", () => {
    const golden = goldenTensors("mask_difuser/tables.safetensors");
    const ours = maskDifuserSchedule();
    expect(ours.betas).toEqual(golden.get("betas_f64"));
    expect(ours.alphasBar).toEqual(golden.get("alphas_bar_f64"));
    expect(ours.alphasBar.map(Math.fround)).toEqual(Float64Array.from(golden.get("alphas_bar_f32") ?? []));
    expect(largestRelativeError(ours.posteriorVariance, golden.get("posterior_var_f64") ?? [])).toBeLessThan(1e-12);
  });
});
