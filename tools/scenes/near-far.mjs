/** A still life, focused on the things in front and on the things behind. */
import { encode, encodeSrgb, filmic, picture, sensorNoise, wideBlur } from "./image.mjs";
import { textDistance, textWidth } from "./lettering.mjs";
import { renderDaylight } from "./lighting.mjs";
import { blend, clamp, fractal, hash, lerp, noise, normalStream, randomStream, smoothstep } from "./noise.mjs";
import { boards, bricks } from "./surfaces.mjs";
import { add, camera, dot, normalize, scale, Scene } from "./tracer.mjs";

/**
 * @typedef {import("./tracer.mjs").Vector} Vector
 * @typedef {import("./tracer.mjs").Hit} Hit
 * @typedef {import("./surfaces.mjs").Colour} Colour
 * @typedef {import("./surfaces.mjs").Surface} Surface
 * @typedef {import("./image.mjs").Picture} Picture
 * @typedef {import("./image.mjs").Encoded} Encoded
 */

/** Layers of the picture from back to front; each is whole in itself, so blur never mixes across an edge. */
const WALL = 0;
const TABLE = 1;
const BEHIND = 2;
const FRONT = 3;

/** Distances in focus, metres. */
const NEAR_FOCUS = 0.62;
const FAR_FOCUS = 1.5;
/** Radius of the circle of confusion per dioptre of defocus, in pixels of a picture 640 wide. */
const APERTURE = 9.5;
/** Circles smaller than this count as sharp. */
const SHARP = 0.9;

/**
 * @param {{ seed?: number, width?: number, height?: number }} [options] the seed moves the things and changes their
 *   colours
 * @returns {{ near: Encoded, far: Encoded, truth: Encoded }} RGB; `truth` is sharp everywhere
 */
export function renderNearFar({ seed = 1, width = 640, height = 480 } = {}) {
  const { scene, layers, light } = buildStillLife(seed);
  const eye = /** @type {Vector} */ ([0, 0.34, 0]);
  const view = camera({ from: eye, to: [0, 0.07, 1], fieldOfView: 44, width, height });
  // Blur brings in light from beyond the border, so a margin is rendered too and cut off at the end.
  const margin = Math.ceil((13 * width) / 640);
  const ray = (/** @type {number} */ x, /** @type {number} */ y) => view(x - margin, y - margin);
  const frame = renderDaylight({
    scene,
    eye,
    ray,
    light,
    width: width + 2 * margin,
    height: height + 2 * margin,
    seed,
    grid: 3,
  });
  const unit = width / 640;
  const layer = Uint8Array.from(frame.materials, (material) => layers.get(material) ?? WALL);
  const normal = normalStream(randomStream(seed + 33));
  const develop = (/** @type {Picture} */ image) =>
    encode(cropped(image, margin), (v) => encodeSrgb(filmic(0.3 * Math.max(0, v))));
  const shot = (/** @type {number} */ focus) =>
    develop(
      sensorNoise(defocused(frame.radiance, frame.depth, layer, focus, unit), { shot: 0.003, read: 0.0005 }, normal),
    );
  return { near: shot(NEAR_FOCUS), far: shot(FAR_FOCUS), truth: develop(frame.radiance) };
}

/**
 * The picture through an open lens. Within a layer every pixel spreads over its own circle of confusion; layers are
 * then laid over
 * each other from the back, and what a nearer layer hides is filled in first, so that blurred edges show something
 * plausible behind.
 * @param {Picture} sharp @param {Float32Array} depth @param {Uint8Array} layer @param {number} focus
 * @param {number} unit pixels per pixel of a picture 640 wide
 * @returns {Picture}
 */
