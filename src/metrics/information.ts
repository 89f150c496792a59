import { mean, stretch, type Plane } from "./plane.ts";

export type LogBase = "2 (bits)" | "e (nats)";

function perUnit(base: LogBase): number {
  return base === "2 (bits)" ? Math.LN2 : 1;
}

/** Shares of the 256 grey levels (values are whole numbers 0–255). */
function histogram(plane: Plane): Float64Array {
  const shares = new Float64Array(256);
  for (const value of plane.data) shares[value] = (shares[value] as number) + 1;
  return shares.map((count) => count / plane.data.length);
}

/** Shares of the pairs of grey levels, row `a`, column `b`. */
function jointHistogram(a: Plane, b: Plane): Float64Array {
  const shares = new Float64Array(65536);
  for (let i = 0; i < a.data.length; i++) {
    const cell = (a.data[i] as number) * 256 + (b.data[i] as number);
    shares[cell] = (shares[cell] as number) + 1;
  }
  return shares.map((count) => count / a.data.length);
}

/** −Σ p ln p. */
function shannon(shares: Float64Array): number {
  let sum = 0;
  for (const share of shares) if (share > 0) sum -= share * Math.log(share);
  return sum;
}

export interface EntropyOptions {
  base: LogBase;
  /** Added to each share inside the logarithm. */
  floor: 0 | 1e-7;
}

/**
 * EN, the entropy of the fused picture's 256-level histogram, −Σ p log p.
 * Range 0–8 bits; higher is read as better (more grey levels in use; noise raises it too).
 * Source: Roberts, van Aardt, Ahmed 2008, J. Appl. Remote Sens. 2, eq. 1.
 */
export function entropy(fused: Plane, options: EntropyOptions): number {
  let sum = 0;
  for (const share of histogram(fused)) if (share > 0) sum -= share * Math.log(share + options.floor);
  return sum / perUnit(options.base);
}

export interface MutualInformationOptions {
  base: LogBase;
  /** What happens to each picture's levels first. */
  levels: "as they are" | "stretched to 0–255";
  /** Where an index `level + 1` in uint8 ends at 255, level 255 falls into the cell of 254: in the joint histogram only. */
  joint: "256 × 256" | "256 × 256, 255 counted as 254";
}

/**
 * MI, the mutual information of the fused picture with each source, I(A,F) + I(B,F).
 * Range 0–16 bits; higher is better (more of the sources' grey levels predict the fused ones).
 * Source: Qu, Zhang, Yan 2002, Electronics Letters 38(7).
 */
export function mutualInformation(a: Plane, b: Plane, fused: Plane, options: MutualInformationOptions): number {
  const prepare = (plane: Plane): Plane => (options.levels === "as they are" ? plane : stretchOrBlack(plane));
  const merge = (plane: Plane): Plane =>
    options.joint === "256 × 256"
      ? plane
      : { ...plane, data: plane.data.map((level) => Math.min(level, 254)) };
  const f = prepare(fused);
  let sum = 0;
  for (const source of [prepare(a), prepare(b)]) {
    const joint = shannon(jointHistogram(merge(source), merge(f)));
    sum += shannon(histogram(source)) + shannon(histogram(f)) - joint;
  }
  return sum / perUnit(options.base);
}

function stretchOrBlack(plane: Plane): Plane {
  const stretched = stretch(plane);
  if (!Number.isNaN(stretched.data[0])) return stretched;
  return { ...plane, data: new Float64Array(plane.data.length) };
}

export interface NormalizedMutualInformationOptions {
  form: "2 [I(A,F) + I(B,F)] / (H(A) + H(B))" | "2 [I(A,F) / (H(A) + H(F)) + I(B,F) / (H(B) + H(F))]";
  levels: "as they are" | "stretched to 0–255";
}

/**
 * NMI, mutual information relative to the entropies, so that it does not grow with them.
 * Range 0–2 (Hossny's form, called Q_MI in Liu et al. 2012); higher is better.
 * Source: Hossny, Nahavandi, Creighton 2008, Electronics Letters 44(18). NaN where no picture varies.
 */
