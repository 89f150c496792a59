/**
 * An axial slice of a head: T1-weighted MRI and FDG PET in false colour. Lengths are shares of half the picture's
 * side.
 */
import { encode, gaussianBlur, picture, sampleLinear } from "./image.mjs";
import { segmentDistance } from "./lettering.mjs";
import { blend, clamp, fractal, lerp, noise, normalStream, randomStream, smoothstep } from "./noise.mjs";

/**
 * @typedef {import("./image.mjs").Picture} Picture
 * @typedef {import("./image.mjs").Encoded} Encoded
 * @typedef {[number, number]} Point x to the right, y to the front
 * @typedef {{ x: number, y: number, radius: number }} Spot
 */

/** Samples along each side of a pixel. */
const FINE = 2;
/** Thickness of the grey matter. */
const CORTEX = 0.036;

/**
 * @param {{ seed?: number, width?: number, height?: number }} [options] square; the seed changes the folds, the
 *   ventricles and the lesion
 * @returns {{ mri: Encoded, pet: Encoded }} `mri` one channel, `pet` RGB
 */
export function renderBrainPhantom({ seed = 1, width = 256, height = 256 } = {}) {
  const random = randomStream(seed * 13 + 1);
  const head = headShape(random, seed);
  const w = width * FINE;
  const h = height * FINE;
  const sulci = sulcusDistance(w, h, head, random);
  const ventricles = ventricleShapes(random);
  const side = random() < 0.5 ? -1 : 1;
  /** @type {Spot} */
  const lesion = {
    x: side * lerp(0.26, 0.36, random()),
    y: lerp(-0.3, 0.32, random()),
    radius: lerp(0.06, 0.09, random()),
  };
  const anatomy = picture(w, h, 1);
  const uptake = picture(w, h, 1);
  for (let j = 0; j < h; j += 1) {
    for (let i = 0; i < w; i += 1) {
      const [x, y] = warped(((i + 0.5) / w) * 2 - 1, 1 - ((j + 0.5) / h) * 2, seed);
      const sulcus = sampleLinear(sulci, ((x + 1) / 2) * w - 0.5, ((1 - y) / 2) * h - 0.5, 0);
      const tissue = tissueAt(x, y, sulcus, head, ventricles, lesion, seed);
      anatomy.data[j * w + i] = tissue.signal;
      uptake.data[j * w + i] = tissue.uptake;
    }
  }
  return { mri: scanMri(anatomy, width, height, seed), pet: scanPet(uptake, width, height, seed) };
}

/**
 * Bends the plane a little: nothing in a head is straight or alike on both sides.
 * @param {number} x
 * @param {number} y
 * @param {number} seed
 * @returns {Point}
 */
function warped(x, y, seed) {
  const inside = smoothstep(0.95, 0.45, Math.hypot(x, y));
  const bend = (/** @type {number} */ shift) =>
    (0.25 + 0.75 * inside) *
    (0.09 * (fractal(x * 2.2 + shift, y * 2.2 + 5, seed + 0.5, 2) - 0.5) +
      0.035 * (fractal(x * 9 + shift, y * 9, seed + 0.25, 2) - 0.5));
  return [x + bend(0), y + bend(50)];
}

/**
 * @param {() => number} random @param {number} seed
 * @returns {{ depth: (x: number, y: number) => number, rim: (angle: number) => Point }}
 *   `depth`: distance inwards from the brain's edge, about; `rim`: a point of that edge, angle from the front clockwise
 */
function headShape(random, seed) {
  const broad = lerp(0.6, 0.64, random());
  const long = lerp(0.74, 0.78, random());
  const radius = (/** @type {number} */ angle) => {
    const ellipse = 1 / Math.hypot(Math.sin(angle) / broad, Math.cos(angle) / long);
    // Broader behind than in front, as heads are.
    return (
      ellipse *
      (1 -
        0.07 * Math.cos(angle) * Math.sin(angle) ** 2 +
        0.01 * (noise(2 + Math.cos(angle) * 2, 2 + Math.sin(angle) * 2, seed + 0.5) - 0.5))
    );
  };
  return {
    depth: (x, y) => radius(Math.atan2(x, y)) - Math.hypot(x, y),
    rim: (angle) => [radius(angle) * Math.sin(angle), radius(angle) * Math.cos(angle)],
  };
}