function defocused(sharp, depth, layer, focus, unit) {
  const { width, height } = sharp;
  const result = picture(width, height, 3);
  for (const id of [WALL, TABLE, BEHIND, FRONT]) {
    const own = picture(width, height, 4);
    for (let p = 0; p < width * height; p += 1) {
      if (layer[p] !== id) continue;
      for (let c = 0; c < 3; c += 1) own.data[4 * p + c] = sharp.data[3 * p + c];
      own.data[4 * p + 3] = 1;
    }
    const distance = { ...picture(width, height, 2), data: new Float32Array(2 * width * height) };
    for (let p = 0; p < width * height; p += 1) {
      distance.data[2 * p] = layer[p] === id ? 1 / depth[p] : 0;
      distance.data[2 * p + 1] = own.data[4 * p + 3];
    }
    const reaches = (/** @type {number} */ p) => layer[p] === id || (id < BEHIND && layer[p] > id);
    fillHidden(own, reaches);
    fillHidden(distance, reaches);
    const spread = picture(width, height, 4);
    for (let p = 0; p < width * height; p += 1) {
      if (!reaches(p)) continue;
      const circle = APERTURE * unit * Math.abs(distance.data[2 * p] - 1 / focus);
      const radius = circle < SHARP * unit ? 0 : circle;
      splat(spread, p % width, Math.floor(p / width), own.data.subarray(4 * p, 4 * p + 3), radius);
    }
    for (let p = 0; p < width * height; p += 1) {
      const weight = spread.data[4 * p + 3];
      if (weight < 1e-4) continue;
      const cover = Math.min(1, weight);
      for (let c = 0; c < 3; c += 1) {
        const at = 3 * p + c;
        result.data[at] = lerp(result.data[at], spread.data[4 * p + c] / weight, cover);
      }
    }
  }
  return result;
}

/** @param {Picture} source @param {number} margin @returns {Picture} without the margin on every side */
function cropped({ width, height, channels, data }, margin) {
  const result = picture(width - 2 * margin, height - 2 * margin, channels);
  const row = result.width * channels;
  for (let y = 0; y < result.height; y += 1) {
    const from = ((y + margin) * width + margin) * channels;
    result.data.set(data.subarray(from, from + row), y * row);
  }
  return result;
}

/**
 * Fills the pixels that `wanted` names and that have no weight (last channel) with ever wider averages of those that
 * have.
 * @param {Picture} image colours and, last, a weight of 0 or 1 @param {(p: number) => boolean} wanted
 */
function fillHidden(image, wanted) {
  const { width, height, channels, data } = image;
  const known = { ...image, data: data.slice() };
  for (const sigma of [2, 6, 20, 80]) {
    const wide = wideBlur(known, (sigma * width) / 640 + 0.5);
    for (let p = 0; p < width * height; p += 1) {
      const at = p * channels;
      const weight = wide.data[at + channels - 1];
      if (data[at + channels - 1] > 0 || !wanted(p) || weight < 0.02) continue;
      for (let c = 0; c < channels - 1; c += 1) data[at + c] = wide.data[at + c] / weight;
      data[at + channels - 1] = 1;
    }
  }
}

/** @type {Map<number, { x: number, y: number, weight: number }[]>} */
const discs = new Map();

/** @param {number} radius in pixels @returns {{ x: number, y: number, weight: number }[]} */
function disc(radius) {
  const key = Math.round(radius * 4);
  const kept = discs.get(key);
  if (kept !== undefined) return kept;
  const r = key / 4;
  const reach = Math.ceil(r);
  const points = [];
  let total = 0;
  for (let y = -reach; y <= reach; y += 1) {
    for (let x = -reach; x <= reach; x += 1) {
      const weight = clamp(r + 0.5 - Math.hypot(x, y), 0, 1);
      if (weight > 0) points.push({ x, y, weight });
      total += weight;
    }
  }
  for (const point of points) point.weight /= total;
  discs.set(key, points);
  return points;
}

/**
 * @param {Picture} target four channels
 * @param {number} x
 * @param {number} y
 * @param {Float32Array} colour
 * @param {number} radius
 */
