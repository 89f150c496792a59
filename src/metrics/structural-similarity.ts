import { createPlane, filterSame, filterValid, gaussian, mean, multiply, type Plane } from "./plane.ts";

export interface StructuralSimilarityOptions {
  /** L, from which C1 = (.01 L)² and C2 = (.03 L)²; the levels are 0–255 in all of them. */
  dataRange: 1 | 2 | 255;
  window: "Gaussian 11×11, sigma 1.5" | "uniform 7×7, sample covariance";
  border: "replicate" | "valid";
  combine: "(SSIM(A,F) + SSIM(B,F)) / 2" | "SSIM(A,F) + SSIM(B,F)";
}

interface Moments {
  mean: Plane;
  variance: Plane;
}

type Filter = (plane: Plane) => Plane;

/** E[ab] − E[a]E[b] with the filter for E, times `factor`. */
function covariance(a: Plane, b: Plane, meanA: Plane, meanB: Plane, filter: Filter, factor = 1): Plane {
  const result = filter(multiply(a, b));
  for (let i = 0; i < result.data.length; i++) {
    result.data[i] = factor * ((result.data[i] as number) - (meanA.data[i] as number) * (meanB.data[i] as number));
  }
  return result;
}

function moments(plane: Plane, filter: Filter, factor = 1): Moments {
  const average = filter(plane);
  return { mean: average, variance: covariance(plane, plane, average, average, filter, factor) };
}

interface Maps {
  similarity: Plane;
  /** The contrast–structure part alone. */
  contrast: Plane;
}

function similarityMaps(a: Moments, b: Moments, shared: Plane, c1: number, c2: number): Maps {
  const similarity = createPlane(shared.width, shared.height);
  const contrast = createPlane(shared.width, shared.height);
  for (let i = 0; i < shared.data.length; i++) {
    const meanA = a.mean.data[i] as number;
    const meanB = b.mean.data[i] as number;
    const variances = (a.variance.data[i] as number) + (b.variance.data[i] as number);
    const structure = (2 * (shared.data[i] as number) + c2) / (variances + c2);
    contrast.data[i] = structure;
    similarity.data[i] = ((2 * meanA * meanB + c1) / (meanA * meanA + meanB * meanB + c1)) * structure;
  }
  return { similarity, contrast };
}

/**
 * SSIM, structural similarity of the fused picture to the sources. Range −1–1 for the mean, −2–2 for the sum; higher
 * is better. Source: Wang, Bovik, Sheikh, Simoncelli 2004, IEEE TIP 13(4). NaN where the window does not fit.
 */
export function structuralSimilarity(a: Plane, b: Plane, fused: Plane, options: StructuralSimilarityOptions): number {
  const uniform = options.window === "uniform 7×7, sample covariance";
  const taps = uniform ? new Float64Array(7).fill(1 / 7) : gaussian(11, 1.5);
  const filter: Filter =
    options.border === "valid" ? (plane) => filterValid(plane, taps) : (plane) => filterSame(plane, taps, "replicate");
  const factor = uniform ? 49 / 48 : 1;
  const [c1, c2] = [(0.01 * options.dataRange) ** 2, (0.03 * options.dataRange) ** 2];
  const f = moments(fused, filter, factor);
  let sum = 0;
  for (const source of [a, b]) {
    const s = moments(source, filter, factor);
    const shared = covariance(source, fused, s.mean, f.mean, filter, factor);
    sum += mean(similarityMaps(s, f, shared, c1, c2).similarity.data);
  }
  return options.combine === "SSIM(A,F) + SSIM(B,F)" ? sum : sum / 2;
}

export interface MultiScaleSimilarityOptions {
  dataRange: 1 | 255;
  combine: "MS-SSIM(A,F) + MS-SSIM(B,F)";
}

const SCALE_WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333] as const;

/**
 * MS-SSIM over five scales (Gaussian 11 × 11, sigma 1.5, valid), negative scales counted as 0, summed over the
 * sources. Range 0–2; higher is better. Source: Wang, Simoncelli, Bovik 2003, Asilomar.
 * NaN where a side is 160 pixels or less, which five scales do not fit.
 */