/**
 * Distance to the nearest sulcus: curves that wander inwards from the rim, some of them forked, as a real cortex
 * shows in a slice.
 * @param {number} w @param {number} h @param {ReturnType<typeof headShape>} head @param {() => number} random
 * @returns {Picture}
 */
function sulcusDistance(w, h, head, random) {
  const result = picture(w, h, 1);
  result.data.fill(1);
  const reach = 0.1;
  const draw = (/** @type {Point} */ a, /** @type {Point} */ b) => {
    const left = ((Math.min(a[0], b[0]) - reach + 1) / 2) * w;
    const right = ((Math.max(a[0], b[0]) + reach + 1) / 2) * w;
    const top = ((1 - Math.max(a[1], b[1]) - reach) / 2) * h;
    const bottom = ((1 - Math.min(a[1], b[1]) + reach) / 2) * h;
    for (let j = Math.max(0, Math.floor(top)); j < Math.min(h, bottom); j += 1) {
      for (let i = Math.max(0, Math.floor(left)); i < Math.min(w, right); i += 1) {
        const x = ((i + 0.5) / w) * 2 - 1;
        const y = 1 - ((j + 0.5) / h) * 2;
        const distance = segmentDistance(x, y, a[0], a[1], b[0], b[1]);
        if (distance < result.data[j * w + i]) result.data[j * w + i] = distance;
      }
    }
  };
  const wander = (
    /** @type {Point} */ from,
    /** @type {number} */ heading,
    /** @type {number} */ length,
    /** @type {number} */ forks,
  ) => {
    const step = 0.016;
    let [x, y] = from;
    let angle = heading;
    let turn = 0;
    for (let done = 0; done < length; done += step) {
      turn = 0.75 * turn + 0.34 * (random() - 0.5);
      angle += turn + 0.12 * Math.sin(heading - angle);
      const next = /** @type {Point} */ ([x + step * Math.sin(angle), y + step * Math.cos(angle)]);
      if (Math.abs(next[0]) < 0.05) return;
      draw([x, y], next);
      [x, y] = next;
      if (forks > 0 && done > 0.04 && done < length - 0.05 && random() < 0.14) {
        const way = random() < 0.5 ? -1 : 1;
        wander([x, y], angle + way * lerp(0.9, 1.4, random()), lerp(0.05, 0.1, random()), 0);
        forks -= 1;
      }
    }
    if (length > 0.12)
      for (const way of [-1, 1])
        wander([x, y], angle + way * lerp(0.7, 1.2, random()), lerp(0.025, 0.055, random()), 0);
  };
  for (const side of [-1, 1]) {
    const folds = 21;
    for (let k = 0; k < folds; k += 1) {
      const angle = side * (0.13 + ((k + 0.5 + 0.4 * (random() - 0.5)) / folds) * (Math.PI - 0.26));
      const start = head.rim(angle);
      const length = k % 2 === 0 ? lerp(0.15, 0.24, random()) : lerp(0.06, 0.12, random());
      wander(start, Math.atan2(-start[0], -start[1]) + 0.5 * (random() - 0.5), length, k % 2 === 0 ? 2 : 0);
    }
    // The Sylvian fissure and the insula behind it.
    const mouth = head.rim(side * 1.28);
    const insula = /** @type {Point} */ ([side * 0.37, mouth[1] - 0.06]);
    draw(mouth, insula);
    draw(insula, [side * 0.345, insula[1] + 0.1]);
    draw(insula, [side * 0.35, insula[1] - 0.12]);
    // Folds of the inner faces, on both sides of the midline.
    for (const y of [0.62, 0.52, 0.43, -0.42, -0.52, -0.62]) {
      wander(
        [side * 0.055, y + 0.03 * (random() - 0.5)],
        side * (1.57 + 0.6 * (random() - 0.5)),
        lerp(0.06, 0.13, random()),
        0,
      );
    }
  }
  // The fissure between the halves, in front of and behind the corpus callosum.
  draw([0, 0.8], [0.004, 0.36]);
  draw([0, -0.8], [-0.004, -0.33]);
  return result;
}

