import { SinterError } from "../errors.ts";
import { posterior } from "./noise-schedules.ts";
import type { SamplingPoint } from "./timesteps.ts";

/**
 * What a network's output means: the noise ε, the picture x_0, or v = √ᾱ·ε − √(1−ᾱ)·x_0
 * (Salimans and Ho 2022, "Progressive distillation", appendix D).
 */
export type Prediction = "epsilon" | "x0" | "v";

/** Lowest and highest value of the estimated picture, which is otherwise −1 … 1. */
export type ClipRange = readonly [low: number, high: number];

/**
 * One step of any sampler as scalars, each a float32 value. With `sample` the noisy picture x_t, `output` what the
 * network made of it, `noise` fresh standard normal noise and `previousX0` the x_0 of the step before:
 *
 *     x0   = clamp(x0FromSample·sample + x0FromOutput·output, clip[0], clip[1])
 *     next = nextFromX0·x0 + nextFromSample·sample + nextFromOutput·output
 *          + nextFromNoise·noise + nextFromPreviousX0·previousX0
 *
 * Where a factor is 0 its operand need not exist and must not be read: 0 times an undefined value may be NaN.
 */
export interface SamplerStep {
  /** The timestep that the network is told, 0 … T−1. */
  timestep: number;
  /** The noise level that networks of the SR3 family are told instead: √ᾱ. */
  noiseLevel: number;
  x0FromSample: number;
  x0FromOutput: number;
  clip: ClipRange;
  nextFromX0: number;
  nextFromSample: number;
  nextFromOutput: number;
  nextFromNoise: number;
  nextFromPreviousX0: number;
}

/** What every sampler must know. */
export interface SamplerOptions {
  prediction: Prediction;
  clip: ClipRange;
}

/** What DDIM must know beside. */
export interface DdimOptions extends SamplerOptions {
  /** Share of fresh noise, 0 (deterministic) … 1 (as much as DDPM). */
  eta: number;
  /** Round every operation on scalars to float32, as the published Mask-DiFuser program does; else float64, rounded once. */
  reference: boolean;
}

/**
 * The range to which Mask-DiFuser clips x_0: −1.5 … 1 for `multi-focus`, −1 … 3 for `medical`, −1 … 1 for every other
 * task (published program; SR3 clips to −1 … 1).
 */
export function x0ClipRange(task: string): ClipRange {
  if (task === "multi-focus") return [-1.5, 1];
  if (task === "medical") return [-1, 3];
  return [-1, 1];
}

/**
 * DDIM (Song et al. 2021, equations 12 and 16):
 * next = √ᾱ'·x_0 + c2·ε + c1·noise, c1 = eta·√((1−ᾱ')/(1−ᾱ)·(1−ᾱ/ᾱ')), c2 = √(1−ᾱ'−c1²).
 * For an epsilon network ε is its output, also where x_0 was clipped (as published); for x_0 and v networks ε is what
 * belongs to the clipped x_0.
 *
 * @throws SinterError INVALID_ETA if eta is not in 0 … 1, INVALID_SCHEDULE as all samplers.
 */
export function ddimSteps(points: readonly SamplingPoint[], options: DdimOptions): SamplerStep[] {
  const { eta, reference, prediction } = options;
  if (!(eta >= 0 && eta <= 1)) {
    throw new SinterError("INVALID_ETA", `eta must lie between 0 and 1, not ${eta}`, { where: "eta" });
  }
  const round = reference ? Math.fround : (value: number): number => value;
  return points.map((point) => {
    const { alphaBar, nextAlphaBar } = point;
    const nextNoise = round(1 - nextAlphaBar);
    const noise = round(1 - alphaBar);
    const added = round(1 - round(alphaBar / nextAlphaBar));
    const c1 = round(round(eta) * round(Math.sqrt(round(round(added * nextNoise) / noise))));
    const c2 = round(Math.sqrt(round(nextNoise - round(c1 * c1))));
    const signal = round(Math.sqrt(alphaBar));
    const nextSignal = round(Math.sqrt(nextAlphaBar));
    const deviation = round(Math.sqrt(noise));
    if (prediction === "epsilon") {
      return step(point, options, { nextFromX0: nextSignal, nextFromOutput: c2, nextFromNoise: c1 });
    }
    return step(point, options, {
      nextFromX0: nextSignal - (c2 * signal) / deviation,
      nextFromSample: c2 / deviation,
      nextFromNoise: c1,
    });
  });
}

