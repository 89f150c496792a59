/** Floating-point pictures: blur, exposure, encoding, PNG. */
import sharp from "sharp";
import { clamp } from "./noise.mjs";

/**
 * @typedef {object} Picture linear values, rows from the top, channels interleaved
 * @property {number} width
 * @property {number} height
 * @property {number} channels 1 or 3
 * @property {Float32Array} data
 *
 * @typedef {object} Encoded an 8-bit picture, ready to be written
 * @property {number} width
 * @property {number} height
 * @property {number} channels 1 or 3
 * @property {Uint8Array} data
 */

/** @param {number} width @param {number} height @param {number} channels @returns {Picture} */
export function picture(width, height, channels) {
  return { width, height, channels, data: new Float32Array(width * height * channels) };
}

/**
 * Gaussian blur with clamped edges, separable.
 * @param {Picture} source @param {number} sigma in pixels
 * @returns {Picture}
 */
export function gaussianBlur(source, sigma) {
  const { width, height, channels } = source;
  if (sigma <= 0.05) return { ...source, data: source.data.slice() };
  const radius = Math.ceil(3 * sigma);
  const weights = new Float32Array(2 * radius + 1);
  let total = 0;
  for (let k = -radius; k <= radius; k += 1) {
    const w = Math.exp((-k * k) / (2 * sigma * sigma));
    weights[k + radius] = w;
    total += w;
  }
  for (let k = 0; k < weights.length; k += 1) weights[k] /= total;
  const across = picture(width, height, channels);
  const result = picture(width, height, channels);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      for (let c = 0; c < channels; c += 1) {
        let sum = 0;
        for (let k = -radius; k <= radius; k += 1) {
          const at = clamp(x + k, 0, width - 1);
          sum += weights[k + radius] * source.data[(y * width + at) * channels + c];
        }
        across.data[(y * width + x) * channels + c] = sum;
      }
    }
  }
  for (let y = 0; y < height; y += 1) {
    for (let k = -radius; k <= radius; k += 1) {
      const w = weights[k + radius];
      const from = clamp(y + k, 0, height - 1) * width * channels;
      const to = y * width * channels;
      for (let i = 0; i < width * channels; i += 1) result.data[to + i] += w * across.data[from + i];
    }
  }
  return result;
}

/**
 * A wide blur at a fraction of the cost: average down, blur, interpolate up.
 * @param {Picture} source @param {number} sigma in pixels of `source`
 * @returns {Picture}
 */
export function wideBlur(source, sigma) {
  const step = Math.max(1, Math.floor(sigma / 2.5));
  if (step === 1) return gaussianBlur(source, sigma);
  const { width, height, channels } = source;
  const small = picture(Math.ceil(width / step), Math.ceil(height / step), channels);
  for (let y = 0; y < small.height; y += 1) {
    for (let x = 0; x < small.width; x += 1) {
      for (let c = 0; c < channels; c += 1) {
        let sum = 0;
        let count = 0;
        for (let j = y * step; j < Math.min(height, (y + 1) * step); j += 1) {
          for (let i = x * step; i < Math.min(width, (x + 1) * step); i += 1) {
            sum += source.data[(j * width + i) * channels + c];
            count += 1;
          }
        }
        small.data[(y * small.width + x) * channels + c] = sum / count;
      }
    }
  }
  const blurred = gaussianBlur(small, sigma / step);
  const result = picture(width, height, channels);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      for (let c = 0; c < channels; c += 1) {
        result.data[(y * width + x) * channels + c] = sampleLinear(
          blurred,
          (x + 0.5) / step - 0.5,
          (y + 0.5) / step - 0.5,
          c,
        );
      }
    }
  }
  return result;
}

/**
 * Bilinear interpolation with clamped edges; pixel centres lie at whole numbers.
 * @param {Picture} source @param {number} x @param {number} y @param {number} channel
 * @returns {number}
 */
