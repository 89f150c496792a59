import { decimate, filterSame, filterValid, gaussian, multiply, total, type Plane } from "./plane.ts";

export interface VisualInformationOptions {
  border: "valid" | "zero";
  /** `linspace` (IVIF_ZOO): N samples from ⌊−N/2⌋ to ⌊N/2⌋, so the step is above 1 and the centre at −1/2. */
  gaussian: "N taps, sigma N/5" | "N taps, sigma N/5, on torch.linspace(−N//2, N//2, N)";
  /** Products at full size are formed before the conversion to float, so they end at 255. */
  arithmetic: "real" | "uint8: products at the first scale end at 255";
  /** The value for a source without information, 0/0. */
  flatSource: "undefined" | "1";
}

/** Noise variance of the visual channel. */
const NOISE = 2;
const TINY = 1e-10;

interface Scale {
  plane: Plane;
  mean: Plane;
  variance: Plane;
}

type Filter = (plane: Plane) => Plane;

function scaleFilter(scale: number, options: VisualInformationOptions): Filter {
  const size = 2 ** (5 - scale) + 1;
  let taps = gaussian(size, size / 5);
  if (options.gaussian !== "N taps, sigma N/5") {
    const first = Math.floor(-size / 2);
    const last = Math.floor(size / 2);
    taps = Float64Array.from({ length: size }, (_, i) => {
      const position = first + ((last - first) * i) / (size - 1);
      return Math.exp(-(position ** 2) / (2 * (size / 5) ** 2));
    });
    const sum = total(taps);
    taps = taps.map((tap) => tap / sum);
  }
  return options.border === "valid" ? (plane) => filterValid(plane, taps) : (plane) => filterSame(plane, taps, "zero");
}

function product(a: Plane, b: Plane, saturate: boolean): Plane {
  const result = multiply(a, b);
  return saturate ? { ...result, data: result.data.map((value) => Math.min(value, 255)) } : result;
}

function covariance(a: Scale, b: Scale, filter: Filter, saturate: boolean): Plane {
  const result = filter(product(a.plane, b.plane, saturate));
  for (let i = 0; i < result.data.length; i++) {
    result.data[i] = (result.data[i] as number) - (a.mean.data[i] as number) * (b.mean.data[i] as number);
  }
  return result;
}

function statistics(plane: Plane, filter: Filter, saturate: boolean): Scale {
  const base = { plane, mean: filter(plane), variance: plane };
  const variance = covariance(base, base, filter, saturate);
  return { ...base, variance: { ...variance, data: variance.data.map((value) => Math.max(value, 0)) } };
}

/**
 * VIF, visual information fidelity in the pixel domain with each source as reference: vifp(A,F) + vifp(B,F), each
 * the ratio of the information of the fused picture about the source to that of the source itself, over 4 scales.
 * Range 0 to about 2 (2 for F = A = B; contrast enhancement can exceed it); higher is better.
 * Source: Sheikh, Bovik 2006, IEEE TIP 15(2), section IV; the pixel-domain version of their release.
 * NaN where a source is flat at all scales (unless that counts as 1) or smaller than the first window (17 × 17).
 */
export function visualInformation(a: Plane, b: Plane, fused: Plane, options: VisualInformationOptions): number {
  if (Math.min(fused.width, fused.height) < 17) return Number.NaN;
  let planes = [fused, a, b];
  const information = [0, 0];
  const available = [0, 0];
  for (let scale = 1; scale <= 4; scale++) {
    const filter = scaleFilter(scale, options);
    if (scale > 1) planes = planes.map((plane) => decimate(filter(plane)));
    const saturate = scale === 1 && options.arithmetic !== "real";
    const [f, ...sources] = planes.map((plane) => statistics(plane, filter, saturate)) as [Scale, Scale, Scale];
    sources.forEach((source, index) => {
      const shared = covariance(source, f, filter, saturate);
      const gained = scaleInformation(source.variance.data, f.variance.data, shared.data);
      information[index] = (information[index] as number) + gained.information;
      available[index] = (available[index] as number) + gained.available;
    });
  }
  return information.reduce((sum, value, index) => {
    const flat = available[index] === 0 && options.flatSource === "1";
    return sum + (flat ? 1 : value / (available[index] as number));
  }, 0);
}

function scaleInformation(reference: Float64Array, distorted: Float64Array, shared: Float64Array) {
  let [information, available] = [0, 0];
  for (let i = 0; i < shared.length; i++) {
    let varianceR = reference[i] as number;
    const varianceD = distorted[i] as number;
    let gain = (shared[i] as number) / (varianceR + TINY);
    let noise = varianceD - gain * (shared[i] as number);
    if (varianceR < TINY) {
      gain = 0;
      noise = varianceD;
      varianceR = 0;
    }
    if (varianceD < TINY) {
      gain = 0;
      noise = 0;
    }
    if (gain < 0) {
      gain = 0;
      noise = varianceD;
    }
    information += Math.log10(1 + (gain * gain * varianceR) / (Math.max(noise, TINY) + NOISE));
    available += Math.log10(1 + varianceR / NOISE);
  }
  return { information, available };
}
