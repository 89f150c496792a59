import { sobel, type Plane } from "./plane.ts";

export interface SpatialFrequencyOptions {
  range: "0–255" | "0–1";
  divisor: "number of differences" | "h·w";
  colour: "grey" | "channels side by side";
}

/**
 * SF, the spatial frequency: root of the mean squared row differences plus the mean squared column differences.
 * Range 0–361 (0–1.41 on 0–1); higher is read as better (detail; noise raises it too).
 * Source: Eskicioglu, Fisher 1995, IEEE Trans. Commun. 43(12). NaN where the picture has no neighbours in a direction.
 *
 * @param channels the fused picture's planes; VIFB indexes a colour picture as one of three times the width, so the
 *   jump from one channel to the next counts too.
 */
export function spatialFrequency(channels: readonly Plane[], options: SpatialFrequencyOptions): number {
  let [along, down, pixels, pairsAlong, pairsDown] = [0, 0, 0, 0, 0];
  channels.forEach((plane, index) => {
    const { width, height, data } = plane;
    pixels += width * height;
    pairsAlong += (width - 1) * height;
    pairsDown += width * (height - 1);
    const next = channels[index + 1];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const i = y * width + x;
        if (x + 1 < width) along += ((data[i + 1] as number) - (data[i] as number)) ** 2;
        else if (next !== undefined) along += ((next.data[y * width] as number) - (data[i] as number)) ** 2;
        if (y + 1 < height) down += ((data[i + width] as number) - (data[i] as number)) ** 2;
      }
    }
  });
  const whole = options.divisor === "h·w";
  const frequency = Math.sqrt(along / (whole ? pixels : pairsAlong) + down / (whole ? pixels : pairsDown));
  return options.range === "0–1" ? frequency / 255 : frequency;
}

export interface AverageGradientOptions {
  divisor: "(h−1)(w−1)" | "h·w";
}

/**
 * AG, the average gradient: sum of sqrt((gx² + gy²) / 2) over all pixels, by the divisor; central differences,
 * one-sided at the border. Range 0–255; higher is read as better (sharpness; noise raises it too).
 * Source: Cui et al. 2015, Optics Communications 341. NaN for a picture of one row or column.
 */
export function averageGradient(fused: Plane, options: AverageGradientOptions): number {
  const { width, height, data } = fused;
  if (width < 2 || height < 2) return Number.NaN;
  let sum = 0;
  for (let y = 0; y < height; y++) {
    const above = Math.max(y - 1, 0);
    const below = Math.min(y + 1, height - 1);
    for (let x = 0; x < width; x++) {
      const left = Math.max(x - 1, 0);
      const right = Math.min(x + 1, width - 1);
      const gx = ((data[y * width + right] as number) - (data[y * width + left] as number)) / (right - left);
      const gy = ((data[below * width + x] as number) - (data[above * width + x] as number)) / (below - above);
      sum += Math.sqrt((gx * gx + gy * gy) / 2);
    }
  }
  return sum / (options.divisor === "h·w" ? width * height : (width - 1) * (height - 1));
}

export interface EdgeIntensityOptions {
  border: "replicate" | "zero";
}

/**
 * EI, the edge intensity: mean magnitude of the Sobel gradient. Range 0–1443; higher is read as better.
 * Source: Rajalingam, Priya 2018; VIFB's Edge_intensity.
 */
export function edgeIntensity(fused: Plane, options: EdgeIntensityOptions): number {
  const { x, y } = sobel(fused, options.border);
  let sum = 0;
  for (let i = 0; i < x.data.length; i++) sum += Math.hypot(x.data[i] as number, y.data[i] as number);
  return sum / x.data.length;
}
