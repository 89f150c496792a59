import { describe, expect, it } from "vitest";
import { maskDifuserSchedule, noiseSchedule } from "../../src/diffusion/noise-schedules.ts";
import {
  type ClipRange,
  ddimSteps,
  ddpmSteps,
  dpmSolverSteps,
  type Prediction,
  type SamplerStep,
  x0ClipRange,
} from "../../src/diffusion/samplers.ts";
import { maskDifuserTimesteps, type SamplingPoint, sr3Timesteps, trailingTimesteps } from "../../src/diffusion/timesteps.ts";
import { goldenTensors, goldenText, hasGoldens, largestRelativeError } from "./golden.ts";
import { samplerUpdate } from "./sampler-update.ts";

const schedule = maskDifuserSchedule();
const wide: ClipRange = [-1e6, 1e6];
const predictions: Prediction[] = ["epsilon", "x0", "v"];

/** What a perfect network of the kind answers for the picture x0 under the noise epsilon. */
function perfectOutput(prediction: Prediction, alphaBar: number, x0: number, epsilon: number): number {
  if (prediction === "epsilon") return epsilon;
  if (prediction === "x0") return x0;
  return Math.sqrt(alphaBar) * epsilon - Math.sqrt(1 - alphaBar) * x0;
}

type Sampler = (points: SamplingPoint[], prediction: Prediction) => SamplerStep[];

const samplers = {
  "DDIM, eta 0": (points, prediction) => ddimSteps(points, { prediction, clip: wide, eta: 0, reference: false }),
  "DDIM, eta 1": (points, prediction) => ddimSteps(points, { prediction, clip: wide, eta: 1, reference: false }),
  DDPM: (points, prediction) => ddpmSteps(points, { prediction, clip: wide }),
  "DPM-Solver++(2M)": (points, prediction) => dpmSolverSteps(points, { prediction, clip: wide }),
} satisfies Record<string, Sampler>;

/**
 * Error at the end of a path in `count` steps over pictures distributed as N(0, s²), s² = 1/4: the best x0 estimate is
 * linear in the sample, and the exact path is x ∝ deviation. The points are even in ln(√ᾱ/√(1−ᾱ)), where orders show.
 */
function gaussianError(sampler: Sampler, count: number): number {
  const alphaBar = (k: number): number => 1 / (1 + Math.exp(4 - (8 * k) / count));
  const deviation = (k: number): number => Math.sqrt(alphaBar(k) / 4 + 1 - alphaBar(k));
  const points = Array.from({ length: count }, (_, k) => ({
    timestep: count - 1 - k,
    alphaBar: alphaBar(k),
    nextAlphaBar: alphaBar(k + 1),
  }));
  let sample = deviation(0);
  let previousX0 = NaN;
  sampler(points, "x0").forEach((step, k) => {
    const output = [(Math.sqrt(alphaBar(k)) * sample) / 4 / deviation(k) ** 2];
    const { x0, next } = samplerUpdate(step, { sample: [sample], output, previousX0: [previousX0] });
    sample = next[0] ?? NaN;
    previousX0 = x0[0] ?? NaN;
  });
  return Math.abs(sample - deviation(count));
}

function gaussianErrors(name: keyof typeof samplers): [number, number, number] {
  return [gaussianError(samplers[name], 20), gaussianError(samplers[name], 40), gaussianError(samplers[name], 80)];
}