/**
 * DDPM ancestral sampling (Ho et al. 2020, algorithm 2), written over x_0 so that it can be clipped, as SR3 does: next is
 * drawn from q(x' | x_t, x_0), and a step that ends at ᾱ' = 1 adds no noise. Points that skip timesteps get the
 * posterior between their two ᾱ.
 *
 * @throws SinterError INVALID_SCHEDULE as all samplers.
 */
export function ddpmSteps(points: readonly SamplingPoint[], options: SamplerOptions): SamplerStep[] {
  return points.map((point) => {
    const { alphaBar, nextAlphaBar } = point;
    const { variance, meanX0, meanSample } = posterior(1 - alphaBar / nextAlphaBar, alphaBar, nextAlphaBar);
    return step(point, options, {
      nextFromX0: meanX0,
      nextFromSample: meanSample,
      nextFromNoise: Math.sqrt(variance),
    });
  });
}

/**
 * DPM-Solver++(2M) (Lu et al. 2022, "DPM-Solver++", algorithm 2), deterministic: with σ = √(1−ᾱ), λ = ln(√ᾱ/σ),
 * h = λ' − λ, r = h_before/h,
 * next = (σ'/σ)·x_t − √ᾱ'·(e^−h − 1)·D, D = (1 + 1/(2r))·x_0 − 1/(2r)·previousX0.
 * The first step has no predecessor, and the last one goes without it too (the authors' `lower_order_final`, which
 * few-step sampling needs): both take D = x_0.
 *
 * @throws SinterError INVALID_SCHEDULE as all samplers.
 */
export function dpmSolverSteps(points: readonly SamplingPoint[], options: SamplerOptions): SamplerStep[] {
  return points.map((point, k) => {
    const { alphaBar, nextAlphaBar } = point;
    const noiseRatio = Math.sqrt((1 - nextAlphaBar) / (1 - alphaBar));
    const width = halfLogSnr(nextAlphaBar) - halfLogSnr(alphaBar);
    const weight = -Math.sqrt(nextAlphaBar) * Math.expm1(-width);
    const before = points[k - 1];
    if (before === undefined || k === points.length - 1) {
      return step(point, options, { nextFromX0: weight, nextFromSample: noiseRatio });
    }
    const widthBefore = halfLogSnr(alphaBar) - halfLogSnr(before.alphaBar);
    const extrapolation = width / (2 * widthBefore);
    return step(point, options, {
      nextFromX0: weight * (1 + extrapolation),
      nextFromSample: noiseRatio,
      nextFromPreviousX0: -weight * extrapolation,
    });
  });
}

/** λ = ln(√ᾱ/√(1−ᾱ)); infinite for a picture without noise. */
function halfLogSnr(alphaBar: number): number {
  return 0.5 * Math.log(alphaBar / (1 - alphaBar));
}

type NextFactors = Partial<
  Pick<SamplerStep, "nextFromX0" | "nextFromSample" | "nextFromOutput" | "nextFromNoise" | "nextFromPreviousX0">
>;

function step(point: SamplingPoint, { prediction, clip }: SamplerOptions, next: NextFactors): SamplerStep {
  const x0 = x0Factors(point, prediction);
  return {
    timestep: point.timestep,
    noiseLevel: Math.fround(Math.sqrt(point.alphaBar)),
    x0FromSample: Math.fround(x0.sample),
    x0FromOutput: Math.fround(x0.output),
    clip,
    nextFromX0: Math.fround(next.nextFromX0 ?? 0),
    nextFromSample: Math.fround(next.nextFromSample ?? 0),
    nextFromOutput: Math.fround(next.nextFromOutput ?? 0),
    nextFromNoise: Math.fround(next.nextFromNoise ?? 0),
    nextFromPreviousX0: Math.fround(next.nextFromPreviousX0 ?? 0),
  };
}

function x0Factors({ alphaBar, timestep }: SamplingPoint, prediction: Prediction): { sample: number; output: number } {
  const signal = Math.sqrt(alphaBar);
  const deviation = Math.sqrt(1 - alphaBar);
  switch (prediction) {
    case "epsilon":
      if (alphaBar === 0) {
        throw new SinterError(
          "INVALID_SCHEDULE",
          `a network that predicts epsilon cannot start at timestep ${timestep}: alpha-bar is 0 there, ` +
            "so nothing of the picture is left",
          { fix: "Use a schedule that ends above 0, or a network that predicts x0 or v." },
        );
      }
      return { sample: 1 / signal, output: -deviation / signal };
    case "x0":
      return { sample: 0, output: 1 };
    case "v":
      return { sample: signal, output: -deviation };
  }
}