function splat({ width, height, data }, x, y, colour, radius) {
  for (const point of disc(radius)) {
    const i = x + point.x;
    const j = y + point.y;
    if (i < 0 || j < 0 || i >= width || j >= height) continue;
    const at = 4 * (j * width + i);
    data[at] += point.weight * colour[0];
    data[at + 1] += point.weight * colour[1];
    data[at + 2] += point.weight * colour[2];
    data[at + 3] += point.weight;
  }
}

/** @param {number} seed */
function buildStillLife(seed) {
  const random = randomStream(seed * 17 + 3);
  const between = (/** @type {number} */ low, /** @type {number} */ high) => lerp(low, high, random());
  const scene = new Scene();
  /** @type {Map<unknown, number>} */
  const layers = new Map();
  /** @param {number} layer @param {(hit: Hit) => Surface} material */
  const on = (layer, material) => {
    layers.set(material, layer);
    return material;
  };

  const brick = /** @type {Colour} */ (random() < 0.6 ? [0.36, 0.14, 0.09] : [0.42, 0.3, 0.2]);
  scene.box(
    [0, 0.4, 2],
    [2, 1, 0.1],
    on(WALL, (hit) => {
      const { albedo, tilt } = bricks(hit.point[0] * 1.5, hit.point[1] * 1.5, brick, seed);
      return { albedo, normal: normalize([tilt[0], tilt[1], -1]) };
    }),
  );
  scene.box(
    [0, -0.02, 0.9],
    [1.1, 0.02, 0.99],
    on(TABLE, (hit) => {
      const { albedo, gap } = boards(hit.point[0], hit.point[2], [0.34, 0.18, 0.085], { width: 0.12, length: 5, seed });
      return { albedo: blend(albedo, [0.015, 0.01, 0.006], gap), gloss: 0.035, roughness: 0.12 };
    }),
  );
  const flip = random() < 0.5 ? 1 : -1;
  addMug(scene, [-0.105 * flip, 0, between(0.6, 0.64)], flip, random, (m) => on(FRONT, m));
  addClock(scene, [0.095 * flip, 0, between(0.6, 0.64)], random, (m) => on(FRONT, m));
  addPencils(scene, random, (m) => on(FRONT, m));
  const side = random() < 0.5 ? 1 : -1;
  addSign(scene, on(WALL, signMaterial(seed, random)), -side * between(0.15, 0.22));
  addBooks(scene, [0.24 * side, 0, between(1.4, 1.5)], random, seed, (m) => on(BEHIND, m));
  addGlobe(scene, [between(-0.06, 0.02), 0, between(1.5, 1.6)], seed, (m) => on(BEHIND, m));
  addCactus(scene, [-0.33 * side, 0, between(1.38, 1.48)], random, (m) => on(BEHIND, m));
  scene.build();

  const sun = normalize([-0.62, 0.72, -0.5]);
  /** @type {import("./lighting.mjs").Daylight} */
  const light = {
    background: (d) => room(d),
    ambient: (d) => room(d),
    direct: (point, normal, uniform) => {
      const to = normalize(/** @type {Vector} */ (sun.map((v) => v + 0.22 * (uniform() - 0.5))));
      const facing = dot(normal, to);
      return facing > 0 && !scene.blocked(point, to, 10) ? scale([2.5, 2.2, 1.75], facing) : [0, 0, 0];
    },
  };
  return { scene, layers, light };
}

/** A room with a broad window on the left. @param {Vector} d @returns {Colour} */
function room(d) {
  const window = smoothstep(0.55, 0.75, dot(d, normalize([-0.8, 0.5, -0.4])));
  return blend([0.2, 0.19, 0.19], [2.6, 2.8, 3.1], window);
}

