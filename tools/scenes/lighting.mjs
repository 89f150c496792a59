/** Soft daylight: path tracing with few samples, its noise smoothed where the geometry is the same. */
import { gaussianBlur, picture, withoutSparks } from "./image.mjs";
import { clamp, randomStream } from "./noise.mjs";
import { add, cosineDirection, dot, normalize, reflect, scale } from "./tracer.mjs";

/**
 * @typedef {import("./tracer.mjs").Vector} Vector
 * @typedef {import("./surfaces.mjs").Colour} Colour
 * @typedef {import("./surfaces.mjs").Surface} Surface
 *
 * @typedef {object} Daylight
 * @property {(direction: Vector) => Colour} background what the eye and mirrors see where nothing is met
 * @property {(direction: Vector) => Colour} ambient what a bounced ray brings where nothing is met
 * @property {(point: Vector, normal: Vector, random: () => number) => Colour} direct irradiance over pi, one random
 *   sample
 *
 * @typedef {object} Frame
 * @property {import("./image.mjs").Picture} radiance linear RGB
 * @property {unknown[]} materials what the middle of each pixel shows
 * @property {Float32Array} depth distance along the view axis of the middle of each pixel; Infinity for the background
 */

/**
 * @param {object} view
 * @param {import("./tracer.mjs").Scene} view.scene
 * @param {Vector} view.eye
 * @param {(x: number, y: number) => Vector} view.ray
 * @param {Daylight} view.light
 * @param {number} view.width @param {number} view.height @param {number} view.seed
 * @param {number} view.grid samples along each side of a pixel
 * @returns {Frame}
 */
export function renderDaylight({ scene, eye, ray, light, width, height, seed, grid }) {
  const irradiance = picture(width, height, 3);
  const albedo = picture(width, height, 3);
  const extra = picture(width, height, 3);
  const mirrors = picture(width, height, 3);
  /** @type {unknown[]} */
  const materials = [];
  const normals = new Float32Array(width * height * 3);
  const depth = new Float32Array(width * height);
  const axis = ray(width / 2, height / 2);
  const share = 1 / (grid * grid);
  for (let y = 0; y < height; y += 1) {
    const random = randomStream(seed * 6151 + y);
    for (let x = 0; x < width; x += 1) {
      const at = (y * width + x) * 3;
      const middle = scene.trace(eye, ray(x + 0.5, y + 0.5));
      depth[at / 3] = middle === undefined ? Infinity : middle.distance * dot(ray(x + 0.5, y + 0.5), axis);
      materials.push(middle?.material);
      if (middle !== undefined) normals.set(middle.normal, at);
      let lit = 0;
      for (let s = 0; s < grid * grid; s += 1) {
        const direction = ray(x + ((s % grid) + random()) / grid, y + (Math.floor(s / grid) + random()) / grid);
        const hit = scene.trace(eye, direction);
        if (hit === undefined) {
          accumulate(extra.data, at, light.background(direction), share);
          continue;
        }
        const surface = /** @type {(hit: import("./tracer.mjs").Hit) => Surface} */ (hit.material)(hit);
        const n = surface.normal ?? hit.normal;
        const point = add(hit.point, scale(hit.normal, 1e-3));
        const flat = hit.normal;
        const mirror =
          (surface.gloss ?? 0) > 0 ? mirrored(scene, light, point, n, flat, direction, surface, random) : undefined;
        // The smoothing makes up for light taken at every other sample only.
        if (s % 2 === 0) {
          accumulate(irradiance.data, at, incoming(scene, light, point, n, random, 2), 1);
          lit += 1;
        }
        accumulate(albedo.data, at, surface.albedo, share);
        if (surface.emission !== undefined) accumulate(extra.data, at, surface.emission, share);
        if (mirror !== undefined) accumulate(mirrors.data, at, mirror, share);
      }
      if (lit > 0) for (let c = 0; c < 3; c += 1) irradiance.data[at + c] /= lit;
    }
  }
  const smooth = smoothAlike(withoutSparks(irradiance), normals, depth);
  const shine = withoutSparks(mirrors);
  const data = extra.data.map((v, i) => v + shine.data[i] + albedo.data[i] * smooth.data[i]);
  return { radiance: { width, height, channels: 3, data }, depth, materials };
}

/** @param {Float32Array} data @param {number} at @param {number[]} colour @param {number} share */
function accumulate(data, at, colour, share) {
  for (let c = 0; c < 3; c += 1) data[at + c] += colour[c] * share;
}

/**
 * Light that arrives at a matt surface, over pi.
 * @param {import("./tracer.mjs").Scene} scene @param {Daylight} light @param {Vector} point @param {Vector} normal
 * @param {() => number} random @param {number} bounces
 * @returns {Colour}
 */