describe.each(Object.entries(samplers))("%s", (_, sampler) => {
  it.each(predictions)("finds x0 and ends at it with a perfect %s network", (prediction) => {
    const points = trailingTimesteps(schedule, 6);
    let sample = 0.7;
    let previousX0 = NaN;
    sampler(points, prediction).forEach((step, k) => {
      const alphaBar = points[k]?.alphaBar ?? NaN;
      const epsilon = (sample - Math.sqrt(alphaBar) * 0.3) / Math.sqrt(1 - alphaBar);
      const output = [perfectOutput(prediction, alphaBar, 0.3, epsilon)];
      const { x0, next } = samplerUpdate(step, { sample: [sample], output, noise: [0.5], previousX0: [previousX0] });
      // At the first step the picture is divided by √ᾱ = 0.0064, and so are float32's roundings.
      expect(x0[0]).toBeCloseTo(0.3, 4);
      sample = next[0] ?? NaN;
      previousX0 = x0[0] ?? NaN;
    });
    expect(sample).toBeCloseTo(0.3, 6);
  });

  it.each(predictions)("keeps the variance 1 of noise that has no picture in it (%s)", (prediction) => {
    // With x0 = 0 and independent noise, the next sample must have the variance 1 − ᾱ' of the forward process.
    const points = trailingTimesteps(schedule, 6);
    sampler(points, prediction).forEach((step, k) => {
      const { alphaBar, nextAlphaBar } = points[k] ?? { alphaBar: NaN, nextAlphaBar: NaN };
      const deviation = Math.sqrt(1 - alphaBar);
      const output = [perfectOutput(prediction, alphaBar, 0, 1)];
      const { next } = samplerUpdate(step, { sample: [deviation], output, noise: [0], previousX0: [0] });
      expect((next[0] ?? NaN) ** 2 + step.nextFromNoise ** 2).toBeCloseTo(1 - nextAlphaBar, 4);
    });
  });
});

describe("ddimSteps", () => {
  it("clips x0 and, for an epsilon network, goes on with the network's own noise, as published", () => {
    const points = maskDifuserTimesteps(schedule, 5);
    const [step] = ddimSteps(points, { prediction: "epsilon", clip: [-1.5, 1], eta: 0, reference: true });
    const { alphaBar, nextAlphaBar } = points[0] ?? { alphaBar: NaN, nextAlphaBar: NaN };
    if (step === undefined) throw new Error("no step");
    const { x0, next } = samplerUpdate(step, { sample: [-2], output: [-0.5] });
    expect((-2 + 0.5 * Math.sqrt(1 - alphaBar)) / Math.sqrt(alphaBar)).toBeLessThan(-1.5);
    expect(x0[0]).toBe(-1.5);
    expect(next[0]).toBeCloseTo(-1.5 * Math.sqrt(nextAlphaBar) - 0.5 * Math.sqrt(1 - nextAlphaBar), 6);
  });

  it.each(["x0", "v"] as const)("goes on with the noise that belongs to the clipped x0 (%s)", (prediction) => {
    const points = trailingTimesteps(schedule, 5);
    const { alphaBar, nextAlphaBar } = points[2] ?? { alphaBar: NaN, nextAlphaBar: NaN };
    const step = ddimSteps(points, { prediction, clip: [-1, 1], eta: 0, reference: false })[2];
    if (step === undefined) throw new Error("no step");
    const output = [perfectOutput(prediction, alphaBar, 4, (0.9 - Math.sqrt(alphaBar) * 4) / Math.sqrt(1 - alphaBar))];
    const { x0, next } = samplerUpdate(step, { sample: [0.9], output });
    const epsilon = (0.9 - Math.sqrt(alphaBar)) / Math.sqrt(1 - alphaBar);
    expect(x0[0]).toBe(1);
    expect(next[0]).toBeCloseTo(Math.sqrt(nextAlphaBar) + Math.sqrt(1 - nextAlphaBar) * epsilon, 6);
  });

  it.each(["x0", "v"] as const)("with eta 1 is DDPM (%s)", (prediction) => {
    const points = trailingTimesteps(schedule, 10);
    const ddim = ddimSteps(points, { prediction, clip: [-1, 1], eta: 1, reference: false });
    ddpmSteps(points, { prediction, clip: [-1, 1] }).forEach((expected, k) => {
      for (const factor of ["x0FromSample", "x0FromOutput", "nextFromX0", "nextFromSample", "nextFromNoise"] as const) {
        expect(ddim[k]?.[factor], `${factor} of step ${k}`).toBeCloseTo(expected[factor], 6);
      }
    });
  });

  it("adds noise at the published last step and none at the last step of the other choice", () => {
    const options = { prediction: "epsilon", clip: wide, eta: 1, reference: true } as const;
    expect(ddimSteps(maskDifuserTimesteps(schedule, 5), options).at(-1)?.nextFromNoise).toBeCloseTo(0.00738, 5);
    expect(ddimSteps(trailingTimesteps(schedule, 5), options).at(-1)?.nextFromNoise).toBe(0);
  });

  it.each([-0.1, 1.5, NaN])("refuses eta %d", (eta) => {
    const make = (): unknown => ddimSteps(trailingTimesteps(schedule, 2), { prediction: "v", clip: wide, eta, reference: false });
    expect(make).toThrow(expect.objectContaining({ code: "INVALID_ETA", where: "eta" }));
  });
});