export function normalizedMutualInformation(
  a: Plane,
  b: Plane,
  fused: Plane,
  options: NormalizedMutualInformationOptions,
): number {
  const prepare = (plane: Plane): Plane => (options.levels === "as they are" ? plane : stretch(plane));
  const f = prepare(fused);
  if (Number.isNaN(f.data[0] as number)) return Number.NaN;
  const entropyF = shannon(histogram(f));
  const parts = [prepare(a), prepare(b)].map((source) => {
    const entropySource = Number.isNaN(source.data[0] as number) ? Number.NaN : shannon(histogram(source));
    return { entropySource, shared: entropySource + entropyF - shannon(jointHistogram(source, f)) };
  });
  if (options.form === "2 [I(A,F) + I(B,F)] / (H(A) + H(B))") {
    const shared = parts.reduce((sum, part) => sum + part.shared, 0);
    return (2 * shared) / parts.reduce((sum, part) => sum + part.entropySource, 0);
  }
  return 2 * parts.reduce((sum, part) => sum + part.shared / (part.entropySource + entropyF), 0);
}

/**
 * CE, the cross entropy of each source with the fused picture, mean of Σ p log2(p / q) over the levels that both use.
 * Not bounded, near 0 for equal histograms; lower is better. Source: Kumar, Kumar, Mathew 2013; VIFB's Cross_entropy.
 */
export function crossEntropy(a: Plane, b: Plane, fused: Plane): number {
  const q = histogram(fused);
  let sum = 0;
  for (const source of [a, b]) {
    histogram(source).forEach((p, level) => {
      if (p > 0 && (q[level] as number) > 0) sum += p * Math.log2(p / (q[level] as number));
    });
  }
  return sum / 2;
}

export interface NonlinearCorrelationOptions {
  correlation: "entropies to base 256 of levels stretched to 0–255" | "Pearson";
}

/**
 * NCIE, nonlinear correlation information entropy: 1 + Σ (λ/3) log_256(λ/3) over the eigenvalues λ of the 3 × 3
 * matrix of the correlations between A, B and F. Range about .8–1; higher is better.
 * Source: Wang, Shen, Jin 2008, "Performance evaluation of image fusion techniques" (Q_NCIE in Liu et al. 2012).
 * NaN where a picture is constant.
 */
export function nonlinearCorrelation(a: Plane, b: Plane, fused: Plane, options: NonlinearCorrelationOptions): number {
  if (options.correlation === "Pearson") return informationEntropy(pearson(a, b), pearson(a, fused), pearson(b, fused));
  const [x, y, f] = [stretch(a), stretch(b), stretch(fused)];
  if ([x, y, f].some((plane) => Number.isNaN(plane.data[0] as number))) return Number.NaN;
  return informationEntropy(entropyCorrelation(x, y), entropyCorrelation(x, f), entropyCorrelation(y, f));
}

function entropyCorrelation(a: Plane, b: Plane): number {
  return (shannon(histogram(a)) + shannon(histogram(b)) - shannon(jointHistogram(a, b))) / Math.log(256);
}

function informationEntropy(ab: number, af: number, bf: number): number {
  // Eigenvalues of the symmetric matrix with ones on the diagonal: the trigonometric solution of the cubic.
  const p = Math.sqrt((ab * ab + af * af + bf * bf) / 3);
  if (Number.isNaN(p)) return Number.NaN;
  const angle = p === 0 ? 0 : Math.acos(Math.min(Math.max((ab * af * bf) / p ** 3, -1), 1)) / 3;
  let sum = 0;
  for (let k = 0; k < 3; k++) {
    const share = Math.max(1 + 2 * p * Math.cos(angle + (2 * Math.PI * k) / 3), 0) / 3;
    if (share > 0) sum += (share * Math.log(share)) / Math.log(256);
  }
  return 1 + sum;
}

/** Pearson's correlation of two planes; NaN where one is constant. */
export function pearson(a: Plane, b: Plane): number {
  const meanA = mean(a.data);
  const meanB = mean(b.data);
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.data.length; i++) {
    const da = (a.data[i] as number) - meanA;
    const db = (b.data[i] as number) - meanB;
    ab += da * db;
    aa += da * da;
    bb += db * db;
  }
  return ab / Math.sqrt(aa * bb);
}