export function sampleLinear(source, x, y, channel) {
  const { width, height, channels, data } = source;
  const cx = clamp(x, 0, width - 1);
  const cy = clamp(y, 0, height - 1);
  const x0 = Math.floor(cx);
  const y0 = Math.floor(cy);
  const x1 = Math.min(width - 1, x0 + 1);
  const y1 = Math.min(height - 1, y0 + 1);
  const fx = cx - x0;
  const fy = cy - y0;
  const at = (/** @type {number} */ i, /** @type {number} */ j) => data[(j * width + i) * channels + channel];
  return (at(x0, y0) * (1 - fx) + at(x1, y0) * fx) * (1 - fy) + (at(x0, y1) * (1 - fx) + at(x1, y1) * fx) * fy;
}

/**
 * Scattered light inside a lens: a little of the picture spread over three widths.
 * @param {Picture} source @param {number} strength share of the light that is scattered
 * @returns {Picture}
 */
export function bloom(source, strength) {
  const unit = source.width / 640;
  const result = { ...source, data: source.data.map((v) => v * (1 - strength)) };
  for (const [sigma, share] of [
    [2.5, 0.5],
    [9, 0.3],
    [34, 0.2],
  ]) {
    const glow = wideBlur(source, sigma * unit);
    for (let i = 0; i < result.data.length; i += 1) result.data[i] += strength * share * glow.data[i];
  }
  return result;
}

/**
 * Holds each value below a little more than the second brightest of its neighbours: single sparks of the sampling go,
 * edges stay.
 * @param {Picture} source
 * @returns {Picture}
 */
export function withoutSparks(source) {
  const { width, height, channels } = source;
  const data = source.data.slice();
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      for (let c = 0; c < channels; c += 1) {
        let first = 0;
        let second = 0;
        for (let k = 0; k < 9; k += 1) {
          if (k === 4) continue;
          const i = clamp(x + (k % 3) - 1, 0, width - 1);
          const j = clamp(y + Math.floor(k / 3) - 1, 0, height - 1);
          const v = source.data[(j * width + i) * channels + c];
          if (v > first) {
            second = first;
            first = v;
          } else if (v > second) second = v;
        }
        const at = (y * width + x) * channels + c;
        data[at] = Math.min(data[at], 1.1 * second + 0.004);
      }
    }
  }
  return { ...source, data };
}

/** @param {number} x linear, 0 to 1 @returns {number} the sRGB transfer function of IEC 61966-2-1 */
export function encodeSrgb(x) {
  return x <= 0.0031308 ? 12.92 * Math.max(0, x) : 1.055 * Math.min(1, x) ** (1 / 2.4) - 0.055;
}

/**
 * @param {number} x linear, 0 and up
 * @returns {number} 0 to 1, with a shoulder instead of a hard clip (Narkowicz's fit of ACES)
 */
export function filmic(x) {
  return clamp((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14), 0, 1);
}

/**
 * Noise of an image sensor: shot noise grows with the root of the light, read noise is constant.
 * @param {Picture} source linear, 1 = full well
 * @param {{ shot: number, read: number }} noise standard deviations at full well and in the dark
 * @param {() => number} normal
 * @returns {Picture}
 */
export function sensorNoise(source, { shot, read }, normal) {
  const data = source.data.map((v) => v + normal() * Math.sqrt(shot * shot * Math.max(0, v) + read * read));
  return { ...source, data };
}

/**
 * @param {Picture} source @param {(x: number) => number} curve linear value to display value in [0, 1]
 * @returns {Encoded}
 */
export function encode(source, curve) {
  const data = new Uint8Array(source.data.length);
  for (let i = 0; i < data.length; i += 1) data[i] = Math.round(255 * clamp(curve(source.data[i]), 0, 1));
  return { width: source.width, height: source.height, channels: source.channels, data };
}

/**
 * @param {Encoded} source
 * @param {string} path
 */
export async function writePng(source, path) {
  const { width, height, channels, data } = source;
  let image = sharp(data, { raw: { width, height, channels: /** @type {1 | 3} */ (channels) } });
  // sharp widens one channel to three unless the colour space is named.
  if (channels === 1) image = image.toColourspace("b-w");
  await image.png({ compressionLevel: 9, adaptiveFiltering: true }).toFile(path);
}