describe("dpmSolverSteps", () => {
  it("begins and ends with the deterministic DDIM step", () => {
    const points = trailingTimesteps(schedule, 5);
    const ddim = ddimSteps(points, { prediction: "v", clip: wide, eta: 0, reference: false });
    const solver = dpmSolverSteps(points, { prediction: "v", clip: wide });
    for (const k of [0, 4]) {
      expect(solver[k]?.nextFromX0).toBeCloseTo(ddim[k]?.nextFromX0 ?? NaN, 6);
      expect(solver[k]?.nextFromSample).toBeCloseTo(ddim[k]?.nextFromSample ?? NaN, 6);
      expect(solver[k]?.nextFromPreviousX0).toBe(0);
    }
    expect(solver[1]?.nextFromPreviousX0).not.toBe(0);
  });

  it("converges with second order where DDIM has first order", () => {
    const [solver20, solver40, solver80] = gaussianErrors("DPM-Solver++(2M)");
    const [ddim20, ddim40, ddim80] = gaussianErrors("DDIM, eta 0");
    expect(Math.log2(solver40 / solver80)).toBeGreaterThan(1.7);
    expect(Math.log2(ddim40 / ddim80)).toBeLessThan(1.2);
    expect(solver20).toBeLessThan(ddim20 / 5);
  });
});

describe("all samplers", () => {
  it("refuse an epsilon network where nothing of the picture is left", () => {
    const points = sr3Timesteps(noiseSchedule({ name: "jsd", steps: 4, start: 0.1, end: 0.2 }));
    expect(() => ddpmSteps(points, { prediction: "epsilon", clip: wide })).toThrow(
      expect.objectContaining({ code: "INVALID_SCHEDULE", message: expect.stringContaining("timestep 3") as string }),
    );
    for (const sampler of Object.values(samplers)) {
      const factors = sampler(points, "v").flatMap(({ nextFromX0, nextFromSample }) => [nextFromX0, nextFromSample]);
      expect(factors.every(Number.isFinite)).toBe(true);
    }
  });

  it("know the clip range of every task", () => {
    expect(x0ClipRange("infrared-visible")).toEqual([-1, 1]);
    expect(x0ClipRange("multi-exposure")).toEqual([-1, 1]);
    expect(x0ClipRange("multi-focus")).toEqual([-1.5, 1]);
    expect(x0ClipRange("medical")).toEqual([-1, 3]);
  });
});

/** Largest |actual − expected| in units of the rounding to expect. */
function largestInRoundings(actual: Float64Array, rounding: Float64Array, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  return actual.reduce((largest, value, i) => Math.max(largest, Math.abs(value - (expected[i] ?? NaN)) / (rounding[i] ?? NaN)), 0);
}