/** @param {number} seed @param {() => number} random @returns {(hit: Hit) => Surface} */
function signMaterial(seed, random) {
  const words = [
    ["COFFEE", "& CAKE"],
    ["FRESH", "BREAD"],
    ["GARDEN", "TOOLS"],
    ["LIBRARY", "ROOM 7"],
  ][Math.floor(random() * 4)];
  const lines = words.map((word) => ({ distance: textDistance(word), long: textWidth(word) }));
  const ground = /** @type {Colour[]} */ ([
    [0.02, 0.08, 0.22],
    [0.25, 0.02, 0.02],
    [0.02, 0.14, 0.08],
  ])[Math.floor(random() * 3)];
  return (hit) => {
    const [x, y] = hit.local;
    const border = Math.max(Math.abs(x) / 0.17, Math.abs(y) / 0.09);
    let ink = Math.abs(border - 0.93) < 0.022 ? 1 : 0;
    for (const [i, { distance, long }] of lines.entries()) {
      const size = 0.048;
      ink = Math.max(ink, 1 - smoothstep(0.07, 0.09, distance(x / size + long / 2, (y - 0.014 + i * 0.076) / size)));
    }
    const rust = smoothstep(0.62, 0.7, fractal(x * 14 + seed, y * 14, 0, 4));
    return {
      albedo: blend(blend(ground, [0.7, 0.67, 0.58], ink), [0.18, 0.08, 0.04], rust * 0.8),
      gloss: 0.05,
      roughness: 0.06,
    };
  };
}

/** @param {Scene} scene @param {unknown} material @param {number} x */
function addSign(scene, material, x) {
  scene.box([x, 0.315, 1.89], [0.17, 0.09, 0.008], material);
}

/**
 * @param {Scene} scene @param {Vector} foot @param {number} flip @param {() => number} random
 * @param {(material: (hit: Hit) => Surface) => unknown} on
 */
function addMug(scene, foot, flip, random, on) {
  const glaze = /** @type {Colour[]} */ ([
    [0.5, 0.05, 0.035],
    [0.03, 0.16, 0.24],
    [0.55, 0.32, 0.04],
    [0.05, 0.2, 0.1],
  ])[Math.floor(random() * 4)];
  const text = textDistance("SINTER");
  const long = textWidth("SINTER");
  const paint = on((hit) => {
    const y = hit.point[1] - foot[1];
    const angle = Math.atan2(hit.point[0] - foot[0], -(hit.point[2] - foot[2])) + 0.08 * flip;
    const size = 0.0155;
    const inside = Math.hypot(hit.point[0] - foot[0], hit.point[2] - foot[2]) < 0.0395 && y > 0.008;
    if (inside) return { albedo: [0.6, 0.57, 0.5], gloss: 0.05, roughness: 0.05 };
    const ink = 1 - smoothstep(0.085, 0.11, text((angle * 0.043) / size + long / 2, (y - 0.043) / size));
    const bands = Math.abs(y - 0.018) < 0.0022 || Math.abs(y - 0.082) < 0.0022 ? 1 : 0;
    return { albedo: blend(glaze, [0.72, 0.69, 0.6], Math.max(ink, bands)), gloss: 0.05, roughness: 0.04 };
  });
  /** @type {[number, number][]} */
  const profile = [
    [0.001, 0.002],
    [0.036, 0.0],
    [0.041, 0.004],
    [0.043, 0.012],
    [0.043, 0.09],
    [0.0425, 0.096],
    [0.0405, 0.0965],
    [0.039, 0.093],
    [0.039, 0.012],
    [0.001, 0.01],
  ];
  scene.lathe(foot, profile, paint, 48);
  scene.lathe(
    add(foot, [0, 0.082, 0]),
    [
      [0.001, 0.0002],
      [0.039, 0],
    ],
    on(() => ({ albedo: [0.05, 0.022, 0.01], gloss: 0.03, roughness: 0.01 })),
  );
  const handle = on(() => ({ albedo: glaze, gloss: 0.05, roughness: 0.04 }));
  for (let i = 0; i < 10; i += 1) {
    const at = (/** @type {number} */ k) => {
      const a = -Math.PI / 2 + (Math.PI * k) / 10;
      return add(foot, [-flip * (0.041 + 0.027 * Math.cos(a)), 0.05 + 0.029 * Math.sin(a), 0]);
    };
    scene.cone(at(i), at(i + 1), 0.0052, 0.0052, handle);
  }
}