/**
 * The lateral ventricles as chains of discs, in the right half; the left half mirrors them.
 * @param {() => number} random
 * @returns {{ chain: Spot[], third: number }}
 */
function ventricleShapes(random) {
  const wide = lerp(0.85, 1.25, random());
  /** @type {[number, number, number][]} */
  const knots = [
    [0.155, 0.31, 0.018],
    [0.115, 0.27, 0.034],
    [0.075, 0.2, 0.04],
    [0.05, 0.12, 0.034],
    [0.05, 0.03, 0.024],
    [0.075, -0.06, 0.026],
    [0.14, -0.15, 0.036],
    [0.2, -0.22, 0.046],
    [0.225, -0.31, 0.038],
    [0.205, -0.39, 0.022],
    [0.17, -0.45, 0.01],
  ];
  /** @type {Spot[]} */
  const chain = [];
  for (let k = 0; k + 1 < knots.length; k += 1) {
    for (let t = 0; t < 1; t += 0.125) {
      const [before, after] = [knots[Math.max(0, k - 1)], knots[Math.min(knots.length - 1, k + 2)]];
      const [x, y, radius] = knots[k].map((v, c) => catmullRom(before[c], v, knots[k + 1][c], after[c], t));
      chain.push({ x, y, radius: radius * wide });
    }
  }
  return { chain, third: lerp(0.008, 0.016, random()) };
}

/**
 * A smooth curve through b (t = 0) and c (t = 1).
 * @param {number} a
 * @param {number} b
 * @param {number} c
 * @param {number} d
 * @param {number} t
 */
function catmullRom(a, b, c, d, t) {
  return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}

/**
 * @param {number} x
 * @param {number} y
 * @param {number} sulcus distance to the nearest sulcus
 * @param {ReturnType<typeof headShape>} head
 * @param {ReturnType<typeof ventricleShapes>} ventricles @param {Spot} lesion @param {number} seed
 * @returns {{ signal: number, uptake: number }} T1-weighted signal and tracer uptake, 0 to about 1
 */
