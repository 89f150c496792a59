/** A room with a bright window, exposed for the view outside and for the inside. */
import { bloom, encode, encodeSrgb, gaussianBlur, picture, sensorNoise } from "./image.mjs";
import { renderDaylight } from "./lighting.mjs";
import { blend, clamp, fractal, hash, lerp, noise, normalStream, randomStream, smoothstep } from "./noise.mjs";
import { boards } from "./surfaces.mjs";
import { add, camera, dot, normalize, scale, Scene } from "./tracer.mjs";

/**
 * @typedef {import("./tracer.mjs").Vector} Vector
 * @typedef {import("./tracer.mjs").Hit} Hit
 * @typedef {import("./surfaces.mjs").Colour} Colour
 * @typedef {import("./surfaces.mjs").Surface} Surface
 * @typedef {import("./image.mjs").Picture} Picture
 * @typedef {import("./image.mjs").Encoded} Encoded
 */

const WIDE = 2.5;
const TALL = 2.75;
const BACK = 5;

/**
 * @param {{ seed?: number, width?: number, height?: number }} [options] the seed moves window, furniture, sun and
 *   colours
 * @returns {{ under: Encoded, over: Encoded, truth: Encoded }} RGB; `truth` is the tone-mapped high dynamic range
 *   render
 */
export function renderWindow({ seed = 1, width = 640, height = 480 } = {}) {
  const room = buildRoom(seed);
  const ray = camera({ from: room.eye, to: room.aim, fieldOfView: 66, width, height });
  const { radiance } = renderDaylight({
    scene: room.scene,
    eye: room.eye,
    ray,
    light: room.light,
    width,
    height,
    seed,
    grid: 3,
  });
  const scene = bloom(radiance, 0.04);
  const { inside, outside } = levels(scene);
  const normal = normalStream(randomStream(seed + 55));
  const shot = (/** @type {number} */ exposure) => {
    const exposed = { ...scene, data: scene.data.map((v) => Math.min(1, v * exposure)) };
    return encode(sensorNoise(exposed, { shot: 0.004, read: 0.0004 }, normal), encodeSrgb);
  };
  return { under: shot(0.72 / outside), over: shot(0.27 / inside), truth: encode(toneMapped(scene), encodeSrgb) };
}

/**
 * @param {Picture} scene
 * @returns {{ inside: number, outside: number }} typical luminance of the dark and of the bright part
 */
function levels(scene) {
  const sorted = luminance(scene).data.toSorted();
  return { inside: sorted[Math.floor(sorted.length * 0.55)], outside: sorted[Math.floor(sorted.length * 0.965)] };
}

/** @param {Picture} source @returns {Picture} */
function luminance({ width, height, data }) {
  const result = picture(width, height, 1);
  for (let i = 0; i < result.data.length; i += 1) {
    result.data[i] = 0.2126 * data[3 * i] + 0.7152 * data[3 * i + 1] + 0.0722 * data[3 * i + 2];
  }
  return result;
}

/**
 * Local tone mapping: the large-scale log luminance, found by a self-guided filter (He et al. 2010), is compressed
 * and the detail kept.
 * @param {Picture} scene @returns {Picture}
 */