/**
 * An alarm clock with two bells, its face towards the eye.
 * @param {Scene} scene
 * @param {Vector} foot
 * @param {() => number} random
 * @param {(material: (hit: Hit) => Surface) => unknown} on
 */
function addClock(scene, foot, random, on) {
  const centre = add(foot, [0, 0.069, 0]);
  const radius = 0.056;
  const metal = on(() => ({ albedo: [0.36, 0.27, 0.1], gloss: 0.35, roughness: 0.1 }));
  const body = /** @type {Colour[]} */ ([
    [0.03, 0.2, 0.2],
    [0.42, 0.05, 0.04],
    [0.05, 0.07, 0.2],
  ])[Math.floor(random() * 3)];
  const shell = on(() => ({ albedo: body, gloss: 0.05, roughness: 0.04 }));
  const turn = 2 * Math.PI * random();
  const numerals = Array.from({ length: 12 }, (_, i) => {
    const word = String(i + 1);
    return {
      distance: textDistance(word),
      long: textWidth(word),
      x: Math.sin(((i + 1) * Math.PI) / 6),
      y: Math.cos(((i + 1) * Math.PI) / 6),
    };
  });
  const face = on((hit) => {
    const x = hit.point[0] - centre[0];
    const y = hit.point[1] - centre[1];
    const r = Math.hypot(x, y);
    const angle = Math.atan2(x, y);
    let ink = 0;
    const minute = Math.abs((((angle / (2 * Math.PI)) * 60 + 60.5) % 1) - 0.5);
    const hour = Math.abs((((angle / (2 * Math.PI)) * 12 + 12.5) % 1) - 0.5);
    if (r > 0.0435 && r < 0.0465 && (minute * 2 * Math.PI * r) / 60 < 0.0004) ink = 1;
    if (r > 0.0425 && r < 0.0465 && (hour * 2 * Math.PI * r) / 12 < 0.0008) ink = 1;
    for (const numeral of numerals) {
      const size = 0.0078;
      const d = numeral.distance(
        (x - 0.0355 * numeral.x) / size + numeral.long / 2,
        (y - 0.0355 * numeral.y) / size + 0.5,
      );
      ink = Math.max(ink, 1 - smoothstep(0.07, 0.12, d));
    }
    const hand = (/** @type {number} */ at, /** @type {number} */ long, /** @type {number} */ wide) => {
      const along = x * Math.sin(at) + y * Math.cos(at);
      const across = Math.abs(x * Math.cos(at) - y * Math.sin(at));
      return along > -0.006 && along < long && across < wide * (1 - 0.6 * (along / long)) ? 1 : 0;
    };
    ink = Math.max(ink, hand(turn, 0.038, 0.0019), hand(turn / 12 + 1.1, 0.026, 0.0026), r < 0.0035 ? 1 : 0);
    const alarm = hand(turn + 2.2, 0.04, 0.0006);
    const paper = scale([0.74, 0.71, 0.62], 0.95 + 0.08 * noise(x * 400, y * 400));
    return {
      albedo: alarm > ink ? [0.6, 0.05, 0.03] : blend(paper, [0.02, 0.02, 0.025], ink),
      gloss: 0.02,
      roughness: 0.02,
    };
  });
  const ring = (/** @type {number[][]} */ profile, /** @type {unknown} */ material) => {
    const last = profile.length - 1;
    scene.surface(
      (u, v) => {
        const position = clamp(v * last, 0, last - 1e-9);
        const k = Math.floor(position);
        const r = lerp(profile[k][0], profile[k + 1][0], position - k);
        const z = lerp(profile[k][1], profile[k + 1][1], position - k);
        return add(centre, [r * Math.cos(2 * Math.PI * u), r * Math.sin(2 * Math.PI * u), z]);
      },
      48,
      last,
      material,
    );
  };
  ring(
    [
      [0, -0.014],
      [radius * 0.9, -0.014],
    ],
    face,
  );
  ring(
    [
      [radius * 0.87, -0.014],
      [radius * 0.88, -0.021],
      [radius * 0.95, -0.023],
      [radius, -0.019],
      [radius, -0.015],
    ],
    metal,
  );
  ring(
    [
      [radius, -0.016],
      [radius, 0.014],
      [radius * 0.85, 0.022],
      [0, 0.024],
    ],
    shell,
  );
  for (const side of [-1, 1]) {
    scene.cone(
      add(centre, [side * 0.03, -0.045, 0]),
      add(centre, [side * 0.042, -0.066, -0.004]),
      0.005,
      0.0035,
      metal,
    );
    const bell = add(centre, [side * 0.03, 0.057, 0]);
    scene.cone(add(centre, [side * 0.024, 0.045, 0]), bell, 0.003, 0.003, metal);
    scene.sphere(bell, 0.018, metal);
  }
  scene.cone(add(centre, [0, 0.055, 0]), add(centre, [0, 0.074, 0]), 0.0025, 0.0025, metal);
  scene.cone(add(centre, [-0.006, 0.076, 0]), add(centre, [0.006, 0.076, 0]), 0.0045, 0.0045, metal);
  for (let i = 0; i < 8; i += 1) {
    const at = (/** @type {number} */ k) =>
      add(centre, [0.032 * Math.cos((Math.PI * k) / 8), 0.07 + 0.028 * Math.sin((Math.PI * k) / 8), 0]);
    scene.cone(at(i), at(i + 1), 0.0022, 0.0022, metal);
  }
}