function tissueAt(x, y, sulcus, head, { chain, third }, lesion, seed) {
  const depth = head.depth(x, y) + 0.012 * (fractal(x * 6, y * 6, seed + 0.4, 3) - 0.5);
  if (depth < 0) return outsideBrain(-depth, x, y, seed);
  const edge = 0.0045;
  const soft = (/** @type {number} */ signed) => smoothstep(edge, -edge, signed);
  const wobble = 0.012 * (fractal(x * 14 + 3, y * 14, seed + 0.7, 3) - 0.5);

  // Cortex: a band of even thickness along the rim and along every sulcus; white matter inside.
  const outward = Math.min(depth, sulcus);
  let grey = soft(outward - CORTEX - wobble);
  const water = Math.max(
    soft(sulcus - lerp(0.0035, 0.009, smoothstep(0.16, 0, depth)) - wobble * 0.25),
    soft(depth - 0.01),
  );

  // Deep grey matter beside the ventricles.
  const ax = Math.abs(x);
  const blob = (
    /** @type {number} */ cx,
    /** @type {number} */ cy,
    /** @type {number} */ rx,
    /** @type {number} */ ry,
    /** @type {number} */ tilt,
  ) => {
    const dx = ax - cx;
    const dy = y - cy;
    const u = (dx * Math.cos(tilt) + dy * Math.sin(tilt)) / rx;
    const v = (-dx * Math.sin(tilt) + dy * Math.cos(tilt)) / ry;
    return soft((Math.hypot(u, v) - 1) * Math.min(rx, ry) + wobble);
  };
  const caudate = blob(0.125, 0.175, 0.036, 0.085, -0.45);
  const putamen = blob(0.235, 0.06, 0.04, 0.13, 0.22);
  const pallidum = blob(0.18, 0.035, 0.028, 0.075, 0.3);
  const thalamus = blob(0.08, -0.045, 0.058, 0.095, 0.35);
  const deep = Math.max(caudate, putamen, thalamus, 0.45 * pallidum);
  grey = Math.max(grey, deep);

  let chamber = soft(Math.hypot(x, y * 0.12) - third);
  if (Math.abs(y + 0.01) > 0.12) chamber = 0;
  let gap = 1;
  for (const spot of chain) gap = Math.min(gap, Math.hypot(ax - spot.x, y - spot.y) - spot.radius);
  chamber = Math.max(chamber, soft(gap + wobble * 0.5));

  const fluid = Math.max(water, chamber);
  const texture = 0.07 * (fractal(x * 26, y * 26, seed + 0.2, 3) - 0.5);
  let signal = lerp(0.68 + 0.05 * smoothstep(0, 0.4, depth), 0.44 + 0.07 * deep, grey) + texture;
  signal = lerp(signal, 0.13, fluid);
  let uptake = lerp(0.28, 0.9 + 0.06 * deep, grey) * (0.92 + 0.3 * (fractal(x * 3 + 7, y * 3, seed + 0.9, 3) - 0.5));
  uptake = lerp(uptake, 0.05, fluid);

  // A growth: dark core, thin bright rim, swollen dark surroundings, high uptake.
  const ragged = 0.05 * (fractal(x * 9 + 5, y * 9, seed + 0.1, 4) - 0.5);
  const away = Math.hypot(x - lesion.x, y - lesion.y) + ragged;
  const swelling = smoothstep(2.1 * lesion.radius, 0.9 * lesion.radius, away);
  signal = lerp(signal, lerp(signal, 0.42, 0.6), swelling * (1 - fluid));
  signal = lerp(signal, 0.34 + texture * 2, soft(away - lesion.radius));
  signal += 0.36 * Math.exp(-(((away - lesion.radius * 0.86) / 0.011) ** 2));
  uptake = lerp(uptake, uptake * 0.7, swelling);
  uptake = lerp(uptake, 1.45, smoothstep(lesion.radius * 1.05, lesion.radius * 0.6, away));
  uptake = lerp(uptake, 1.0, 0.7 * smoothstep(lesion.radius * 0.45, 0, away));
  return { signal, uptake };
}

/**
 * Meninges, skull with marrow, muscle and fat, skin, air.
 * @param {number} out distance from the brain's edge
 * @param {number} x
 * @param {number} y
 * @param {number} seed
 */
function outsideBrain(out, x, y, seed) {
  const angle = Math.atan2(x, y);
  const uneven = noise(3 + 2.5 * Math.cos(angle), 3 + 2.5 * Math.sin(angle), seed + 0.6);
  const skull = 0.022 + 0.012 * uneven;
  const bone = skull + 0.05 + 0.015 * uneven;
  const skin =
    bone +
    0.048 +
    0.018 * noise(9 + 3 * Math.cos(angle), 9 + 3 * Math.sin(angle), seed + 0.3) +
    0.02 * Math.abs(Math.sin(angle)) ** 4;
  const edge = 0.005;
  const step = (/** @type {number} */ at) => smoothstep(at - edge, at + edge, out);
  let signal = lerp(0.14, 0.06, step(skull));
  signal +=
    0.3 * (0.6 + 0.5 * fractal(x * 20, y * 20, seed + 0.8, 3)) * Math.exp(-(((out - (skull + bone) / 2) / 0.013) ** 2));
  const streaks = 0.5 + 0.7 * fractal(angle * 14 + 40, out * 60, 0, 3);
  signal = lerp(signal, 0.5 * streaks + 0.36, step(bone));
  signal = lerp(signal, 0.42, smoothstep(skin - 0.018, skin - 0.01, out));
  signal = lerp(signal, 0.012, step(skin));
  const uptake = lerp(lerp(0.12, 0.05, step(skull)), lerp(0.16, 0, step(skin)), step(bone));
  return { signal, uptake };
}

