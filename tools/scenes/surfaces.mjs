/** Procedural surfaces that several scenes share. */
import { blend, fractal, hash, noise, smoothstep } from "./noise.mjs";

/**
 * @typedef {[number, number, number]} Colour linear RGB
 *
 * @typedef {object} Surface
 * @property {Colour} albedo
 * @property {Colour} [emission]
 * @property {number} [gloss] reflectance at normal incidence; 0 or absent: matt
 * @property {number} [roughness] spread of reflections, 0 to 1
 * @property {import("./tracer.mjs").Vector} [normal] instead of the shape's
 * @property {number} [warmth] thermal radiance, 0 (cold sky) to 1 (skin)
 */

/**
 * @param {number} p
 * @param {number} size
 * @returns {number} slope of a brick's rounded edges, at `p` along its `size`
 */
const edgeSlope = (p, size) => (p < 0.016 ? -0.5 : p > size - 0.016 ? 0.5 : 0);

/**
 * A wall of bricks in running bond.
 * @param {number} u metres along @param {number} v metres up @param {Colour} colour @param {number} seed
 * @returns {{ albedo: Colour, tilt: [number, number], brick: number }} `tilt`: slope of the surface along u and v;
 *   `brick`: 0 (mortar) to 1
 */
export function bricks(u, v, colour, seed) {
  const height = 0.1;
  const length = 0.3;
  const row = Math.floor(v / height);
  const shifted = u + (row % 2 === 0 ? 0 : length / 2);
  const column = Math.floor(shifted / length);
  const x = shifted - column * length;
  const y = v - row * height;
  const edgeX = Math.min(x, length - x);
  const edgeY = Math.min(y, height - y);
  const brick = smoothstep(0.004, 0.016, Math.min(edgeX, edgeY));
  const tone = 0.62 + 0.7 * hash(column, row, seed);
  const stain = 0.75 + 0.5 * fractal(u * 0.6, v * 0.6, seed + 0.5, 3);
  const grain = 0.85 + 0.3 * noise(u * 40, v * 40);
  const shade = tone * stain * grain;
  const warm = hash(column, row, seed + 9) - 0.5;
  /** @type {Colour} */
  const face = [colour[0] * shade * (1 + 0.25 * warm), colour[1] * shade, colour[2] * shade * (1 - 0.2 * warm)];
  /** @type {Colour} */
  const mortar = [0.3 * stain, 0.28 * stain, 0.25 * stain];
  return { albedo: blend(mortar, face, brick), tilt: [edgeSlope(x, length), edgeSlope(y, height)], brick };
}

/**
 * Boards with grain along u.
 * @param {number} u metres along the grain @param {number} v metres across
 * @param {Colour} colour @param {{ width: number, length: number, seed: number }} board
 * @returns {{ albedo: Colour, gap: number }} `gap`: 1 in the joint between boards
 */
export function boards(u, v, colour, { width, length, seed }) {
  const row = Math.floor(v / width);
  const shift = hash(row, seed) * length;
  const column = Math.floor((u + shift) / length);
  const x = u + shift - column * length;
  const y = v - row * width;
  const edge = Math.min(y, width - y, x, length - x);
  const gap = 1 - smoothstep(0.001, 0.004, edge);
  const tone = 0.75 + 0.5 * hash(row, column, seed);
  const offset = hash(row, column, seed + 3) * 50;
  const warp = fractal(u * 1.3 + offset, v * 5 + offset, 0, 3);
  const rings = 0.5 + 0.5 * Math.sin(2 * Math.PI * (v * 26 + warp * 5));
  const fibre = fractal(u * 6 + offset, v * 150, 0, 3);
  const shade = tone * (0.72 + 0.28 * rings * 0.7 + 0.3 * (fibre - 0.5));
  return {
    albedo: [colour[0] * shade, colour[1] * shade * (0.96 + 0.06 * rings), colour[2] * shade * (0.9 + 0.15 * rings)],
    gap,
  };
}
