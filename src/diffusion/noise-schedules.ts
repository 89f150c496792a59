import { SinterError } from "../errors.ts";

/**
 * How the variances β of the forward process grow with the timestep. All but `linear-float32` are those of the SR3
 * family of programs (whose names for `quadratic` and `constant` are `quad` and `const`).
 *
 * - `linear`: β evenly spaced from `start` to `end` (Ho et al. 2020, section 4).
 * - `linear-float32`: the same, computed in float32 and widened to float64, as Mask-DiFuser does it.
 * - `quadratic`: √β evenly spaced from √`start` to √`end`.
 * - `cosine`: ᾱ follows cos²(((t/T + 0.008) / 1.008)·π/2), with β at most 0.999 (Nichol and Dhariwal 2021,
 *   equation 17); `start` and `end` are not used.
 * - `constant`: β = `end`.
 * - `jsd`: β = 1/T, 1/(T−1), …, 1 (Sohl-Dickstein et al. 2015, section 2.4.1); `start` and `end` are not used.
 * - `warmup10`, `warmup50`: evenly spaced from `start` to `end` over the first 10 % or 50 % of the steps, then `end`.
 */
export type ScheduleName =
  | "linear"
  | "linear-float32"
  | "quadratic"
  | "cosine"
  | "constant"
  | "jsd"
  | "warmup10"
  | "warmup50";

/** Which noise schedule to build. */
export interface ScheduleOptions {
  name: ScheduleName;
  /** Number of timesteps T, at least 1. */
  steps: number;
  /** β of the first timestep, in (0, 1). */
  start: number;
  /** β of the last timestep, in (0, 1). */
  end: number;
}

/**
 * The tables of a diffusion process, in float64; entry t belongs to timestep t = 0 … T−1.
 * The forward process is x_t = √ᾱ_t·x_0 + √(1 − ᾱ_t)·ε with ε standard normal (Ho et al. 2020, equation 4).
 */
export interface NoiseSchedule {
  /** Number of timesteps T. */
  steps: number;
  /** β_t: the variance that timestep t adds, in (0, 1]. */
  betas: Float64Array;
  /** α_t = 1 − β_t. */
  alphas: Float64Array;
  /** ᾱ_t = α_0·α_1·…·α_t: the share of the picture's variance that is left. */
  alphasBar: Float64Array;
  /** ᾱ_{t−1}, with 1 before the first timestep. */
  alphasBarPrevious: Float64Array;
  /** Variance of q(x_{t−1} | x_t, x_0). */
  posteriorVariance: Float64Array;
  /** Factor of x_0 in the mean of q(x_{t−1} | x_t, x_0). */
  posteriorMeanX0: Float64Array;
  /** Factor of x_t in the mean of q(x_{t−1} | x_t, x_0). */
  posteriorMeanSample: Float64Array;
}

/** The normal distribution of the less noisy picture, given x_t and x_0. */
export interface Posterior {
  variance: number;
  /** Factor of x_0 in the mean. */
  meanX0: number;
  /** Factor of x_t in the mean. */
  meanSample: number;
}

/**
 * The distribution of the picture at `previousAlphaBar`, given x_0 and the picture at `alphaBar`
 * (Ho et al. 2020, equations 6 and 7).
 *
 * @param beta 1 − alphaBar/previousAlphaBar; a value of its own because that difference loses digits.
 */
export function posterior(beta: number, alphaBar: number, previousAlphaBar: number): Posterior {
  const noiseVariance = 1 - alphaBar;
  return {
    variance: (beta * (1 - previousAlphaBar)) / noiseVariance,
    meanX0: (beta * Math.sqrt(previousAlphaBar)) / noiseVariance,
    meanSample: ((1 - previousAlphaBar) * Math.sqrt(1 - beta)) / noiseVariance,
  };
}

/**
 * Builds the tables of a noise schedule. They are float64; programs of the SR3 family cast each table to float32 once
 * it is complete, and Mask-DiFuser casts each ᾱ to float32 when a step reads it.
 *
 * @throws SinterError INVALID_SCHEDULE if the number of steps or a β is out of range.
 */