function toneMapped(scene) {
  const light = luminance(scene);
  const log = { ...light, data: light.data.map((v) => Math.log(v + 1e-4)) };
  const sigma = scene.width / 40;
  const mean = gaussianBlur(log, sigma);
  const square = gaussianBlur({ ...log, data: log.data.map((v) => v * v) }, sigma);
  const slope = {
    ...log,
    data: square.data.map((v, i) => {
      const variance = Math.max(0, v - mean.data[i] ** 2);
      return variance / (variance + 0.12);
    }),
  };
  const offset = { ...log, data: mean.data.map((v, i) => v * (1 - slope.data[i])) };
  const a = gaussianBlur(slope, sigma);
  const b = gaussianBlur(offset, sigma);
  const base = log.data.map((v, i) => a.data[i] * v + b.data[i]);
  const sorted = base.toSorted();
  const low = sorted[Math.floor(0.05 * sorted.length)];
  const high = sorted[Math.floor(0.985 * sorted.length)];
  const compression = Math.min(1, Math.log(11) / (high - low));
  const data = scene.data.map((v, i) => {
    const k = Math.floor(i / 3);
    const target = Math.exp((base[k] - high) * compression + 1.15 * (log.data[k] - base[k])) * 0.8;
    // A little less saturation than the luminance ratio would give, as the eye expects of compressed light.
    const value = target * (v / (light.data[k] + 1e-4)) ** 0.95;
    return value < 0.7 ? value : 0.7 + 0.3 * (1 - Math.exp(-(value - 0.7) / 0.3));
  });
  return { ...scene, data };
}

/** @param {number} seed */
function buildRoom(seed) {
  const random = randomStream(seed * 31 + 5);
  const between = (/** @type {number} */ low, /** @type {number} */ high) => lerp(low, high, random());
  const scene = new Scene();
  const middle = between(-0.35, 0.1);
  const half = between(0.95, 1.15);
  const [low, high] = [0.92, 2.25];
  const paint = /** @type {Colour[]} */ ([
    [0.5, 0.46, 0.36],
    [0.36, 0.46, 0.42],
    [0.5, 0.4, 0.34],
    [0.36, 0.42, 0.5],
  ])[Math.floor(random() * 4)];
  const wall = (/** @type {Hit} */ hit) => {
    const grain = 0.95 + 0.1 * fractal(hit.point[0] * 9, hit.point[1] * 9, hit.point[2] * 9 + 0.1, 3);
    return { albedo: scale(paint, grain) };
  };
  const floor = (/** @type {Hit} */ hit) => {
    const { albedo, gap } = boards(hit.point[2], hit.point[0], [0.36, 0.19, 0.09], { width: 0.14, length: 1.7, seed });
    return { albedo: blend(albedo, [0.02, 0.012, 0.008], gap), gloss: 0.035, roughness: 0.12 };
  };
  const wood = (/** @type {Colour} */ colour) => (/** @type {Hit} */ hit) => {
    const along =
      Math.abs(hit.normal[1]) > 0.5 ? [hit.point[0], hit.point[2]] : [hit.point[1], hit.point[0] + hit.point[2]];
    const { albedo } = boards(along[0], along[1], colour, { width: 0.21, length: 3, seed: seed + 4 });
    return { albedo, gloss: 0.035, roughness: 0.1 };
  };

  scene.box([0, -0.1, 2.5], [WIDE + 0.2, 0.1, 3.2], floor);
  scene.box([0, TALL + 0.1, 2.5], [WIDE + 0.2, 0.1, 3.2], white);
  for (const side of [-1, 1]) {
    scene.box([side * (WIDE + 0.1), TALL / 2, 2.5], [0.1, TALL / 2, 3.2], wall);
    scene.box([side * (WIDE - 0.01), 0.07, 2.5], [0.015, 0.07, 3], white);
  }
  scene.box([0, TALL / 2, -0.6], [WIDE, TALL / 2, 0.05], wall);
  // The wall with the window: four pieces, thick enough to show a reveal.
  const [left, right] = [middle - half, middle + half];
  const piece = (
    /** @type {number} */ x0,
    /** @type {number} */ x1,
    /** @type {number} */ y0,
    /** @type {number} */ y1,
  ) => scene.box([(x0 + x1) / 2, (y0 + y1) / 2, BACK + 0.12], [(x1 - x0) / 2, (y1 - y0) / 2, 0.12], wall);
  piece(-WIDE, left, 0, TALL);
  piece(right, WIDE, 0, TALL);
  piece(left, right, 0, low);
  piece(left, right, high, TALL);
  scene.box([0, 0.07, BACK - 0.01], [WIDE, 0.07, 0.015], white);
  const bar = (
    /** @type {number} */ x,
    /** @type {number} */ y,
    /** @type {number} */ w,
    /** @type {number} */ h,
    deep = 0.025,
  ) => scene.box([x, y, BACK + 0.12], [w, h, deep], white);
  bar(middle, low + 0.03, half, 0.03);
  bar(middle, high - 0.03, half, 0.03);
  bar(left + 0.03, (low + high) / 2, 0.03, (high - low) / 2);
  bar(right - 0.03, (low + high) / 2, 0.03, (high - low) / 2);
  bar(middle, (low + high) / 2, 0.03, (high - low) / 2);
  for (const x of [middle - half / 2, middle + half / 2]) bar(x, low + 0.68 * (high - low), half / 2, 0.014, 0.015);
  scene.box([middle, low - 0.02, BACK - 0.06], [half + 0.12, 0.022, 0.16], wood([0.2, 0.11, 0.055]));

  addCurtains(
    scene,
    left,
    right,
    /** @type {Colour[]} */ ([
      [0.5, 0.12, 0.08],
      [0.14, 0.22, 0.36],
      [0.52, 0.36, 0.12],
      [0.16, 0.3, 0.2],
    ])[Math.floor(random() * 4)],
  );
  addTable(scene, between(-0.5, -0.1), between(3.55, 3.8), wood([0.26, 0.13, 0.06]), random);
  addShelf(scene, wood([0.2, 0.11, 0.055]), seed);
  addPainting(scene, seed);
  addArmchair(
    scene,
    [-1.72, 0, between(3.3, 3.6)],
    /** @type {Colour[]} */ ([
      [0.1, 0.2, 0.19],
      [0.3, 0.09, 0.07],
      [0.26, 0.17, 0.06],
    ])[Math.floor(random() * 3)],
  );
  const rug = /** @type {Colour} */ (random() < 0.5 ? [0.3, 0.07, 0.05] : [0.07, 0.1, 0.22]);
  scene.box([0.1, 0.004, 2.6], [1.25, 0.006, 0.95], (/** @type {Hit} */ hit) =>
    rugPattern(hit.local[0], hit.local[2], rug),
  );
  addPlant(scene, [1.62, 0, 4.45], random);

  scene.build();
  const sun = normalize([between(-0.75, -0.45), between(0.72, 0.85), between(0.8, 1)]);
  return {
    scene,
    eye: /** @type {Vector} */ ([between(0.25, 0.55), 1.5, -0.35]),
    aim: /** @type {Vector} */ ([0.02, 1.22, 4]),
    light: daylight(scene, sun, left, right, low, high, seed),
  };
}