/** @param {Scene} scene @param {() => number} random @param {(material: (hit: Hit) => Surface) => unknown} on */
function addPencils(scene, random, on) {
  const hues = /** @type {Colour[]} */ ([
    [0.6, 0.4, 0.03],
    [0.55, 0.05, 0.04],
    [0.04, 0.14, 0.4],
    [0.05, 0.3, 0.1],
  ]);
  const wood = on(() => ({ albedo: [0.55, 0.36, 0.19] }));
  for (let i = 0; i < 3; i += 1) {
    const hue = hues[(i + Math.floor(random() * 2)) % hues.length];
    const angle = lerp(-0.35, 0.35, random()) + (i - 1) * 0.3;
    const middle = /** @type {Vector} */ ([-0.03 + 0.035 * i, 0.0042, 0.555 + 0.012 * i]);
    const along = /** @type {Vector} */ ([Math.cos(angle), 0, Math.sin(angle) * 0.4]);
    const end = (/** @type {number} */ t) => add(middle, scale(along, t));
    const stripe = on((hit) => ({
      albedo: scale(hue, hit.local[0] > 0.9 ? 0.4 : 0.9 + 0.2 * hash(Math.floor(hit.local[0] * 40), i)),
      gloss: 0.05,
      roughness: 0.05,
    }));
    scene.cone(end(-0.05), end(0.042), 0.0042, 0.0042, stripe);
    scene.cone(end(-0.062), end(-0.05), 0.0016, 0.0041, wood);
    scene.cone(
      end(-0.067),
      end(-0.062),
      0.0004,
      0.0016,
      on(() => ({ albedo: scale(hue, 0.7) })),
    );
  }
}

/**
 * @param {Scene} scene
 * @param {Vector} foot
 * @param {() => number} random
 * @param {number} seed
 * @param {(material: (hit: Hit) => Surface) => unknown} on
 */