export function noiseSchedule(options: ScheduleOptions): NoiseSchedule {
  const { steps } = options;
  if (!Number.isInteger(steps) || steps < 1) {
    throw new SinterError("INVALID_SCHEDULE", `a noise schedule needs a whole number of steps from 1, not ${steps}`);
  }
  for (const end of ["start", "end"] as const) {
    if (!(options[end] > 0 && options[end] < 1)) {
      throw new SinterError("INVALID_SCHEDULE", `${end} of a noise schedule must lie between 0 and 1, not ${options[end]}`);
    }
  }
  const betas = scheduleBetas(options);
  const alphas = betas.map((beta) => 1 - beta);
  const schedule: NoiseSchedule = {
    steps,
    betas,
    alphas,
    alphasBar: new Float64Array(steps),
    alphasBarPrevious: new Float64Array(steps),
    posteriorVariance: new Float64Array(steps),
    posteriorMeanX0: new Float64Array(steps),
    posteriorMeanSample: new Float64Array(steps),
  };
  let alphaBar = 1;
  betas.forEach((beta, t) => {
    const previous = alphaBar;
    alphaBar *= 1 - beta;
    const { variance, meanX0, meanSample } = posterior(beta, alphaBar, previous);
    schedule.alphasBar[t] = alphaBar;
    schedule.alphasBarPrevious[t] = previous;
    schedule.posteriorVariance[t] = variance;
    schedule.posteriorMeanX0[t] = meanX0;
    schedule.posteriorMeanSample[t] = meanSample;
  });
  return schedule;
}

/** The schedule of Mask-DiFuser: 1000 timesteps, β from 10⁻⁴ to 0.02 in float32. */
export function maskDifuserSchedule(): NoiseSchedule {
  return noiseSchedule({ name: "linear-float32", steps: 1000, start: 1e-4, end: 0.02 });
}

function scheduleBetas({ name, steps, start, end }: ScheduleOptions): Float64Array {
  switch (name) {
    case "linear":
      return linspace(start, end, steps);
    case "linear-float32":
      return linspaceFloat32(start, end, steps);
    case "quadratic":
      return linspace(Math.sqrt(start), Math.sqrt(end), steps).map((root) => root * root);
    case "cosine":
      return cosineBetas(steps);
    case "constant":
      return new Float64Array(steps).fill(end);
    case "jsd":
      return linspace(steps, 1, steps).map((left) => 1 / left);
    case "warmup10":
      return warmupBetas(start, end, steps, 0.1);
    case "warmup50":
      return warmupBetas(start, end, steps, 0.5);
  }
}

function warmupBetas(start: number, end: number, steps: number, share: number): Float64Array {
  const betas = new Float64Array(steps).fill(end);
  betas.set(linspace(start, end, Math.trunc(steps * share)));
  return betas;
}

function cosineBetas(steps: number): Float64Array {
  const offset = 8e-3;
  const curve = (t: number): number => Math.cos(((t / steps + offset) / (1 + offset)) * (Math.PI / 2)) ** 2;
  return Float64Array.from({ length: steps }, (_, t) => Math.min(1 - curve(t + 1) / curve(t), 0.999));
}

/** `count` values from `start` to `end` inclusive, in float64. */
function linspace(start: number, end: number, count: number): Float64Array {
  if (count === 1) return Float64Array.of(start);
  const step = (end - start) / (count - 1);
  return Float64Array.from({ length: count }, (_, i) => (i === count - 1 ? end : start + i * step));
}

/**
 * `count` values from `start` to `end` inclusive with the roundings of torch.linspace in float32 on a processor with
 * 256-bit vectors: the first value of every eight comes from a fused multiply-add, counted from the nearer end, and
 * the other seven add a rounded multiple of the step to it. (In float64 the product of a float32 step and a small whole
 * number is exact, so that one rounding of the sum is the fused operation.)
 */
function linspaceFloat32(start: number, end: number, count: number): Float64Array {
  const lanes = 8;
  const first = Math.fround(start);
  const last = Math.fround(end);
  if (count === 1) return Float64Array.of(first);
  const step = Math.fround(Math.fround(last - first) / (count - 1));
  const anchor = (i: number): number =>
    Math.fround(i < Math.trunc(count / 2) ? first + step * i : last - step * (count - 1 - i));
  return Float64Array.from({ length: count }, (_, i) => {
    const lane = i % lanes;
    const inWholeVector = i - lane + lanes <= count;
    return inWholeVector ? Math.fround(anchor(i - lane) + Math.fround(step * lane)) : anchor(i);
  });
}