export function multiScaleSimilarity(a: Plane, b: Plane, fused: Plane, options: MultiScaleSimilarityOptions): number {
  if (Math.min(fused.width, fused.height) <= 160) return Number.NaN;
  const taps = gaussian(11, 1.5);
  const filter: Filter = (plane) => filterValid(plane, taps);
  const [c1, c2] = [(0.01 * options.dataRange) ** 2, (0.03 * options.dataRange) ** 2];
  let planes = [fused, a, b] as const;
  const products = [1, 1];
  SCALE_WEIGHTS.forEach((weight, scale) => {
    const last = scale === SCALE_WEIGHTS.length - 1;
    const f = moments(planes[0], filter);
    [planes[1], planes[2]].forEach((source, index) => {
      const s = moments(source, filter);
      const shared = covariance(source, planes[0], s.mean, f.mean, filter);
      const maps = similarityMaps(s, f, shared, c1, c2);
      const value = mean((last ? maps.similarity : maps.contrast).data);
      products[index] = (products[index] as number) * Math.max(value, 0) ** weight;
    });
    planes = [pool(planes[0]), pool(planes[1]), pool(planes[2])];
  });
  return products.reduce((sum, value) => sum + value, 0);
}

/** Means of 2 × 2 pixels; an odd side is first continued by a line of zeros at each end, as PyTorch's padding does. */
function pool(plane: Plane): Plane {
  const [left, top] = [plane.width % 2, plane.height % 2];
  const result = createPlane(Math.floor(plane.width / 2) + left, Math.floor(plane.height / 2) + top);
  const pixel = (x: number, y: number): number =>
    x < 0 || y < 0 || x >= plane.width || y >= plane.height ? 0 : (plane.data[y * plane.width + x] as number);
  for (let y = 0; y < result.height; y++) {
    for (let x = 0; x < result.width; x++) {
      const [px, py] = [2 * x - left, 2 * y - top];
      const sum = pixel(px, py) + pixel(px + 1, py) + pixel(px, py + 1) + pixel(px + 1, py + 1);
      result.data[y * result.width + x] = sum / 4;
    }
  }
  return result;
}

export interface YangOptions {
  window: "Gaussian 7×7, sigma 1.5, valid" | "Gaussian along rows × ones along columns (sum 7), zero border";
  constants: "C1 = C2 = 2e-16" | "C1 = 1e-4, C2 = 9e-4";
  /** Added to the sum of the variances that the weight is divided by. */
  floor: 0 | 1e-10;
}

/**
 * Q_Y, Yang's similarity: where the sources agree (SSIM(A,B) ≥ .75) their variance-weighted similarity to F, elsewhere
 * the larger one. Range −1–1; higher is better. Source: Yang, Zhang, Wang, Liu 2008, Information Fusion 9.
 * NaN where the window does not fit, and, with no floor, where both sources are flat over a whole window.
 */
export function yangSimilarity(a: Plane, b: Plane, fused: Plane, options: YangOptions): number {
  const taps = gaussian(7, 1.5);
  const filter: Filter =
    options.window === "Gaussian 7×7, sigma 1.5, valid"
      ? (plane) => filterValid(plane, taps)
      : (plane) => filterSame(plane, taps, "zero", new Float64Array(7).fill(1));
  const [c1, c2] = options.constants === "C1 = C2 = 2e-16" ? [2e-16, 2e-16] : [1e-4, 9e-4];
  const [momentsA, momentsB, momentsF] = [moments(a, filter), moments(b, filter), moments(fused, filter)];
  const similarity = (x: Plane, y: Plane, mx: Moments, my: Moments): Float64Array =>
    similarityMaps(mx, my, covariance(x, y, mx.mean, my.mean, filter), c1, c2).similarity.data;
  const ab = similarity(a, b, momentsA, momentsB);
  const af = similarity(a, fused, momentsA, momentsF);
  const bf = similarity(b, fused, momentsB, momentsF);
  let sum = 0;
  for (let i = 0; i < ab.length; i++) {
    const varianceA = momentsA.variance.data[i] as number;
    const share = varianceA / (varianceA + (momentsB.variance.data[i] as number) + options.floor);
    const similarityA = af[i] as number;
    const similarityB = bf[i] as number;
    const agree = (ab[i] as number) >= 0.75;
    sum += agree ? share * similarityA + (1 - share) * similarityB : Math.max(similarityA, similarityB);
  }
  return sum / ab.length;
}