/**
 * @param {Scene} scene
 * @param {Vector} sun
 * @param {number} left
 * @param {number} right
 * @param {number} low
 * @param {number} high
 * @param {number} seed
 * @returns {import("./lighting.mjs").Daylight}
 */
function daylight(scene, sun, left, right, low, high, seed) {
  const area = (right - left) * (high - low);
  return {
    background: (d) => outdoors(d, sun, seed),
    // The window is sampled on purpose, so a bounced ray that leaves through it must not count again.
    ambient: () => [0, 0, 0],
    direct: (point, normal, random) => {
      const out = /** @type {Colour} */ ([0.012, 0.0115, 0.011]);
      const target = /** @type {Vector} */ ([lerp(left, right, random()), lerp(low, high, random()), BACK + 0.2]);
      const offset = target.map((v, i) => v - point[i]);
      const distance = Math.sqrt(offset[0] ** 2 + offset[1] ** 2 + offset[2] ** 2);
      const to = /** @type {Vector} */ (offset.map((v) => v / distance));
      const factor = Math.max(0, dot(normal, to)) * Math.max(0, to[2]);
      if (factor > 0 && !scene.blocked(point, to, distance)) {
        // Two even tones light the room as the painted view would, with less noise.
        const sky = to[1] > 0.04 ? [5.4, 6, 6.8] : [0.75, 0.78, 0.6];
        for (let c = 0; c < 3; c += 1) out[c] += (sky[c] * factor * area) / (Math.PI * distance * distance);
      }
      const toSun = normalize(/** @type {Vector} */ (sun.map((v) => v + 0.012 * (random() - 0.5))));
      const facing = dot(normal, toSun);
      // The sun can only come through the window: most points need no ray to know that they are in shade.
      const reach = (BACK + 0.12 - point[2]) / toSun[2];
      const [x, y] = [point[0] + reach * toSun[0], point[1] + reach * toSun[1]];
      const open = x > left && x < right && y > low && y < high;
      if (facing > 0 && open && !scene.blocked(point, toSun, 100))
        for (let c = 0; c < 3; c += 1) out[c] += [26, 23, 18][c] * facing * 0.5;
      return out;
    },
  };
}