function incoming(scene, light, point, normal, random, bounces) {
  const direct = light.direct(point, normal, random);
  if (bounces === 0) return direct;
  const direction = cosineDirection(normal, random);
  const hit = scene.trace(point, direction);
  if (hit === undefined) return add(direct, light.ambient(direction));
  const surface = /** @type {(hit: import("./tracer.mjs").Hit) => Surface} */ (hit.material)(hit);
  const next = incoming(scene, light, add(hit.point, scale(hit.normal, 1e-3)), hit.normal, random, bounces - 1);
  const emission = surface.emission ?? [0, 0, 0];
  return /** @type {Colour} */ (direct.map((d, c) => d + Math.min(1, surface.albedo[c] * next[c] + emission[c])));
}

/**
 * What a glossy surface mirrors, times its reflectance.
 * @param {import("./tracer.mjs").Scene} scene
 * @param {Daylight} light
 * @param {Vector} point
 * @param {Vector} n
 * @param {Vector} flat
 * @param {Vector} direction @param {Surface} surface @param {() => number} random
 * @returns {Colour}
 */
function mirrored(scene, light, point, n, flat, direction, { gloss = 0, roughness = 0 }, random) {
  const spread = roughness * 0.5;
  const jitter = () => spread * (random() + random() - 1);
  const facet = normalize(add(n, [jitter(), jitter(), jitter()]));
  const out = normalize(reflect(direction, facet));
  if (dot(out, flat) <= 0) return [0, 0, 0];
  const facing = clamp(-dot(facet, direction), 0, 1);
  const reflectance = gloss + (1 - gloss) * (1 - facing) ** 5 * (1 - roughness);
  const hit = scene.trace(point, out);
  if (hit === undefined)
    return scale(/** @type {Colour} */ (light.background(out).map((v) => Math.min(v, 30))), reflectance);
  const seen = /** @type {(hit: import("./tracer.mjs").Hit) => Surface} */ (hit.material)(hit);
  const arriving = incoming(scene, light, add(hit.point, scale(hit.normal, 1e-3)), hit.normal, random, 1);
  const emission = seen.emission ?? [0, 0, 0];
  return /** @type {Colour} */ (arriving.map((v, c) => reflectance * Math.min(8, v * seen.albedo[c] + emission[c])));
}

/**
 * Edge-avoiding à-trous wavelet filter (Dammertz et al. 2010): neighbours count by likeness of normal, depth and
 * brightness.
 * @param {import("./image.mjs").Picture} source irradiance @param {Float32Array} normals @param {Float32Array} depth
 * @returns {import("./image.mjs").Picture}
 */
function smoothAlike(source, normals, depth) {
  const { width, height } = source;
  const kernel = [1 / 16, 1 / 4, 3 / 8, 1 / 4, 1 / 16];
  let current = source;
  for (let level = 0; level < 4; level += 1) {
    const step = 2 ** level;
    // Brightness is compared on a slightly blurred copy: single noisy pixels must not shut out their neighbours.
    const guide = gaussianBlur(current, 1.2);
    const next = picture(width, height, 3);
    for (let y = 0; y < height; y += 1) {
      for (let x = 0; x < width; x += 1) {
        const p = y * width + x;
        const lightness = guide.data[3 * p] + guide.data[3 * p + 1] + guide.data[3 * p + 2];
        let total = 0;
        let r = 0;
        let g = 0;
        let b = 0;
        for (let j = -2; j <= 2; j += 1) {
          const yy = y + j * step;
          if (yy < 0 || yy >= height) continue;
          for (let i = -2; i <= 2; i += 1) {
            const xx = x + i * step;
            if (xx < 0 || xx >= width) continue;
            const q = yy * width + xx;
            const alike =
              normals[3 * p] * normals[3 * q] +
              normals[3 * p + 1] * normals[3 * q + 1] +
              normals[3 * p + 2] * normals[3 * q + 2];
            if (q !== p && alike < 0.6) continue;
            const gapInDepth = Math.abs(depth[p] - depth[q]) / (depth[p] * 0.02 * step);
            if (q !== p && !(gapInDepth < 3)) continue;
            const other = guide.data[3 * q] + guide.data[3 * q + 1] + guide.data[3 * q + 2];
            const contrast = (other - lightness) / (0.45 * (other + lightness) + 1e-4);
            const weight =
              kernel[i + 2] * kernel[j + 2] * alike ** 4 * Math.exp(-contrast * contrast * 2) + (q === p ? 1e-6 : 0);
            total += weight;
            r += weight * current.data[3 * q];
            g += weight * current.data[3 * q + 1];
            b += weight * current.data[3 * q + 2];
          }
        }
        next.data[3 * p] = r / total;
        next.data[3 * p + 1] = g / total;
        next.data[3 * p + 2] = b / total;
      }
    }
    current = next;
  }
  return current;
}
