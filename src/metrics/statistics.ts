import { pearson } from "./information.ts";
import { createPlane, extremes, mean, type Plane } from "./plane.ts";

export interface StandardDeviationOptions {
  arithmetic: "real" | "uint8: differences below 0 become 0, squares above 255 become 255";
}

/**
 * SD, the standard deviation (divisor h·w) of the fused picture's grey levels.
 * Range 0–127.5; higher is read as better (contrast).
 * Source: Rao 1997, Meas. Sci. Technol. 8.
 */
export function standardDeviation(fused: Plane, options: StandardDeviationOptions): number {
  const average = mean(fused.data);
  const real = options.arithmetic === "real";
  let sum = 0;
  for (const value of fused.data) {
    const deviation = value - average;
    sum += real ? deviation ** 2 : Math.min(Math.round(Math.max(deviation, 0)) ** 2, 255);
  }
  return Math.sqrt(sum / fused.data.length);
}

/**
 * CC, the mean of the Pearson correlations of the fused picture with each source.
 * Range −1–1; higher is better. Source: Deshmukh, Bhosale 2010. NaN where a picture is constant.
 */
export function correlation(a: Plane, b: Plane, fused: Plane): number {
  return (pearson(a, fused) + pearson(b, fused)) / 2;
}

function difference(a: Plane, b: Plane): Plane {
  const result = createPlane(a.width, a.height);
  for (let i = 0; i < result.data.length; i++) result.data[i] = (a.data[i] as number) - (b.data[i] as number);
  return result;
}

/**
 * SCD, the sum of the correlations of differences, corr(F − B, A) + corr(F − A, B).
 * Range −2–2; higher is better. Source: Aslantas, Bendes 2015, AEU 69(12). NaN where a source or a difference is
 * constant, as when the fused picture is one of the sources.
 */
export function correlationOfDifferences(a: Plane, b: Plane, fused: Plane): number {
  return pearson(difference(fused, b), a) + pearson(difference(fused, a), b);
}

function squaredError(a: Plane, b: Plane): number {
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += ((a.data[i] as number) - (b.data[i] as number)) ** 2;
  return sum;
}

export interface MeanSquaredErrorOptions {
  range: "0–1" | "0–255";
}

/**
 * MSE, the mean of the fused picture's squared errors against each source. Range 0–1 (or 0–65025); lower is better.
 */
export function meanSquaredError(a: Plane, b: Plane, fused: Plane, options: MeanSquaredErrorOptions): number {
  const error = (squaredError(a, fused) + squaredError(b, fused)) / (2 * fused.data.length);
  return options.range === "0–1" ? error / 65025 : error;
}

/**
 * RMSE as VIFB has it: the mean over the sources of sqrt(Σ d²) / (h·w). It lacks the square root of the divisor, so
 * it falls with the size of the picture. Range 0–255; lower is better. Source: VIFB, metricsRmse.
 */
export function rootErrorOverPixels(a: Plane, b: Plane, fused: Plane): number {
  return (Math.sqrt(squaredError(a, fused)) + Math.sqrt(squaredError(b, fused))) / (2 * fused.data.length);
}

export interface PeakSignalToNoiseOptions {
  peak: "255" | "largest level of F";
  error: "MSE on 0–1 (48.13 dB more than on 0–255)" | "MSE on 0–255" | "VIFB's RMSE, taken for an MSE";
}

/**
 * PSNR in decibels, 10 log10(peak² / error). Higher is better; infinite where all pictures are equal.
 * Source: Jagalingam, Hegde 2015, Aquatic Procedia 4.
 */
export function peakSignalToNoise(a: Plane, b: Plane, fused: Plane, options: PeakSignalToNoiseOptions): number {
  const peak = options.peak === "255" ? 255 : extremes(fused.data).max;
  let error: number;
  if (options.error === "VIFB's RMSE, taken for an MSE") error = rootErrorOverPixels(a, b, fused);
  else {
    error = meanSquaredError(a, b, fused, { range: options.error === "MSE on 0–255" ? "0–255" : "0–1" });
  }
  return 10 * Math.log10((peak * peak) / error);
}