/**
 * The view: sky with clouds, hills, a village, trees, a meadow.
 * @param {Vector} d @param {Vector} sun @param {number} seed
 * @returns {Colour}
 */
function outdoors(d, sun, seed) {
  const azimuth = Math.atan2(d[0], d[2]);
  const rise = d[1] / Math.hypot(d[0], d[2]);
  const x = azimuth * 10 + seed * 3;
  const hills = (/** @type {number} */ frequency, /** @type {number} */ size, /** @type {number} */ base) =>
    base + size * (fractal(x * frequency + base * 90, 3, 0, 4) - 0.5);
  const lit = 0.7 + 0.3 * clamp(dot(normalize([d[0], 0, d[2]]), sun), -1, 1);
  const haze = /** @type {Colour} */ ([5.2, 6, 7]);
  const far = hills(0.12, 0.16, 0.085);
  if (rise > far) {
    const up = clamp(rise * 1.6, 0, 1);
    const blue = blend([6.2, 7.2, 8.4], [1.9, 3.6, 7.2], up ** 0.7);
    const h = rise + 0.12;
    const cloud = smoothstep(0.48, 0.72, fractal((d[0] / h) * 0.9 + seed, (d[2] / h) * 0.5, 0, 5));
    const shade = 0.8 + 0.35 * fractal((d[0] / h) * 2 + seed + 0.3, (d[2] / h) * 1.1 + 4, 0, 4);
    return blend(blue, scale([11, 10.8, 10.4], shade), cloud);
  }
  const forest = (/** @type {number} */ scaleOf) => 0.6 + 0.8 * fractal(x * scaleOf, rise * scaleOf * 9, 0, 4);
  const near = hills(0.2, 0.12, 0.012);
  if (rise > near) return blend(haze, scale([0.75, 1.25, 0.75], forest(7) * lit), 0.45);
  // Houses with red roofs along the foot of the hill.
  const slot = Math.floor(x / 1.15);
  const inSlot = x - (slot + 0.5) * 1.15 - 0.3 * (hash(slot, seed, 11) - 0.5);
  const isHouse = hash(slot, seed, 8) < 0.42;
  const ground = -0.06 + 0.02 * (hash(slot, seed, 9) - 0.5);
  const halfWide = 0.24 + 0.16 * hash(slot, seed, 10);
  const eaves = ground + 0.03 + 0.012 * hash(slot, seed, 12);
  const roof = eaves + 0.03 * (1 - Math.abs(inSlot) / (halfWide + 0.04));
  if (isHouse && rise > ground && rise < roof && Math.abs(inSlot) < halfWide + 0.04) {
    if (rise > eaves) return scale([3.4, 1.15, 0.7], 0.8 + 0.3 * hash(Math.floor(rise * 500), slot));
    if (Math.abs(inSlot) < halfWide) {
      const pane =
        Math.abs((inSlot % 0.15) - 0.075 * Math.sign(inSlot)) < 0.022 && Math.abs(rise - ground - 0.02) < 0.008;
      return pane ? [0.6, 0.7, 0.8] : scale([5, 4.6, 3.8], inSlot < 0.05 ? 1 : 0.7);
    }
  }
  const bush = -0.045 + 0.035 * fractal(x * 1.4, 8, 0, 4);
  if (rise > bush) return scale([0.7, 1.5, 0.45], forest(5) * lit * 1.1);
  const crown = -0.1 + 0.055 * fractal(x * 2.2, 2, 0, 5);
  if (rise < crown && fractal(x * 0.5, 6, 0, 2) > 0.52 && rise > -0.14)
    return scale([0.5, 1.1, 0.28], forest(12) * lit);
  const stripes = 0.9 + 0.2 * noise(x * 2 + 40 * rise, rise * 90);
  // The lawn below the window lies in the shade of the house.
  const shaded = lerp(1, 0.35, smoothstep(-0.2, -0.5, rise));
  return scale([1.9, 2.7, 0.75], shaded * stripes * lit * (0.75 + 0.5 * fractal(x * 3, rise * 60, 0, 3)));
}

