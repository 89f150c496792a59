import { boxSums, filterValid, gaussian, halve, multiply, type Plane } from "./plane.ts";

export interface ExposureSimilarityOptions {
  /** Weights of the scales, finest first; divided by their sum. */
  scaleWeights: readonly number[];
}

const SIZE = 11;
const PIXELS = SIZE * SIZE;
/** (.03 · 255)². */
const STABILITY = (0.03 * 255) ** 2;

/**
 * MEF-SSIM: each window of the fused picture against the window that the sources' strongest contrast and combined
 * structure would give, over several scales (the Tang toolkit calls it MS_SSIM, or SSIM in its 2022 code).
 * Range 0–1; higher is better. Source: Ma, Zeng, Wang 2015, IEEE TIP 24(11), sections II-A and II-B.
 * NaN where the coarsest scale is smaller than the window (11 × 11).
 */
export function exposureSimilarity(a: Plane, b: Plane, fused: Plane, options: ExposureSimilarityOptions): number {
  const weights = options.scaleWeights;
  if (Math.min(fused.width, fused.height) / 2 ** (weights.length - 1) < SIZE) return Number.NaN;
  const weightSum = weights.reduce((sum, weight) => sum + weight, 0);
  let planes: [Plane, Plane, Plane] = [a, b, fused];
  let product = 1;
  for (const weight of weights) {
    product *= scaleQuality(...planes) ** (weight / weightSum);
    planes = [halve(planes[0]), halve(planes[1]), halve(planes[2])];
  }
  return product;
}

/** Mean quality at one scale. Sums over windows are exact, so that a flat window has a deviation of exactly 0. */
function scaleQuality(a: Plane, b: Plane, fused: Plane): number {
  const ab = multiply(a, b);
  const [aa, bb] = [multiply(a, a), multiply(b, b)];
  const [sumA, sumB, sumAA, sumBB, sumAB] = [a, b, aa, bb, ab].map((p) => boxSums(p, SIZE).data) as FiveArrays;
  const taps = gaussian(SIZE, 1.5);
  const filter = (plane: Plane): Float64Array => filterValid(plane, taps).data;
  const [meanA, meanB, meanAA, meanBB, meanAB] = [a, b, aa, bb, ab].map(filter) as FiveArrays;
  const meanF = filter(fused);
  const meanFF = filter(multiply(fused, fused));
  const meanAF = filter(multiply(a, fused));
  const meanBF = filter(multiply(b, fused));
  let quality = 0;
  for (let i = 0; i < meanF.length; i++) {
    // Squared lengths of the windows without their means, and their inner product.
    const lengthA = Math.max((sumAA[i] as number) - (sumA[i] as number) ** 2 / PIXELS, 0);
    const lengthB = Math.max((sumBB[i] as number) - (sumB[i] as number) ** 2 / PIXELS, 0);
    const inner = (sumAB[i] as number) - ((sumA[i] as number) * (sumB[i] as number)) / PIXELS;
    const contrastA = Math.sqrt(lengthA) + 0.001;
    const contrastB = Math.sqrt(lengthB) + 0.001;
    const power = consistencyPower(lengthA, lengthB, inner);
    const weightA = (contrastA / SIZE) ** power + Number.EPSILON;
    const weightB = (contrastB / SIZE) ** power + Number.EPSILON;
    const shareA = weightA / (weightA + weightB) / contrastA;
    const shareB = weightB / (weightA + weightB) / contrastB;
    const length = Math.sqrt(
      Math.max(shareA * shareA * lengthA + shareB * shareB * lengthB + 2 * shareA * shareB * inner, 0),
    );
    const scale = length > 0 ? Math.max(contrastA, contrastB) / length : 0;
    const toA = scale * shareA;
    const toB = scale * shareB;
    const mA = meanA[i] as number;
    const mB = meanB[i] as number;
    const mF = meanF[i] as number;
    const varianceR =
      toA * toA * ((meanAA[i] as number) - mA * mA) +
      toB * toB * ((meanBB[i] as number) - mB * mB) +
      2 * toA * toB * ((meanAB[i] as number) - mA * mB);
    const varianceF = (meanFF[i] as number) - mF * mF;
    const shared = toA * ((meanAF[i] as number) - mA * mF) + toB * ((meanBF[i] as number) - mB * mF);
    quality += (2 * shared + STABILITY) / (varianceR + varianceF + STABILITY);
  }
  return quality / meanF.length;
}

type FiveArrays = [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];

/** p = tan(π R / 2), at most 10, with R the length of the summed windows by the sum of their lengths. */
function consistencyPower(lengthA: number, lengthB: number, inner: number): number {
  const together = Math.sqrt(Math.max(lengthA + lengthB + 2 * inner, 0));
  const apart = Math.sqrt(lengthA) + Math.sqrt(lengthB);
  const consistency = Math.min((together + Number.EPSILON) / (apart + Number.EPSILON), 1 - Number.EPSILON);
  return Math.min(Math.tan((Math.PI / 2) * consistency), 10);
}
