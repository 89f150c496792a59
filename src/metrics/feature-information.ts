import { cosineTransform, transpose } from "./fourier.ts";
import { createPlane, extremes, mapPlane, mean, sobel, total, type Plane } from "./plane.ts";

export interface FeatureInformationOptions {
  feature: "Sobel edges, threshold 2 × root mean square" | "cosine transform" | "discrete Meyer wavelet";
  window: "3×3";
}

/**
 * FMI, feature mutual information: how much the fused picture's features tell about those of each source, from the
 * normalised mutual information of all 3 × 3 windows, each window read as a distribution over its nine positions.
 * Range 0–1; higher is better. Source: Haghighat, Aghagolzadeh, Seyedarabi 2011, Computers and Electrical
 * Engineering 37(5); joint distributions by Haghighat, Razian 2014 (Fréchet bounds). NaN where no window fits.
 */
export function featureInformation(a: Plane, b: Plane, fused: Plane, options: FeatureInformationOptions): number {
  if (options.feature === "Sobel edges, threshold 2 × root mean square") {
    return edgeInformation(edgeMap(a), edgeMap(b), edgeMap(fused));
  }
  const extract = options.feature === "cosine transform" ? cosineTransform : meyerFeatures;
  return windowInformation(extract(a), extract(b), extract(fused));
}

/**
 * Thinned Sobel edges as MATLAB's `edge`: squared gradient above four times its mean, and a local maximum along the
 * larger gradient component. Values 0 and 1.
 */
function edgeMap(plane: Plane): Plane {
  const { width, height } = plane;
  const { x, y } = sobel(plane, "replicate");
  const gx = x.data.map((value) => Math.abs(value) / 8);
  const gy = y.data.map((value) => Math.abs(value) / 8);
  const squared = gx.map((value, i) => value * value + (gy[i] as number) ** 2);
  const threshold = 4 * mean(squared);
  const tolerance = 100 * Number.EPSILON;
  const result = createPlane(width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const i = row * width + column;
      const value = squared[i] as number;
      if (value <= threshold) continue;
      // Beyond the border nothing is larger.
      const left = column === 0 ? 0 : (squared[i - 1] as number);
      const right = column === width - 1 ? 0 : (squared[i + 1] as number);
      const above = row === 0 ? 0 : (squared[i - width] as number);
      const below = row === height - 1 ? 0 : (squared[i + width] as number);
      const peakAcross = left <= value && value > right;
      const peakDown = above <= value && value > below;
      const across = (gx[i] as number) >= (gy[i] as number) - tolerance && peakAcross;
      const down = (gy[i] as number) >= (gx[i] as number) - tolerance && peakDown;
      if (across || down) result.data[i] = 1;
    }
  }
  return result;
}

const TAPS = 102;
const TAP_CENTRE = 51;
let meyerLowPass: Float64Array | undefined;

/**
 * Low-pass filter of the discrete Meyer wavelet, 102 taps: the Meyer scaling function's frequency response sampled
 * densely and transformed back (it agrees with MATLAB's table to about four digits).
 */
function lowPass(): Float64Array {
  if (meyerLowPass !== undefined) return meyerLowPass;
  const samples = 4096;
  const taps = new Float64Array(TAPS);
  for (let k = 0; k < samples; k++) {
    const omega = (Math.PI * (k + 0.5)) / samples;
    const t = (3 * omega) / Math.PI - 1;
    if (t >= 1) break;
    const smooth = t <= 0 ? 0 : t ** 4 * (35 - 84 * t + 70 * t ** 2 - 20 * t ** 3);
    const gain = Math.cos((Math.PI / 2) * smooth);
    for (let n = 1; n < TAPS; n++) {
      taps[n] = (taps[n] as number) + (gain * Math.cos(omega * (n - TAP_CENTRE))) / samples;
    }
  }
  const sum = total(taps);
  meyerLowPass = taps.map((tap) => (tap * Math.SQRT2) / sum);
  return meyerLowPass;
}

/** Quadrature mirror of the low-pass filter. */
function highPass(low: Float64Array): Float64Array {
  return low.map((_, n) => (n % 2 === 0 ? -1 : 1) * (low[TAPS - 1 - n] as number));
}

/** Rows filtered and every second sample kept; the border pixel repeats (half-point symmetry). */
function splitRows(plane: Plane, taps: Float64Array): Plane {
  const { width, height } = plane;
  const result = createPlane(Math.floor((width + TAPS - 1) / 2), height);
  const period = 2 * width;
  const source = Uint32Array.from({ length: width + 2 * TAPS }, (_, i) => {
    const wrapped = (((i - TAPS) % period) + period) % period;
    return wrapped < width ? wrapped : period - 1 - wrapped;
  });
  const line = new Float64Array(source.length);
  for (let y = 0; y < height; y++) {
    for (let i = 0; i < line.length; i++) line[i] = (plane.data[y * width + (source[i] as number)] as number);
    for (let k = 0; k < result.width; k++) {
      let sum = 0;
      for (let j = 0; j < TAPS; j++) sum += (taps[j] as number) * (line[2 * k + 1 - j + TAPS] as number);
      result.data[y * result.width + k] = sum;
    }
  }
  return result;
}