/** @param {Scene} scene @param {number} left @param {number} right @param {Colour} colour */
function addCurtains(scene, left, right, colour) {
  const cloth = (/** @type {Hit} */ hit) => {
    const weave = 0.9 + 0.2 * noise(hit.point[0] * 160, hit.point[1] * 160);
    const hem = hit.point[1] < 0.36 && hit.point[1] > 0.3 ? 1.5 : 1;
    return { albedo: scale(colour, weave * hem) };
  };
  for (const [x0, x1] of [
    [left - 0.42, left + 0.06],
    [right - 0.06, right + 0.42],
  ]) {
    scene.surface(
      (u, v) => {
        const gather = 1 - 0.25 * Math.exp(-(((v - 0.45) / 0.2) ** 2));
        const centre = (x0 + x1) / 2;
        return [
          centre + (lerp(x0, x1, u) - centre) * gather,
          lerp(0.25, 2.42, v),
          BACK - 0.17 + 0.045 * Math.sin(u * 34 + 0.6 * Math.sin(v * 4)),
        ];
      },
      60,
      10,
      cloth,
    );
  }
  scene.cone([left - 0.5, 2.44, BACK - 0.17], [right + 0.5, 2.44, BACK - 0.17], 0.018, 0.018, brass);
  for (const x of [left - 0.5, right + 0.5]) scene.sphere([x, 2.44, BACK - 0.17], 0.035, brass);
}