function addBooks(scene, foot, random, seed, on) {
  const titles = ["ATLAS", "BOTANY", "LIGHT", "OPTICS", "VOYAGES", "THE SEA", "POEMS", "HARMONY", "ALPINE"];
  const cloths = /** @type {Colour[]} */ ([
    [0.34, 0.05, 0.04],
    [0.04, 0.1, 0.22],
    [0.06, 0.18, 0.1],
    [0.4, 0.26, 0.07],
    [0.14, 0.06, 0.13],
  ]);
  const first = Math.floor(random() * titles.length);
  let y = 0;
  for (let i = 0; i < 5; i += 1) {
    const half = /** @type {Vector} */ ([lerp(0.115, 0.14, random()), lerp(0.016, 0.024, random()), 0.085]);
    const title = titles[(first + 2 * i) % titles.length];
    const text = textDistance(title);
    const size = half[1] * 0.95;
    const long = textWidth(title);
    const cloth = cloths[(i + seed) % cloths.length];
    const cover = on((hit) => {
      const [px, py] = hit.local;
      const weave = 0.88 + 0.24 * noise(hit.point[0] * 500, hit.point[1] * 500 + hit.point[2] * 500);
      const ink =
        hit.localNormal[2] < -0.5 ? 1 - smoothstep(0.08, 0.11, text(px / size + long / 2, py / size + 0.5)) : 0;
      const band = Math.abs(Math.abs(px) - half[0] * 0.86) < 0.0025 ? 1 : 0;
      return { albedo: blend(scale(cloth, weave), [0.6, 0.47, 0.2], Math.max(ink, band)) };
    });
    scene.box(add(foot, [0.02 * (random() - 0.5), y + half[1], 0]), half, cover, 0.24 * (random() - 0.5));
    y += 2 * half[1];
  }
  const fruit = add(foot, [0.02, y + 0.034, -0.01]);
  scene.sphere(
    fruit,
    0.036,
    on((hit) => {
      const blush = smoothstep(
        -0.5,
        0.6,
        hit.normal[0] * -1 + 0.6 * (fractal(hit.normal[0] * 3, hit.normal[1] * 3, hit.normal[2] * 3 + 0.2, 3) - 0.5),
      );
      return { albedo: blend([0.36, 0.42, 0.06], [0.5, 0.04, 0.03], blush), gloss: 0.04, roughness: 0.08 };
    }),
  );
  scene.cone(
    add(fruit, [0, 0.03, 0]),
    add(fruit, [0.006, 0.05, 0]),
    0.002,
    0.0028,
    on(() => ({ albedo: [0.08, 0.045, 0.02] })),
  );
}

/**
 * @param {Scene} scene
 * @param {Vector} foot
 * @param {number} seed
 * @param {(material: (hit: Hit) => Surface) => unknown} on
 */
function addGlobe(scene, foot, seed, on) {
  const centre = add(foot, [0, 0.185, 0]);
  const brass = on(() => ({ albedo: [0.36, 0.26, 0.09], gloss: 0.3, roughness: 0.12 }));
  scene.sphere(
    centre,
    0.105,
    on((hit) => {
      const [x, y, z] = hit.normal;
      const land = fractal(x * 1.7 + seed, y * 1.9 + 7, z * 1.7 + seed * 0.7 + 5, 5);
      const latitude = Math.asin(clamp(y, -1, 1));
      const longitude = Math.atan2(x, -z);
      const line = Math.min(
        Math.abs((((latitude * 12) / Math.PI + 40.5) % 1) - 0.5) * 0.26,
        Math.abs((((longitude * 12) / Math.PI + 40.5) % 1) - 0.5) * 0.26 * Math.cos(latitude),
      );
      const relief = fractal(x * 7, y * 7, z * 7 + 20, 4);
      const ground = blend([0.3, 0.32, 0.1], [0.5, 0.36, 0.16], smoothstep(0.4, 0.62, relief));
      const coast = smoothstep(0.012, 0.004, Math.abs(land - 0.52));
      let albedo = land > 0.52 ? ground : blend([0.04, 0.16, 0.28], [0.1, 0.3, 0.4], smoothstep(0.4, 0.52, land));
      if (Math.abs(latitude) > 1.2) albedo = [0.65, 0.65, 0.62];
      albedo = blend(albedo, [0.12, 0.07, 0.03], Math.max(coast * 0.8, line < 0.006 ? 0.5 : 0));
      return { albedo, gloss: 0.045, roughness: 0.05 };
    }),
  );
  for (let i = 0; i < 18; i += 1) {
    const at = (/** @type {number} */ k) => {
      const a = -1.95 + (k / 18) * 3.5;
      return add(centre, [0.118 * Math.cos(a), 0.118 * Math.sin(a), 0]);
    };
    scene.cone(at(i), at(i + 1), 0.005, 0.005, brass);
  }
  scene.cone(add(foot, [0, 0.02, 0]), add(centre, [-0.02, -0.117, 0]), 0.012, 0.007, brass);
  scene.lathe(
    foot,
    [
      [0.07, 0],
      [0.072, 0.01],
      [0.05, 0.02],
      [0.02, 0.03],
      [0.001, 0.034],
    ],
    on(() => ({ albedo: [0.1, 0.05, 0.025], gloss: 0.04, roughness: 0.08 })),
  );
}