/**
 * @param {Picture} fine
 * @param {number} width
 * @param {number} height
 * @returns {Picture} averaged down to the pixel grid
 */
function reduced(fine, width, height) {
  const result = picture(width, height, 1);
  for (let y = 0; y < height * FINE; y += 1) {
    for (let x = 0; x < width * FINE; x += 1) {
      result.data[Math.floor(y / FINE) * width + Math.floor(x / FINE)] +=
        fine.data[y * width * FINE + x] / (FINE * FINE);
    }
  }
  return result;
}

/** @param {Picture} anatomy @param {number} width @param {number} height @param {number} seed @returns {Encoded} */
function scanMri(anatomy, width, height, seed) {
  const image = gaussianBlur(reduced(anatomy, width, height), (0.5 * width) / 256);
  const normal = normalStream(randomStream(seed + 11));
  const sigma = 0.016;
  const data = image.data.map((v, p) => {
    const x = (p % width) / width - 0.5;
    const y = Math.floor(p / width) / height - 0.5;
    // The coil is more sensitive on one side; the magnitude of a complex signal gives Rician noise.
    const field = 1.03 - 0.25 * (x * x + y * y) - 0.06 * x;
    return Math.hypot(v * field + sigma * normal(), sigma * normal());
  });
  return encode({ ...image, data }, (v) => clamp(v * 1.02 - 0.02, 0, 1));
}

/** @param {Picture} uptake @param {number} width @param {number} height @param {number} seed @returns {Encoded} */
function scanPet(uptake, width, height, seed) {
  const scaleOf = width / 256;
  const normal = normalStream(randomStream(seed + 22));
  const image = reduced(uptake, width, height);
  const noisy = { ...image, data: image.data.map((v) => v + 0.4 * Math.sqrt(Math.max(v, 0)) * normal() * scaleOf) };
  const blurred = gaussianBlur(noisy, 2.7 * scaleOf);
  // Half as many detector bins as pixels.
  const bins = picture(Math.ceil(width / 2), Math.ceil(height / 2), 1);
  for (let p = 0; p < bins.data.length; p += 1) {
    bins.data[p] = sampleLinear(blurred, (p % bins.width) * 2 + 0.5, Math.floor(p / bins.width) * 2 + 0.5, 0);
  }
  const colours = picture(width, height, 3);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const v = sampleLinear(bins, (x - 0.5) / 2, (y - 0.5) / 2, 0);
      colours.data.set(falseColour(v / 1.02), (y * width + x) * 3);
    }
  }
  return encode(colours, (v) => v);
}

/** @type {[number, [number, number, number]][]} uptake and display colour */
const COLOURS = [
  [0, [0, 0, 0]],
  [0.08, [0.02, 0.0, 0.14]],
  [0.22, [0.02, 0.08, 0.55]],
  [0.36, [0, 0.42, 0.75]],
  [0.48, [0.04, 0.68, 0.42]],
  [0.6, [0.5, 0.85, 0.12]],
  [0.72, [0.98, 0.85, 0.05]],
  [0.86, [0.96, 0.36, 0.03]],
  [1, [0.85, 0.04, 0.04]],
  [1.18, [1, 0.75, 0.72]],
];

/** @param {number} value @returns {[number, number, number]} */
function falseColour(value) {
  const v = clamp(value, 0, COLOURS[COLOURS.length - 1][0]);
  const k = Math.max(
    1,
    COLOURS.findIndex(([at]) => at >= v),
  );
  const [[low, from], [high, to]] = [COLOURS[k - 1], COLOURS[k]];
  return blend(from, to, (v - low) / (high - low));
}