/** @param {Scene} scene @param {number} x @param {number} z @param {unknown} wood @param {() => number} random */
function addTable(scene, x, z, wood, random) {
  const top = 0.76;
  scene.box([x, top - 0.02, z], [0.72, 0.022, 0.42], wood);
  scene.box([x, top - 0.09, z], [0.64, 0.05, 0.35], wood);
  for (const [dx, dz] of [
    [-0.64, -0.35],
    [0.64, -0.35],
    [-0.64, 0.35],
    [0.64, 0.35],
  ]) {
    scene.cone([x + dx, 0.01, z + dz], [x + dx, top - 0.06, z + dz], 0.022, 0.036, wood);
  }
  /** @type {[number, number][]} */
  const vase = [
    [0.001, 0],
    [0.06, 0],
    [0.085, 0.04],
    [0.1, 0.1],
    [0.092, 0.16],
    [0.06, 0.22],
    [0.04, 0.26],
    [0.05, 0.3],
    [0.044, 0.3],
    [0.034, 0.26],
  ];
  const foot = /** @type {Vector} */ ([x - 0.3, top, z + 0.05]);
  scene.lathe(foot, vase, (/** @type {Hit} */ hit) => {
    const y = hit.point[1] - top;
    const band =
      Math.abs(y - 0.12) < 0.035 && Math.sin(hit.local[0] * 2 * Math.PI * 9 + (y > 0.12 ? 0 : Math.PI)) > 0.1;
    return { albedo: band ? [0.65, 0.62, 0.55] : [0.05, 0.12, 0.28], gloss: 0.05, roughness: 0.03 };
  });
  const petals = /** @type {Colour[]} */ ([
    [0.72, 0.05, 0.05],
    [0.8, 0.5, 0.04],
    [0.7, 0.68, 0.62],
    [0.6, 0.12, 0.32],
  ]);
  for (let i = 0; i < 9; i += 1) {
    const angle = 2.4 * i;
    const lean = 0.05 + 0.13 * Math.sqrt(i / 9);
    const head = add(foot, [lean * Math.cos(angle), 0.56 - 0.5 * lean + 0.05 * random(), lean * Math.sin(angle)]);
    const hue = petals[Math.floor(random() * petals.length)];
    scene.cone(add(foot, [0, 0.27, 0]), head, 0.005, 0.004, () => ({ albedo: [0.06, 0.16, 0.03] }));
    for (let p = 0; p < 6; p += 1) {
      const turn = (p * Math.PI) / 3;
      scene.cone(head, add(head, [0.032 * Math.cos(turn), 0.008, 0.032 * Math.sin(turn)]), 0.011, 0.016, () => ({
        albedo: hue,
      }));
    }
    scene.sphere(add(head, [0, 0.012, 0]), 0.016, () => ({ albedo: [0.6, 0.36, 0.03] }));
  }
  /** @type {[number, number][]} */
  const bowl = [
    [0.001, 0.012],
    [0.06, 0.0],
    [0.11, 0.03],
    [0.16, 0.08],
    [0.155, 0.082],
    [0.1, 0.036],
    [0.001, 0.02],
  ];
  scene.lathe([x + 0.22, top, z - 0.02], bowl, () => ({ albedo: [0.62, 0.6, 0.55], gloss: 0.05, roughness: 0.04 }));
  const fruit = /** @type {Colour[]} */ ([
    [0.6, 0.06, 0.03],
    [0.75, 0.32, 0.02],
    [0.35, 0.5, 0.05],
    [0.75, 0.32, 0.02],
    [0.55, 0.05, 0.03],
  ]);
  for (const [i, hue] of fruit.entries()) {
    const angle = i * 1.45;
    const at = i === 4 ? [0, 0.14, 0] : [0.066 * Math.cos(angle), 0.085, 0.066 * Math.sin(angle)];
    scene.sphere(add([x + 0.22, top, z - 0.02], /** @type {Vector} */ (at)), 0.048, (/** @type {Hit} */ hit) => ({
      albedo: scale(hue, 0.8 + 0.4 * noise(hit.local[0] * 60, hit.local[1] * 30, hit.local[2] * 60)),
      gloss: 0.04,
      roughness: 0.08,
    }));
  }
  scene.box([x + 0.52, top + 0.02, z - 0.15], [0.11, 0.018, 0.15], () => ({ albedo: [0.32, 0.05, 0.05] }), 0.3);
  scene.box([x + 0.52, top + 0.052, z - 0.15], [0.095, 0.014, 0.13], () => ({ albedo: [0.06, 0.15, 0.22] }), -0.1);
}