/**
 * @param {Scene} scene
 * @param {Vector} foot
 * @param {() => number} random
 * @param {(material: (hit: Hit) => Surface) => unknown} on
 */
function addCactus(scene, foot, random, on) {
  scene.lathe(
    foot,
    [
      [0.001, 0],
      [0.05, 0],
      [0.066, 0.085],
      [0.074, 0.086],
      [0.076, 0.108],
      [0.068, 0.108],
      [0.064, 0.095],
      [0.001, 0.095],
    ],
    on((hit) => {
      const y = hit.point[1];
      if (hit.normal[1] > 0.9 && y < 0.1)
        return { albedo: scale([0.07, 0.05, 0.03], 0.5 + noise(hit.point[0] * 400, hit.point[2] * 400)) };
      return {
        albedo: scale([0.45, 0.19, 0.1], 0.85 + 0.25 * fractal(hit.point[0] * 60, y * 90, hit.point[2] * 60 + 0.3, 3)),
      };
    }),
  );
  const skin = on((hit) => ({
    albedo: scale([0.08, 0.2, 0.07], 0.8 + 0.4 * Math.abs(Math.sin(hit.local[0] * Math.PI * 12))),
  }));
  const spine = on(() => ({ albedo: [0.62, 0.56, 0.42] }));
  const lobe = (/** @type {Vector} */ base, /** @type {number} */ radius, /** @type {number} */ tall) => {
    const outline = (/** @type {number} */ v) =>
      radius * Math.sqrt(Math.max(0, 1 - (2 * v - 1) ** 4)) * (0.85 + 0.15 * v);
    const at = (/** @type {number} */ u, /** @type {number} */ v, extra = 0) => {
      const r = outline(v) * (1 + 0.09 * Math.cos(2 * Math.PI * u * 12)) + extra;
      return add(base, [r * Math.cos(2 * Math.PI * u), tall * v + extra * (v - 0.5), r * Math.sin(2 * Math.PI * u)]);
    };
    scene.surface((u, v) => at(u, v), 72, 12, skin);
    for (let i = 0; i < 12; i += 1) {
      for (let j = 1; j < 9; j += 1) {
        const u = i / 12;
        const v = j / 9;
        for (const turn of [-0.02, 0, 0.02])
          scene.cone(at(u, v), at(u + turn, v + (random() - 0.5) * 0.06, 0.014), 0.0009, 0.0005, spine);
      }
    }
  };
  lobe(add(foot, [0, 0.085, 0]), 0.046, lerp(0.16, 0.2, random()));
  lobe(add(foot, [0.052, 0.15, -0.01]), 0.021, 0.075);
  for (let p = 0; p < 7; p += 1) {
    const a = (p * 2 * Math.PI) / 7;
    const tip = add(foot, [0.052 + 0.014 * Math.cos(a), 0.236, -0.01 + 0.014 * Math.sin(a)]);
    scene.cone(
      add(foot, [0.052, 0.222, -0.01]),
      tip,
      0.003,
      0.005,
      on(() => ({ albedo: [0.6, 0.1, 0.22] })),
    );
  }
}
