import { filterInFrequency } from "./fourier.ts";
import { createPlane, extremes, filterSame, mapPlane, sobel, stretch, type Plane } from "./plane.ts";

export interface ChenBlumOptions {
  levels: "stretched to 0–255, rounded" | "stretched to 0–1";
  /** Frequency of the contrast sensitivity filter at k cycles per picture. */
  frequency: "k / 15" | "k / 30";
  /** Added to the denominators of the contrast and of the saliency. */
  floor: 0 | 1e-10;
}

/** A Gaussian cut at ±15, not normalised afterwards. */
function contrastTaps(sigma: number): Float64Array {
  return Float64Array.from({ length: 31 }, (_, i) => {
    return Math.exp(-((i - 15) ** 2) / (2 * sigma * sigma)) / (Math.sqrt(2 * Math.PI) * sigma);
  });
}

/** Masked local contrast |c|³ / (c² + 1e-4), c = narrow mean / wide mean − 1. */
function maskedContrast(plane: Plane, floor: number): Float64Array {
  const narrow = filterSame(plane, contrastTaps(2), "zero");
  const wide = filterSame(plane, contrastTaps(4), "zero");
  return narrow.data.map((value, i) => {
    const contrast = Math.abs(value / ((wide.data[i] as number) + floor) - 1);
    return contrast ** 3 / (contrast ** 2 + 0.0001);
  });
}

/** The smaller of two contrasts by the larger. */
function kept(source: number, f: number): number {
  return source < f ? source / f : f / source;
}

/**
 * Q_CB, Chen and Blum's quality: how much of the sources' masked contrast the fused picture keeps after a contrast
 * sensitivity filter (difference of Gaussians, f0 15.387, f1 1.3456, a .7622), weighted by the sources' saliency.
 * Range 0–1; higher is better. Source: Chen, Blum 2009, Image and Vision Computing 27.
 * NaN where a picture is constant.
 */
export function chenBlumQuality(a: Plane, b: Plane, fused: Plane, options: ChenBlumOptions): number {
  const planes = [a, b, fused].map((plane) => {
    if (options.levels !== "stretched to 0–1") return stretch(plane);
    const { min, max } = extremes(plane.data);
    return mapPlane(plane, (value) => (value - min) / (max - min));
  }) as [Plane, Plane, Plane];
  if (planes.some((plane) => Number.isNaN(plane.data[0] as number))) return Number.NaN;
  const perCycle = options.frequency === "k / 15" ? 15 : 30;
  const response = (u: number, v: number): number => {
    const squared = (u * u + v * v) / perCycle ** 2;
    return Math.exp(-squared / 15.387 ** 2) - 0.7622 * Math.exp(-squared / 1.3456 ** 2);
  };
  const [filteredA, filteredB] = filterInFrequency(planes[0], planes[1], response);
  const [filteredF] = filterInFrequency(planes[2], createPlane(fused.width, fused.height), response);
  const [contrastA, contrastB, contrastF] = [filteredA, filteredB, filteredF].map((plane) =>
    maskedContrast(plane, options.floor),
  ) as [Float64Array, Float64Array, Float64Array];
  let sum = 0;
  for (let i = 0; i < contrastF.length; i++) {
    const ca = contrastA[i] as number;
    const cb = contrastB[i] as number;
    const cf = contrastF[i] as number;
    const saliency = ca * ca + cb * cb + options.floor;
    sum += ((ca * ca) / saliency) * kept(ca, cf) + ((cb * cb) / saliency) * kept(cb, cf);
  }
  return sum / contrastF.length;
}

/** Side of the blocks of Q_CV. */
const BLOCK = 16;

/**
 * Q_CV, Chen and Varshney's quality: the error between sources and fused picture after the contrast sensitivity
 * filter of Mannos and Sakrison, per 16 × 16 block, weighted by the sources' gradients to the power 5.
 * Range 0 to about 65025; lower is better. Levels are stretched to 0–255 first.
 * Source: Chen, Varshney 2007, Information Fusion 8. NaN where a picture is constant.
 */
export function chenVarshneyQuality(a: Plane, b: Plane, fused: Plane): number {
  const [x, y, f] = [stretch(a), stretch(b), stretch(fused)];
  const differences = [x, y].map((source) => {
    const result = createPlane(f.width, f.height);
    for (let i = 0; i < result.data.length; i++) result.data[i] = (source.data[i] as number) - (f.data[i] as number);
    return result;
  }) as [Plane, Plane];
  if (differences.some((plane) => Number.isNaN(plane.data[0] as number))) return Number.NaN;
  const filtered = filterInFrequency(differences[0], differences[1], (u, v) => {
    const r = Math.sqrt(u * u + v * v) / 4;
    return 2.6 * (0.0192 + 0.144 * r) * Math.exp(-((0.144 * r) ** 1.1));
  });
  let [error, weight] = [0, 0];
  [x, y].forEach((source, index) => {
    const saliency = blockSums(edgeStrength(source), (value) => value ** 5);
    const squares = blockSums(filtered[index] as Plane, (value) => value * value);
    saliency.forEach((value, block) => {
      // Blocks at the right and lower border are filled with zeros, so the mean is always over 16 × 16.
      error += (value * (squares[block] as number)) / BLOCK ** 2;
      weight += value;
    });
  });
  return error / weight;
}

function edgeStrength(plane: Plane): Plane {
  const { x, y } = sobel(plane, "zero");
  return { ...x, data: x.data.map((value, i) => Math.sqrt(value * value + (y.data[i] as number) ** 2)) };
}

function blockSums(plane: Plane, change: (value: number) => number): Float64Array {
  const columns = Math.ceil(plane.width / BLOCK);
  const sums = new Float64Array(columns * Math.ceil(plane.height / BLOCK));
  for (let y = 0; y < plane.height; y++) {
    for (let x = 0; x < plane.width; x++) {
      const block = Math.floor(y / BLOCK) * columns + Math.floor(x / BLOCK);
      sums[block] = (sums[block] as number) + change(plane.data[y * plane.width + x] as number);
    }
  }
  return sums;
}