/** @param {Scene} scene @param {unknown} wood @param {number} seed */
function addShelf(scene, wood, seed) {
  const x = WIDE - 0.16;
  const [near, far] = [2.1, 3.9];
  const middle = (near + far) / 2;
  for (const z of [near, far]) scene.box([x, 1.05, z], [0.16, 1.05, 0.02], wood);
  for (let row = 0; row <= 5; row += 1)
    scene.box([x, 0.05 + row * 0.41, middle], [0.16, 0.016, (far - near) / 2], wood);
  const cloths = /** @type {Colour[]} */ ([
    [0.4, 0.06, 0.04],
    [0.06, 0.12, 0.28],
    [0.1, 0.22, 0.12],
    [0.45, 0.3, 0.08],
    [0.5, 0.45, 0.36],
    [0.16, 0.07, 0.14],
    [0.05, 0.06, 0.07],
  ]);
  for (let row = 0; row < 5; row += 1) {
    let z = near + 0.04;
    for (let index = 0; z < far - 0.1; index += 1) {
      const thick = 0.022 + 0.034 * hash(index, row, seed);
      const tall = 0.24 + 0.12 * hash(index, row, seed + 1);
      const deep = 0.09 + 0.03 * hash(index, row, seed + 2);
      const cloth = cloths[Math.floor(hash(index, row, seed + 3) * cloths.length)];
      const gold = hash(index, row, seed + 4) < 0.5;
      if (hash(index, row, seed + 5) > 0.08) {
        scene.box(
          [x + 0.14 - deep, 0.066 + row * 0.41 + tall / 2, z + thick / 2],
          [deep, tall / 2, thick / 2 - 0.001],
          (/** @type {Hit} */ hit) => {
            const v = hit.local[1] / tall + 0.5;
            const label = gold && (Math.abs(v - 0.75) < 0.06 || Math.abs(v - 0.2) < 0.015);
            return { albedo: label ? [0.6, 0.5, 0.25] : cloth };
          },
        );
      }
      z += thick + 0.001;
    }
  }
}

/** @param {Scene} scene @param {number} seed */
function addPainting(scene, seed) {
  const x = -WIDE + 0.02;
  scene.box([x, 1.62, 3.05], [0.025, 0.42, 0.56], () => ({ albedo: [0.36, 0.24, 0.08], gloss: 0.12, roughness: 0.25 }));
  scene.box([x + 0.012, 1.62, 3.05], [0.022, 0.35, 0.49], (/** @type {Hit} */ hit) => {
    const u = hit.local[2];
    const v = hit.local[1];
    const waves = fractal(u * 5 + seed, v * 14, 0, 4);
    if (v > 0.02 + 0.05 * fractal(u * 4, seed, 0, 3)) {
      const sunset = Math.exp(-((u - 0.1) ** 2 + (v - 0.1) ** 2) / 0.02);
      return { albedo: add(blend([0.55, 0.3, 0.18], [0.16, 0.24, 0.4], v * 3), scale([0.3, 0.25, 0.1], sunset)) };
    }
    const sail = v > -0.12 && Math.abs(u + 0.16) < 0.06 * (0.06 - v) * 6;
    return { albedo: sail ? [0.6, 0.56, 0.48] : blend([0.03, 0.1, 0.16], [0.2, 0.34, 0.36], waves) };
  });
}

/** @param {Scene} scene @param {Vector} foot @param {Colour} colour */
function addArmchair(scene, foot, colour) {
  const cloth = (/** @type {Hit} */ hit) => ({
    albedo: scale(colour, 0.85 + 0.3 * noise(hit.point[0] * 90, hit.point[1] * 90, hit.point[2] * 90)),
  });
  const part = (/** @type {Vector} */ a, /** @type {Vector} */ b, /** @type {number} */ r) =>
    scene.cone(add(foot, a), add(foot, b), r, r, cloth);
  for (let i = 0; i < 5; i += 1) part([-0.22 + 0.11 * i, 0.38, -0.28], [-0.22 + 0.11 * i, 0.36, 0.26], 0.1);
  for (let i = 0; i < 5; i += 1)
    part([-0.24 + 0.12 * i, 0.42, 0.3], [-0.24 + 0.12 * i, 0.92 + 0.05 * Math.cos((i - 2) * 0.7), 0.42], 0.1);
  for (const side of [-0.38, 0.38]) {
    part([side, 0.58, -0.3], [side, 0.58, 0.34], 0.085);
    scene.box(add(foot, [side, 0.34, 0.02]), [0.075, 0.22, 0.3], cloth);
  }
  scene.box(add(foot, [0, 0.26, 0.02]), [0.36, 0.1, 0.3], cloth);
  for (const [x, z] of [
    [-0.36, -0.25],
    [0.36, -0.25],
    [-0.36, 0.3],
    [0.36, 0.3],
  ])
    scene.cone(add(foot, [x, 0.01, z]), add(foot, [x, 0.16, z]), 0.02, 0.03, darkWood);
  scene.cone(add(foot, [-0.14, 0.55, 0.2]), add(foot, [0.14, 0.62, 0.24]), 0.12, 0.12, (/** @type {Hit} */ hit) => ({
    albedo: Math.floor(hit.local[0] * 7) % 2 === 0 ? [0.6, 0.52, 0.38] : [0.5, 0.2, 0.08],
  }));
}