/** One level of the wavelet transform, [approximation, horizontal; vertical, diagonal], brought to 0–1. */
function meyerFeatures(plane: Plane): Plane {
  const low = lowPass();
  const high = highPass(low);
  const columns = (part: Plane, taps: Float64Array): Plane => transpose(splitRows(transpose(part), taps));
  const [across, detail] = [splitRows(plane, low), splitRows(plane, high)];
  const quarters = [columns(across, low), columns(across, high), columns(detail, low), columns(detail, high)];
  const { width, height } = quarters[0] as Plane;
  const result = createPlane(2 * width, 2 * height);
  quarters.forEach((quarter, index) => {
    const [left, top] = [index % 2 === 0 ? 0 : width, index < 2 ? 0 : height];
    for (let y = 0; y < height; y++) {
      result.data.set(quarter.data.subarray(y * width, (y + 1) * width), (top + y) * result.width + left);
    }
  });
  const { min, max } = extremes(result.data);
  return mapPlane(result, (value) => (max === min ? 1 : (value - min) / (max - min)));
}

/** A 3 × 3 window as a distribution over its positions, column by column, with what the comparison needs of it. */
interface Window {
  values: Float64Array;
  shares: Float64Array;
  cumulated: Float64Array;
  /** Shares without their mean, 1/9, and the sum of their squares. */
  centred: Float64Array;
  power: number;
  /** Standard deviation of the position. */
  deviation: number;
  /** Binary logarithms of the shares, 0 for a share of 0. */
  logarithms: Float64Array;
  /** Entropy in bits. */
  entropy: number;
}

type FiveArrays = [Float64Array, Float64Array, Float64Array, Float64Array, Float64Array];

function createWindow(): Window {
  const [values, shares, cumulated, centred, logarithms] = [0, 0, 0, 0, 0].map(() => new Float64Array(9)) as FiveArrays;
  return { values, shares, cumulated, centred, logarithms, power: 0, deviation: 0, entropy: 0 };
}

/** Fills everything else from `values`. */
function describe(window: Window): void {
  const { values, shares, cumulated, centred, logarithms } = window;
  let min = values[0] as number;
  let max = min;
  for (let i = 1; i < 9; i++) {
    min = Math.min(min, values[i] as number);
    max = Math.max(max, values[i] as number);
  }
  for (let i = 0; i < 9; i++) shares[i] = max === min ? 1 : ((values[i] as number) - min) / (max - min);
  const whole = total(shares);
  let running = 0;
  let first = 0;
  let second = 0;
  window.power = 0;
  window.entropy = 0;
  for (let i = 0; i < 9; i++) {
    const share = (shares[i] as number) / whole;
    shares[i] = share;
    running += share;
    cumulated[i] = running;
    centred[i] = share - 1 / 9;
    window.power += (centred[i] as number) ** 2;
    first += (i + 1) * share;
    second += (i + 1) ** 2 * share;
    logarithms[i] = share > 0 ? Math.log2(share) : 0;
    window.entropy -= share * (logarithms[i] as number);
  }
  window.deviation = Math.sqrt(Math.max(second - first * first, 0));
}

/**
 * Normalised mutual information of two windows. The joint distribution is the mixture of independence with the
 * Fréchet bound (upper for positive correlation, lower for negative) that has the windows' correlation.
 */
function normalizedInformation(source: Window, f: Window): number {
  let equal = true;
  let product = 0;
  for (let i = 0; i < 9; i++) {
    if ((source.values[i] as number) !== (f.values[i] as number)) equal = false;
    product += (source.centred[i] as number) * (f.centred[i] as number);
  }
  if (equal) return 1;
  const correlation = product === 0 ? 0 : product / Math.sqrt(source.power * f.power);
  const positive = correlation >= 0;
  let mixture = 0;
  if (correlation !== 0 && source.deviation > 0 && f.deviation > 0) {
    const bound = positive ? sumOfMinima(source.cumulated, f.cumulated) : sumOfExcess(source.cumulated, f.cumulated);
    const covariance = bound - total(source.cumulated) * total(f.cumulated);
    mixture = correlation / (covariance / (f.deviation * source.deviation));
  }
  const jointEntropy = mixedEntropy(source, f, mixture, positive);
  const information = source.entropy + f.entropy - jointEntropy;
  return information === 0 ? 0 : (2 * information) / (source.entropy + f.entropy);
}