describe.skipIf(!hasGoldens)("samplers against the published programs (needs ../shared/golden)", () => {
  const tasks = { VIF: "infrared-visible", MFF: "multi-focus", Med: "medical" };

  it("Mask-DiFuser: the scalars of every step are equal to the bit", () => {
    interface Scalars {
      t: number;
      at: number;
      an: number;
      c1: number;
      c2: number;
    }
    const { steps: golden } = JSON.parse(goldenText("mask_difuser/tiny_ddim_scalars.json")) as { steps: Record<string, Scalars[]> };
    for (const [run, expected] of Object.entries(golden)) {
      const [, count, eta] = /^s(\d+)\.eta(\d)/.exec(run) ?? [];
      const points = maskDifuserTimesteps(schedule, Number(count));
      const steps = ddimSteps(points, { prediction: "epsilon", clip: wide, eta: Number(eta), reference: true });
      const scalars = steps.map((step, k) => ({
        t: step.timestep,
        at: points[k]?.alphaBar,
        an: points[k]?.nextAlphaBar,
        c1: step.nextFromNoise,
        c2: step.nextFromOutput,
      }));
      expect(scalars, run).toEqual(expected.map(({ t, at, an, c1, c2 }) => ({ t, at, an, c1, c2 })));
    }
  });

  it.each(["tiny_ddim", "c4_ddim"])("Mask-DiFuser %s: every stored step agrees to float32 rounding", (file) => {
    const golden = goldenTensors(`mask_difuser/${file}.safetensors`);
    let compared = 0;
    for (const [name, output] of golden) {
      // s5.eta1.VIF.step0.eps with noise.s5.0, or step0.eps with noise.0 where one run is stored.
      const [, run, index] = /^(.*)step(\d+)\.eps$/.exec(name) ?? [];
      if (run === undefined) continue;
      const k = Number(index);
      const [, count, eta, task] = /^s(\d+)\.eta(\d)\.(\w+)\.$/.exec(run) ?? [undefined, "5", "1", "VIF"];
      const noiseName = run === "" ? "noise." : `noise.s${count}.`;
      const sample = k === 0 ? golden.get(`${noiseName}0`) : golden.get(`${run}step${k - 1}.y_out`);
      const expectedNext = golden.get(`${run}step${k}.y_out`);
      const expectedX0 = golden.get(`${run}step${k}.y0`);
      const step = ddimSteps(maskDifuserTimesteps(schedule, Number(count)), {
        prediction: "epsilon",
        clip: x0ClipRange(tasks[task as keyof typeof tasks]),
        eta: Number(eta),
        reference: true,
      })[k];
      if (sample === undefined || expectedNext === undefined || step === undefined) throw new Error(`${name} stands alone`);
      const result = samplerUpdate(step, { sample, output, noise: golden.get(`${noiseName}${k + 1}`) });
      expect(largestInRoundings(result.next, result.nextRounding, expectedNext), name).toBeLessThan(1);
      if (expectedX0) expect(largestInRoundings(result.x0, result.x0Rounding, expectedX0), name).toBeLessThan(1);
      compared++;
    }
    expect(compared).toBe(file === "tiny_ddim" ? 38 : 5);
  });

  it.each([
    ["cosine", { name: "cosine", steps: 8, start: 1e-4, end: 0.3 }],
    ["linear", { name: "linear", steps: 8, start: 1e-4, end: 0.3 }],
  ] as const)("SR3 p_sample, %s: factors, noise levels and the trajectory of 8 steps", (name, options) => {
    const golden = goldenTensors("sgdfuse/ddpm_8step.safetensors");
    const steps = ddpmSteps(sr3Timesteps(noiseSchedule(options)), { prediction: "epsilon", clip: [-1, 1] });
    expect(steps.map(({ timestep }) => timestep)).toEqual([7, 6, 5, 4, 3, 2, 1, 0]);
    const buffer = (table: string): number[] => [...(golden.get(`${name}.buffer.${table}`) ?? [])].toReversed();
    const factors = (key: keyof SamplerStep): number[] => steps.map((step) => Math.abs(step[key] as number));
    expect(largestRelativeError(factors("x0FromSample"), buffer("sqrt_recip_alphas_cumprod"))).toBeLessThan(1e-7);
    expect(largestRelativeError(factors("x0FromOutput"), buffer("sqrt_recipm1_alphas_cumprod"))).toBeLessThan(1e-7);
    expect(largestRelativeError(factors("nextFromX0"), buffer("posterior_mean_coef1"))).toBeLessThan(1e-7);
    expect(largestRelativeError(factors("nextFromSample"), buffer("posterior_mean_coef2"))).toBeLessThan(1e-7);

    let sample = golden.get(`${name}.x_init`);
    for (const step of steps) {
      const tensor = (what: string): Float32Array | Float64Array => {
        const values = golden.get(`${name}.t${step.timestep}.${what}`);
        if (values === undefined) throw new Error(`no ${what} of timestep ${step.timestep}`);
        return values;
      };
      if (sample === undefined) throw new Error("no x_init");
      expect(step.noiseLevel).toBe(tensor("noise_level")[0]);
      const { next, nextRounding } = samplerUpdate(step, { sample, output: tensor("eps"), noise: tensor("noise") });
      expect(largestInRoundings(next, nextRounding, tensor("out")), `timestep ${step.timestep}`).toBeLessThan(1);
      sample = tensor("out");
    }
    expect(steps.at(-1)?.nextFromNoise).toBe(0);
  });
});