/** @param {Hit} hit @returns {Surface} */
function white(hit) {
  return { albedo: scale([0.72, 0.71, 0.68], 0.95 + 0.08 * noise(hit.point[0] * 40, hit.point[1] * 40)) };
}

/** @returns {Surface} */
function brass() {
  return { albedo: [0.12, 0.09, 0.05], gloss: 0.3, roughness: 0.2 };
}

/** @returns {Surface} */
function darkWood() {
  return { albedo: [0.1, 0.05, 0.025] };
}

/** @param {Hit} hit @returns {Surface} */
function leaf(hit) {
  const fromRib = Math.abs(hit.local[0] - 0.5);
  const veins = 0.8 + 0.4 * Math.abs(Math.sin(hit.local[1] * 30 + fromRib * 20));
  return { albedo: scale([0.05, 0.15, 0.035], (fromRib < 0.04 ? 1.6 : 1) * veins), gloss: 0.04, roughness: 0.15 };
}

/** @param {number} x @param {number} z @param {Colour} colour @returns {Surface} */
function rugPattern(x, z, colour) {
  const weave = 0.85 + 0.3 * noise(x * 120, z * 120);
  const edge = Math.min(1.25 - Math.abs(x), 0.95 - Math.abs(z));
  let hue = colour;
  if (edge < 0.05 || Math.abs(edge - 0.2) < 0.018) hue = [0.5, 0.42, 0.28];
  else if (edge < 0.18 && Math.sin(x * 24) * Math.sin(z * 24) > 0.25) hue = [0.45, 0.32, 0.12];
  else if (edge > 0.24) {
    const diamond = Math.abs(((x + 5) % 0.5) - 0.25) + Math.abs(((z + 5) % 0.5) - 0.25);
    if (Math.abs(diamond - 0.2) < 0.025) hue = [0.5, 0.42, 0.28];
    else if (diamond < 0.08) hue = [0.08, 0.1, 0.16];
  }
  return { albedo: scale(hue, weave) };
}

/** @param {Scene} scene @param {Vector} foot @param {() => number} random */
function addPlant(scene, foot, random) {
  /** @type {[number, number][]} */
  const pot = [
    [0.001, 0],
    [0.13, 0],
    [0.17, 0.3],
    [0.19, 0.3],
    [0.19, 0.35],
    [0.165, 0.35],
    [0.16, 0.31],
    [0.001, 0.31],
  ];
  scene.lathe(foot, pot, (/** @type {Hit} */ hit) => ({
    albedo: hit.point[1] > 0.305 && hit.normal[1] > 0.8 ? [0.04, 0.025, 0.015] : [0.42, 0.18, 0.09],
  }));
  for (let i = 0; i < 16; i += 1) {
    const angle = i * 2.4;
    const lean = 0.15 + 0.35 * random();
    const tall = 0.7 + 0.55 * random();
    const wide = 0.05 + 0.03 * random();
    const across = /** @type {Vector} */ ([-Math.sin(angle), 0, Math.cos(angle)]);
    scene.surface(
      (u, v) => {
        const spine = add(foot, [
          lean * v * v * Math.cos(angle),
          0.3 + tall * (v - 0.35 * v * v * v),
          lean * v * v * Math.sin(angle),
        ]);
        const half = wide * Math.sin(Math.PI * clamp(v * 0.96 + 0.02, 0, 1)) ** 0.8;
        return add(spine, add(scale(across, half * (2 * u - 1)), [0, 0.03 * (2 * u - 1) ** 2, 0]));
      },
      2,
      8,
      leaf,
    );
  }
}