/** Σ min(x, y) over all pairs of two ascending lists: the covariance of the upper Fréchet bound, not centred. */
function sumOfMinima(xs: Float64Array, ys: Float64Array): number {
  let [sum, smaller, count] = [0, 0, 0];
  for (let i = 0; i < xs.length; i++) {
    const x = xs[i] as number;
    while (count < ys.length && (ys[count] as number) <= x) smaller += ys[count++] as number;
    sum += smaller + x * (ys.length - count);
  }
  return sum;
}

/** Σ max(x + y − 1, 0) over all pairs of two ascending lists: the same for the lower bound. */
function sumOfExcess(xs: Float64Array, ys: Float64Array): number {
  let [sum, larger, start] = [0, 0, ys.length];
  for (let i = 0; i < xs.length; i++) {
    const x = xs[i] as number;
    while (start > 0 && (ys[start - 1] as number) + x > 1) larger += ys[--start] as number;
    sum += larger + (x - 1) * (ys.length - start);
  }
  return sum;
}

/**
 * Entropy in bits of (1 − mixture) × independence + mixture × bound. The bound puts its mass on at most 17 of the 81
 * cells, found by walking both distributions together (one of them backwards for the lower bound); the other cells
 * are products, whose entropy is a sum.
 */
function mixedEntropy(source: Window, f: Window, mixture: number, upper: boolean): number {
  const independent = 1 - mixture;
  const logarithm = independent === 0 ? 0 : Math.log2(Math.abs(independent));
  let entropy = independent * (source.entropy + f.entropy - logarithm);
  if (mixture === 0) return entropy;
  const step = upper ? 1 : -1;
  let i = 0;
  let j = upper ? 0 : 8;
  let restF = f.shares[i] as number;
  let restSource = source.shares[j] as number;
  while (i < 9 && j >= 0 && j < 9) {
    const mass = Math.min(restF, restSource);
    if (mass > 0) {
      const product = independent * (f.shares[i] as number) * (source.shares[j] as number);
      const share = mixture * mass + product;
      entropy += product * (logarithm + (f.logarithms[i] as number) + (source.logarithms[j] as number));
      if (share !== 0) entropy -= share * Math.log2(Math.abs(share));
    }
    if (restF <= restSource) {
      restSource -= mass;
      i += 1;
      restF = f.shares[i] as number;
    } else {
      restF -= mass;
      j += step;
      restSource = source.shares[j] as number;
    }
  }
  return entropy;
}

function load(window: Window, plane: Plane, x: number, y: number): void {
  for (let column = 0; column < 3; column++) {
    for (let row = 0; row < 3; row++) {
      window.values[column * 3 + row] = (plane.data[(y + row) * plane.width + x + column] as number);
    }
  }
  describe(window);
}

function windowInformation(a: Plane, b: Plane, fused: Plane): number {
  const [windowA, windowB, windowF] = [createWindow(), createWindow(), createWindow()];
  let [sum, count] = [0, 0];
  for (let y = 0; y + 3 <= fused.height; y++) {
    for (let x = 0; x + 3 <= fused.width; x++) {
      load(windowA, a, x, y);
      load(windowB, b, x, y);
      load(windowF, fused, x, y);
      sum += (normalizedInformation(windowA, windowF) + normalizedInformation(windowB, windowF)) / 2;
      count++;
    }
  }
  return sum / count;
}

/** The window of zeros and ones at (x, y) as a number of nine bits. */
function windowCode(plane: Plane, x: number, y: number): number {
  let bits = 0;
  for (let column = 0; column < 3; column++) {
    for (let row = 0; row < 3; row++) bits = bits * 2 + (plane.data[(y + row) * plane.width + x + column] as number);
  }
  return bits;
}

/** As `windowInformation` for planes of zeros and ones, whose windows repeat: each pair is computed once. */
function edgeInformation(a: Plane, b: Plane, fused: Plane): number {
  const known = new Float64Array(512 * 512).fill(Number.NaN);
  const [source, f] = [createWindow(), createWindow()];
  const compare = (plane: Plane, x: number, y: number): number => {
    const key = windowCode(plane, x, y) * 512 + windowCode(fused, x, y);
    if (Number.isNaN(known[key] as number)) {
      load(source, plane, x, y);
      load(f, fused, x, y);
      known[key] = normalizedInformation(source, f);
    }
    return (known[key] as number);
  };
  let [sum, count] = [0, 0];
  for (let y = 0; y + 3 <= fused.height; y++) {
    for (let x = 0; x + 3 <= fused.width; x++) {
      sum += (compare(a, x, y) + compare(b, x, y)) / 2;
      count++;
    }
  }
  return sum / count;
}
