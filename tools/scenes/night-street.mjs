/** A street at night, seen in visible light and in thermal infrared. */
import { addCar, addLamp, addPerson, addTree } from "./figures.mjs";
import { bloom, encode, encodeSrgb, filmic, gaussianBlur, picture, sensorNoise, withoutSparks } from "./image.mjs";
import { textDistance, textWidth } from "./lettering.mjs";
import { clamp, fractal, hash, lerp, noise, normalStream, randomStream, smoothstep } from "./noise.mjs";
import { bricks } from "./surfaces.mjs";
import { add, camera, dot, normalize, reflect, scale, Scene, subtract } from "./tracer.mjs";

/**
 * @typedef {import("./tracer.mjs").Vector} Vector
 * @typedef {import("./tracer.mjs").Hit} Hit
 * @typedef {import("./surfaces.mjs").Colour} Colour
 * @typedef {import("./surfaces.mjs").Surface} Surface
 * @typedef {(hit: Hit) => Surface} Material
 *
 * @typedef {object} Light
 * @property {Vector} centre
 * @property {Vector} extent half the size along each axis; a point is drawn from this box
 * @property {Colour} power radiant intensity
 * @property {number} size metres across; what is large is reflected by rays, what is small by a highlight
 * @property {(toLight: Vector) => number} cone share of the power that is sent along a direction
 *
 * @typedef {object} Window in metres from the facade's lower left corner
 * @property {number} left @property {number} right @property {number} bottom @property {number} top
 * @property {"dark" | "lit" | "door" | "shop"} kind
 * @property {number} seed
 */

const ROAD = 3.6;
const PAVEMENT = 6;
const KERB = 0.13;
const FAR = 66;

const WALLS = /** @type {Colour[]} */ ([
  [0.34, 0.13, 0.08],
  [0.26, 0.11, 0.08],
  [0.4, 0.25, 0.15],
  [0.3, 0.2, 0.16],
  [0.44, 0.36, 0.27],
]);
const SHOPS = ["BAKERY", "BOOKS", "FLORIST", "CAFE", "TAILOR", "RECORDS"];
const NEONS = ["BAR", "OPEN", "HOTEL", "PIZZA", "JAZZ", "CINE"];

/**
 * @param {{ seed?: number, width?: number, height?: number }} [options] the seed moves houses, people, cars and lamps
 * @returns {{ visible: import("./image.mjs").Encoded, infrared: import("./image.mjs").Encoded, people: { left:
 *   number, top: number, right: number, bottom: number }[] }}
 *   `visible` RGB, `infrared` one channel; `people`: the pixels that each pedestrian spans, occlusion left aside
 */
export function renderNightStreet({ seed = 1, width = 640, height = 480 } = {}) {
  const street = buildStreet(seed);
  const view = { from: street.eye, to: street.aim, fieldOfView: 60, width, height };
  const ray = camera(view);
  return {
    visible: renderVisible(street, ray, seed, width, height),
    infrared: renderInfrared(street, ray, seed, width, height),
    people: street.people.map((person) => project(person, view)),
  };
}

/** @param {number} seed */
function buildStreet(seed) {
  const random = randomStream(seed);
  const between = (/** @type {number} */ low, /** @type {number} */ high) => lerp(low, high, random());
  const scene = new Scene();
  /** @type {Light[]} */
  const lights = [];
  /** @type {{ foot: Vector, height: number }[]} */
  const people = [];
  /** @type {{ foot: Vector, heat: number }[]} */
  const cars = [];

  for (const side of [-1, 1]) {
    // The shops stand where the eye can see them: near on the left, further down on the right.
    let shops = 0;
    let z = between(-5, -2);
    for (let index = 0; z < FAR; index += 1) {
      const wide = between(6, 8.5);
      const shop = shops === 0 && z > (side === -1 ? 8 : 14);
      if (shop) shops += 1;
      addHouse(scene, lights, random, { side, z, wide, shop, seed: seed * 100 + index * 2 + (side + 1) / 2 });
      z += wide;
    }
  }
  for (let x = -16; x < 16; x += 8) addFarHouse(scene, random, x, seed);

  const wet = between(0.35, 0.6);
  scene.box([0, -0.5, 40], [ROAD, 0.5, 80], (/** @type {Hit} */ hit) => road(hit, wet, seed, cars));
  for (const side of [-1, 1]) {
    scene.box([side * (ROAD + 2.5), KERB / 2 - 0.25, 40], [2.5, KERB / 2 + 0.25, 80], (/** @type {Hit} */ hit) =>
      pavement(hit, side),
    );
  }

  const sodium = /** @type {Colour} */ (random() < 0.6 ? [1, 0.62, 0.26] : [1, 0.86, 0.62]);
  const first = between(15, 18);
  for (let index = 0; index < 4; index += 1) {
    const side = index % 2 === 0 ? -1 : 1;
    const z = first + index * 12;
    const bulb = () => ({ albedo: [0, 0, 0], emission: scale(sodium, 60), warmth: 0.86 });
    const centre = addLamp(scene, [side * (ROAD + 0.4), KERB, z], -side * 1.3, { post: lampPost, bulb });
    lights.push({
      centre,
      extent: [0.15, 0.02, 0.1],
      size: 0.2,
      power: scale(sodium, 30),
      cone: (d) => 0.05 + 0.95 * smoothstep(0.1, 0.65, d[1]),
    });
  }

  addPillarBox(scene, [-(ROAD + 0.55), KERB, first - between(2.2, 3.2)], seed);
  const kinds = /** @type {Colour[]} */ ([
    [0.03, 0.06, 0.14],
    [0.2, 0.2, 0.21],
    [0.03, 0.07, 0.05],
    [0.12, 0.02, 0.02],
  ]);
  const parked = between(9.2, 10.6);
  cars.push(
    { foot: [ROAD - 1.05, 0, parked], heat: 1 },
    { foot: [ROAD - 1.05, 0, parked + between(10, 14)], heat: random() * 0.7 },
  );
  if (random() < 0.7) cars.push({ foot: [-ROAD + 1.05, 0, between(24, 30)], heat: random() });
  for (const [index, car] of cars.entries()) {
    addCar(
      scene,
      car.foot,
      car.foot[0] > 0 ? 0 : Math.PI,
      carMaterials(kinds[Math.floor(random() * kinds.length)], car, seed + index, false),
    );
  }
  const coming = { foot: /** @type {Vector} */ ([-1.5, 0, between(44, 50)]), heat: 1 };
  addCar(scene, coming.foot, Math.PI, carMaterials([0.1, 0.1, 0.11], coming, seed, true));
  for (const x of [-2.1, -0.9]) {
    lights.push({
      centre: [x, 0.66, coming.foot[2] - 2.3],
      extent: [0.1, 0.05, 0.02],
      size: 0.2,
      power: [30, 29, 26],
      cone: (d) => smoothstep(0.8, 0.98, d[2]),
    });
  }

  addTree(scene, [ROAD + 0.7, KERB, between(13.5, 15)], between(7.5, 9), random, (/** @type {Hit} */ hit) => ({
    albedo: scale([0.09, 0.07, 0.05], 0.6 + 0.8 * noise(hit.point[0] * 20, hit.point[1] * 6, hit.point[2] * 20)),
    warmth: 0.33,
  }));

  // The first are in front, between the eye and the first lamp, where the street is darkest; the rest walk further
  // down.
  const places = /** @type {[number, number][]} */ ([
    [between(0.75, 1.15), between(6.6, 7)],
    [between(-2.2, -1.2), between(8.4, 10.5)],
    [between(4.3, 5), between(11.2, 12.4)],
    [-between(5, 5.5), between(19, 22)],
    [between(-2.6, -0.5), between(24, 32)],
    [between(4.4, 5), between(20, 25)],
  ]);
  const count = 4 + Math.floor(random() * 3);
  for (let index = 0; index < count; index += 1) {
    const [x, z] = places[index];
    const foot = /** @type {Vector} */ ([x, Math.abs(x) > ROAD ? KERB : 0, z]);
    const tall = between(1.6, 1.86);
    const crossing = Math.abs(x) < ROAD;
    const yaw = crossing
      ? (random() < 0.5 ? 1 : -1) * between(1.2, 1.9)
      : random() < 0.5
        ? between(-0.2, 0.2)
        : Math.PI + between(-0.2, 0.2);
    addPerson(
      scene,
      {
        foot,
        yaw,
        height: tall,
        stride: (random() < 0.5 ? -1 : 1) * between(0.4, 0.75),
        coat: random() < 0.45,
        bag: random() < 0.4,
      },
      clothes(random, seed + index),
    );
    people.push({ foot, height: tall });
  }
  scene.build();
  return {
    scene,
    lights,
    people,
    eye: /** @type {Vector} */ ([between(-0.5, 0.3), 1.68, 0]),
    aim: /** @type {Vector} */ ([between(-0.8, 0), 2.15, 18]),
  };
}

/**
 * @param {Scene} scene @param {Light[]} lights @param {() => number} random
 * @param {{ side: number, z: number, wide: number, shop: boolean, seed: number }} plot
 */
function addHouse(scene, lights, random, { side, z, wide, shop, seed }) {
  const storeys = 2 + Math.floor(random() * 2);
  const ground = 3.5;
  const storey = 2.9;
  const tall = ground + storeys * storey + 0.5;
  const colour = WALLS[Math.floor(random() * WALLS.length)];
  const plaster = random() < 0.3;
  const bays = Math.max(2, Math.floor(wide / 2.1));
  const bay = wide / bays;
  /** @type {Window[]} */
  const windows = [];
  if (shop) {
    windows.push({ left: 0.5, right: wide - 1.9, bottom: 0.55, top: 2.75, kind: "shop", seed });
    windows.push({ left: wide - 1.55, right: wide - 0.5, bottom: 0, top: 2.5, kind: "door", seed });
  }
  for (let floor = shop ? 1 : 0; floor <= storeys; floor += 1) {
    const base = floor === 0 ? 0.15 : ground + (floor - 1) * storey;
    for (let index = 0; index < bays; index += 1) {
      const middle = (index + 0.5) * bay;
      const door = floor === 0 && index === seed % bays;
      const lit = random() < 0.24;
      windows.push(
        door
          ? { left: middle - 0.5, right: middle + 0.5, bottom: 0, top: 2.4, kind: "door", seed: seed + index }
          : {
              left: middle - 0.52,
              right: middle + 0.52,
              bottom: base + 0.85,
              top: base + 2.45,
              kind: lit ? "lit" : "dark",
              seed: seed * 7 + floor * 5 + index,
            },
      );
      if (!door) scene.box([side * (PAVEMENT - 0.05), base + 0.8, z + middle], [0.1, 0.05, 0.62], stone);
    }
  }
  const front = side * PAVEMENT;
  const sign = shop ? SHOPS[Math.floor(random() * SHOPS.length)] : undefined;
  const wall = (/** @type {Hit} */ hit) => facade(hit, { windows, colour, plaster, wide, tall, seed });
  scene.box([front + side * 4, tall / 2, z + wide / 2], [4, tall / 2, wide / 2], wall);
  scene.box([front - side * 0.02, tall - 0.1, z + wide / 2], [0.22, 0.12, wide / 2], stone);
  scene.box([front, ground - 0.12, z + wide / 2], [0.07, 0.07, wide / 2], stone);

  const slates = (/** @type {Hit} */ hit) => {
    const row = Math.floor(hit.point[1] * 4);
    return {
      albedo: scale([0.05, 0.052, 0.06], 0.6 + 0.8 * hash(row, Math.floor(hit.point[2] * 3 + row * 0.5), seed)),
      gloss: 0.03,
      roughness: 0.5,
      warmth: 0.2,
    };
  };
  const ridge = tall + 2.2;
  const corner = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ along) =>
    /** @type {Vector} */ ([front + side * x, y, z + along]);
  scene.triangle([corner(0, tall, 0), corner(0, tall, wide), corner(3.6, ridge, wide)], slates);
  scene.triangle([corner(0, tall, 0), corner(3.6, ridge, wide), corner(3.6, ridge, 0)], slates);
  scene.triangle([corner(0, tall, 0), corner(3.6, ridge, 0), corner(7.2, tall, 0)], slates);
  const stack = wide * (0.2 + 0.6 * random());
  scene.box(corner(2.4, ridge, stack), [0.35, 0.9, 0.5], (/** @type {Hit} */ hit) => {
    const { albedo } = bricks(hit.point[0] + hit.point[2], hit.point[1], colour, seed);
    return { albedo, warmth: 0.42 };
  });

  if (sign !== undefined) addShopFront(scene, lights, random, { side, z, wide, sign, ground });
}

/**
 * @param {Scene} scene @param {Light[]} lights @param {() => number} random
 * @param {{ side: number, z: number, wide: number, sign: string, ground: number }} shop
 */
function addShopFront(scene, lights, random, { side, z, wide, sign, ground }) {
  const front = side * PAVEMENT;
  const letters = textDistance(sign);
  const size = 0.3;
  const long = textWidth(sign) * size;
  const fascia = (/** @type {Hit} */ hit) => {
    // Read from the street: to the right on the left side of the street is away from the eye.
    const u = (-side * hit.local[2]) / size + long / size / 2;
    const v = (hit.local[1] + size / 2) / size;
    const ink = 1 - smoothstep(0.07, 0.1, letters(u, v));
    const board = /** @type {Colour} */ (side === -1 ? [0.02, 0.07, 0.05] : [0.05, 0.03, 0.09]);
    return {
      albedo: board,
      emission: scale([1.5, 1.1, 0.6], ink * 1.2),
      gloss: 0.04,
      roughness: 0.3,
      warmth: 0.36 + 0.1 * ink,
    };
  };
  scene.box([front - side * 0.07, ground - 0.42, z + wide / 2 - 0.3], [0.1, 0.24, wide / 2 - 0.5], fascia);
  // A striped awning.
  const depth = 1.15;
  const a = /** @type {Vector} */ ([front - side * 0.06, 2.95, z + 0.4]);
  const b = /** @type {Vector} */ ([front - side * depth, 2.5, z + 0.4]);
  const along = /** @type {Vector} */ ([0, 0, wide - 2.2]);
  const cloth = (/** @type {Hit} */ hit) => {
    const stripe = Math.floor((hit.point[2] - z) / 0.28) % 2 === 0;
    return { albedo: stripe ? [0.5, 0.03, 0.03] : [0.6, 0.56, 0.5], warmth: 0.3 + (stripe ? 0.02 : 0) };
  };
  scene.triangle([a, b, add(b, along)], cloth);
  scene.triangle([a, add(b, along), add(a, along)], cloth);
  scene.box(add(add(b, scale(along, 0.5)), [0, -0.09, 0]), [0.012, 0.1, along[2] / 2], cloth);
  lights.push({
    centre: [front - side * 0.15, 1.6, z + wide / 2 - 0.6],
    extent: [0, 1, wide / 2 - 1.2],
    size: wide,
    power: [9, 6.4, 3.8],
    cone: (d) => clamp(side * d[0], 0, 1),
  });
  // A neon sign on the edge of the house, its face towards the eye.
  const word = NEONS[Math.floor(random() * NEONS.length)];
  const tube = textDistance(word);
  const tall = 0.34;
  const half = (textWidth(word) * tall) / 2 + 0.12;
  const hue = /** @type {Colour} */ (side === -1 ? [1, 0.1, 0.07] : [0.12, 0.55, 1]);
  const neon = (/** @type {Hit} */ hit) => {
    const distance = tube((hit.local[0] + half - 0.12) / tall, (hit.local[1] + tall / 2) / tall) * tall;
    const border = Math.max(Math.abs(hit.local[0]) / (half - 0.03), Math.abs(hit.local[1]) / 0.26);
    const frame = Math.abs(border - 1) < 0.04 ? 1 : 0;
    const core = Math.exp(-((distance / 0.018) ** 2)) + 0.6 * frame;
    const glow = Math.exp(-distance / 0.06);
    return {
      albedo: [0.03, 0.03, 0.035],
      emission: add(scale(hue, 9 * core + 0.9 * glow), scale([1, 0.8, 0.8], core * 1.6)),
      warmth: 0.34 + 0.22 * Math.min(1, core) + 0.08 * glow,
    };
  };
  const at = /** @type {Vector} */ ([front - side * (half + 0.15), ground + 0.8, z + 1]);
  scene.box(at, [half, 0.29, 0.05], neon);
  lights.push({
    centre: add(at, [0, 0, -0.2]),
    extent: [half, 0.2, 0],
    size: 2 * half,
    power: scale(hue, 2.2),
    cone: (d) => 0.25 + 0.75 * clamp(d[2], 0, 1),
  });
}

/** @param {Scene} scene @param {() => number} random @param {number} x @param {number} seed */
function addFarHouse(scene, random, x, seed) {
  const tall = 9 + 6 * random();
  const colour = WALLS[Math.floor(random() * WALLS.length)];
  /** @type {Window[]} */
  const windows = [];
  for (let floor = 0; floor < 4; floor += 1) {
    for (let index = 0; index < 3; index += 1) {
      windows.push({
        left: 0.9 + index * 2.4,
        right: 2 + index * 2.4,
        bottom: 1 + floor * 2.8,
        top: 2.6 + floor * 2.8,
        kind: random() < 0.35 ? "lit" : "dark",
        seed: seed + index + floor * 3,
      });
    }
  }
  scene.box([x + 4, tall / 2, FAR + 6], [4, tall / 2, 3], (/** @type {Hit} */ hit) =>
    facade(hit, { windows, colour, plaster: true, wide: 8, tall, seed }),
  );
}

/** @type {Material} */
function lampPost() {
  return { albedo: [0.05, 0.055, 0.05], gloss: 0.04, roughness: 0.4, warmth: 0.27 };
}

/** @type {Material} */
function stone(hit) {
  const shade = 0.7 + 0.5 * fractal(hit.point[0] * 3, hit.point[1] * 3, hit.point[2] * 3 + 0.1, 3);
  return { albedo: [0.3 * shade, 0.28 * shade, 0.25 * shade], warmth: 0.34 };
}

/**
 * @param {Hit} hit
 * @param {{ windows: Window[], colour: Colour, plaster: boolean, wide: number, tall: number, seed: number }} house
 * @returns {Surface}
 */
function facade(hit, { windows, colour, plaster, wide, tall, seed }) {
  const [nx, ny] = hit.localNormal;
  if (Math.abs(ny) > 0.5) return { albedo: [0.1, 0.1, 0.1], warmth: 0.2 };
  const towardsStreet = Math.abs(nx) > 0.5;
  const u = towardsStreet ? hit.local[2] + wide / 2 : hit.local[0] + 4;
  const v = hit.local[1] + tall / 2;
  // The house at the end of the street shows its broad side, the others only a blank gable wall.
  const open = towardsStreet || wide === 8;
  const window = open ? windows.find((w) => u > w.left && u < w.right && v > w.bottom && v < w.top) : undefined;
  if (window !== undefined) {
    const [dx, dy, dz] = hit.localDirection;
    return windowSurface(window, u, v, towardsStreet ? dz : dx, dy, towardsStreet ? Math.abs(dx) : Math.abs(dz));
  }
  const frame =
    open && windows.some((w) => u > w.left - 0.13 && u < w.right + 0.13 && v > w.bottom - 0.02 && v < w.top + 0.2);
  const sun =
    0.31 + 0.05 * hash(seed, 4) + 0.09 * (fractal(u * 0.8, v * 0.8, seed + 0.3, 3) - 0.5) + 0.06 * (1 - v / tall);
  if (frame || v < 0.35) return { ...stone(hit), warmth: sun + 0.06 };
  if (plaster) {
    const shade = 0.65 + 0.5 * fractal(u * 1.5, v * 0.7, seed + 0.7, 4);
    const grain = 0.92 + 0.16 * noise(u * 30, v * 30);
    return { albedo: [0.42 * shade * grain, 0.37 * shade * grain, 0.3 * shade * grain], warmth: sun };
  }
  const { albedo, tilt, brick } = bricks(u, v, colour, seed);
  const tangent = towardsStreet ? /** @type {Vector} */ ([0, 0, 1]) : /** @type {Vector} */ ([1, 0, 0]);
  const normal = normalize(add(hit.normal, add(scale(tangent, tilt[0]), [0, tilt[1], 0])));
  return { albedo, normal, warmth: sun + 0.045 * brick };
}

/**
 * A window set back into the wall, with what lies behind it.
 * @param {Window} window @param {number} u @param {number} v where the ray meets the wall
 * @param {number} du @param {number} dv @param {number} dw the ray along, up and into the wall
 * @returns {Surface}
 */
function windowSurface({ left, right, bottom, top, kind, seed }, u, v, du, dv, dw) {
  const recess = kind === "shop" ? 0.1 : 0.16;
  const x = u + (du / dw) * recess;
  const y = v + (dv / dw) * recess;
  if (x < left || x > right || y < bottom || y > top) return { albedo: [0.22, 0.2, 0.18], warmth: 0.35 };
  const wide = right - left;
  const tall = top - bottom;
  const fromLeft = x - left;
  const fromBottom = y - bottom;
  const edge = Math.min(fromLeft, wide - fromLeft, fromBottom, tall - fromBottom);
  if (kind === "door") {
    if (fromBottom > tall - 0.4 && edge > 0.06)
      return { albedo: [0.02, 0.02, 0.02], emission: [0.5, 0.33, 0.15], warmth: 0.4 };
    const panel = edge > 0.12 && Math.abs(fromLeft - wide / 2) > 0.05 && Math.abs(fromBottom - 0.95) > 0.08 ? 0.7 : 1;
    const hues = /** @type {Colour[]} */ ([
      [0.1, 0.02, 0.02],
      [0.02, 0.07, 0.05],
      [0.02, 0.04, 0.1],
    ]);
    return {
      albedo: scale(hues[seed % 3], panel),
      gloss: 0.04,
      roughness: 0.25,
      warmth: 0.33 - 0.03 * (panel === 1 ? 0 : 1),
    };
  }
  const pane = kind === "shop" ? wide / 3 : wide / 2;
  const bar =
    Math.abs((fromLeft % pane) - pane / 2) > pane / 2 - 0.025 ||
    (kind !== "shop" && Math.abs(fromBottom - tall * 0.55) < 0.03);
  if (edge < 0.06 || bar) return { albedo: kind === "shop" ? [0.03, 0.05, 0.04] : [0.42, 0.42, 0.4], warmth: 0.4 };
  if (kind === "dark") {
    const curtain = hash(seed, 3) < 0.4 && fromLeft % (wide - 0.25) < 0.25 ? 0.06 : 0.008;
    return {
      albedo: [curtain, curtain, curtain],
      gloss: 0.06,
      roughness: 0.015,
      warmth: 0.17 + 0.06 * hash(seed) + 0.05 * (fromBottom / tall),
    };
  }
  if (kind === "shop") return shopInterior(x - left, y - bottom, du / dw, dv / dw, wide, tall, seed);
  // A lit room: curtains, then a wall two metres behind with the light coming from above.
  const tint = hash(seed, 1);
  const warm = /** @type {Colour} */ ([1, lerp(0.5, 0.76, tint), lerp(0.18, 0.46, tint)]);
  const side = Math.min(fromLeft, wide - fromLeft) / wide;
  const drawn = hash(seed, 2) * 0.35 + 0.08;
  if (side < drawn) {
    const folds = 0.6 + 0.4 * Math.sin(fromLeft * 60 + 2 * Math.sin(fromBottom * 2));
    return {
      albedo: [0.1, 0.08, 0.06],
      emission: scale(warm, 0.42 * folds),
      gloss: 0.05,
      roughness: 0.02,
      warmth: 0.54,
    };
  }
  const bx = x + (du / dw) * 2;
  const by = fromBottom + (dv / dw) * 2;
  const ceiling = by > tall + 0.35 ? 1.6 : 1;
  const frame = Math.abs((bx % 1.3) - 0.65) < 0.24 && Math.abs(by - 0.9) < 0.2 ? 0.45 : 1;
  const light = lerp(0.75, 1.3, clamp(by / tall, 0, 1)) * ceiling * frame;
  return {
    albedo: [0.02, 0.02, 0.02],
    emission: scale(warm, light),
    gloss: 0.05,
    roughness: 0.02,
    warmth: 0.5 + 0.06 * (fromBottom / tall),
  };
}

/**
 * Shelves with goods a little behind the pane.
 * @param {number} x
 * @param {number} y
 * @param {number} dx
 * @param {number} dy the ray's slopes
 * @param {number} wide
 * @param {number} tall
 * @param {number} seed
 * @returns {Surface}
 */
function shopInterior(x, y, dx, dy, wide, tall, seed) {
  const depth = 0.9;
  const bx = x + dx * depth;
  const by = y + dy * depth;
  const shelf = tall / 3;
  const row = Math.floor(by / shelf);
  const inRow = by - row * shelf;
  const slot = Math.floor(bx / 0.3);
  const inSlot = bx - slot * 0.3 - 0.15;
  const size = 0.2 + 0.3 * hash(slot, row, seed);
  const shape = 0.07 + 0.05 * hash(slot, row, seed + 1);
  const light = 0.65 + 0.6 * smoothstep(0, tall, by);
  let colour = /** @type {Colour} */ ([1.2, 0.82, 0.42]);
  if (inRow < 0.045) colour = [0.35, 0.2, 0.09];
  else if (inRow < size + 0.04 && Math.abs(inSlot) < shape * (1 - 0.5 * (inRow / size) ** 2)) {
    const hues = /** @type {Colour[]} */ ([
      [1.1, 0.05, 0.04],
      [0.9, 0.62, 0.16],
      [0.15, 0.4, 0.3],
      [0.9, 0.85, 0.75],
      [0.16, 0.22, 0.5],
      [0.75, 0.3, 0.08],
    ]);
    const hue = hues[Math.floor(hash(slot, row, seed + 2) * hues.length)];
    colour = scale(hue, 0.7 + 0.5 * Math.cos((inSlot / shape) * 1.3));
  }
  const warmth = 0.43 + 0.05 * smoothstep(0, tall, y) + 0.02 * noise(x * 2, y * 2) - 0.02 * Math.abs(x / wide - 0.5);
  return { albedo: [0.02, 0.02, 0.02], emission: scale(colour, 0.5 * light), gloss: 0.05, roughness: 0.02, warmth };
}

/**
 * @param {Hit} hit
 * @param {number} wet
 * @param {number} seed
 * @param {{ foot: Vector, heat: number }[]} cars
 * @returns {Surface}
 */
function road(hit, wet, seed, cars) {
  const [x, , z] = hit.point;
  const grain = noise(x * 60, z * 60);
  const patch = fractal(x * 0.55 + seed, z * 0.3, 0, 4);
  const puddle = smoothstep(1 - wet - 0.04, 1 - wet + 0.06, patch);
  const worn = 0.6 + 0.8 * fractal(x * 1.5, z * 0.4, 0, 3);
  let albedo = scale([0.045, 0.045, 0.048], worn * (0.6 + 0.8 * grain) * lerp(1, 0.5, puddle));
  const dash = Math.abs(x) < 0.07 && z % 6 < 2.6 && fractal(x * 9, z * 9, 0, 2) > 0.3;
  const edge = Math.abs(Math.abs(x) - ROAD + 0.2) < 0.05;
  if (dash || edge) albedo = scale([0.4, 0.39, 0.36], 0.6 + 0.5 * grain);
  const ripple = lerp(0.035, 0.006, puddle);
  const slopeX = (noise(x * 23, z * 23) - 0.5) * ripple * 2 + (noise(x * 3 + 9, z * 2) - 0.5) * 0.01;
  const slopeZ = (noise(x * 23 + 40, z * 23) - 0.5) * ripple * 2 + (noise(x * 2, z * 3 + 9) - 0.5) * 0.01;
  let warmth = 0.25 + 0.07 * (worn - 0.9) - 0.05 * puddle + 0.02 * (grain - 0.5) + (dash || edge ? -0.02 : 0);
  for (const { foot, heat } of cars) {
    const reach = ((x - foot[0]) / 1.1) ** 2 + ((z - foot[2] - 0.9) / 1.8) ** 2;
    warmth += 0.13 * heat * Math.exp(-reach);
  }
  return {
    albedo,
    gloss: lerp(0.022, 0.035, puddle),
    roughness: lerp(0.14, 0.035, puddle),
    normal: normalize([slopeX, 1, slopeZ]),
    warmth,
  };
}

/** @param {Hit} hit @param {number} side @returns {Surface} */
function pavement(hit, side) {
  const [x, , z] = hit.point;
  const inset = side * x - ROAD;
  const kerb = inset < 0.18;
  const size = kerb ? 0.9 : 0.6;
  const row = kerb ? 0 : Math.floor(inset / 0.6);
  const along = z + (row % 2) * 0.3;
  const slab = Math.floor(along / size);
  const jointZ = Math.min(along - slab * size, (slab + 1) * size - along);
  const jointX = kerb ? 1 : Math.min(inset - row * 0.6, (row + 1) * 0.6 - inset);
  const joint = 1 - smoothstep(0.006, 0.02, Math.min(jointX, jointZ));
  const shade =
    (0.75 + 0.5 * hash(slab, row, side + 3)) *
    (0.8 + 0.4 * fractal(x * 4, z * 4, 0, 3)) *
    (kerb ? 1.4 : 1) *
    (1 - 0.7 * joint);
  const damp = smoothstep(0.5, 0.7, fractal(x * 0.8 + 31, z * 0.5, 0, 3));
  return {
    albedo: scale([0.15, 0.145, 0.135], shade * (1 - 0.45 * damp)),
    gloss: 0.012 + 0.02 * damp,
    roughness: lerp(0.25, 0.09, damp),
    warmth: 0.31 + 0.03 * (hash(slab, row, side + 3) - 0.5) - 0.05 * joint - 0.04 * damp,
  };
}

/** A round letter box. @param {Scene} scene @param {Vector} foot @param {number} seed */
function addPillarBox(scene, foot, seed) {
  /** @type {[number, number][]} */
  const profile = [
    [0.27, 0],
    [0.27, 0.14],
    [0.235, 0.16],
    [0.235, 1.28],
    [0.27, 1.31],
    [0.27, 1.38],
    [0.22, 1.47],
    [0.12, 1.53],
    [0, 1.55],
  ];
  scene.lathe(
    foot,
    profile,
    (/** @type {Hit} */ hit) => {
      const y = hit.point[1] - foot[1];
      const turn = Math.abs(hit.local[0] - 0.75);
      if (y < 0.14) return { albedo: [0.02, 0.02, 0.02], warmth: 0.27 };
      if (y > 1.1 && y < 1.16 && turn < 0.09) return { albedo: [0.01, 0.01, 0.01], warmth: 0.3 };
      if (y > 0.72 && y < 0.95 && turn < 0.06) return { albedo: [0.6, 0.58, 0.5], warmth: 0.27 };
      const worn = 0.85 + 0.3 * noise(hit.point[0] * 12, y * 12, hit.point[2] * 12 + seed);
      return { albedo: [0.5 * worn, 0.018, 0.014], gloss: 0.045, roughness: 0.18, warmth: 0.275 };
    },
    40,
  );
}

/**
 * @param {Colour} paint @param {{ foot: Vector, heat: number }} car @param {number} seed @param {boolean} driving
 */
function carMaterials(paint, { foot, heat }, seed, driving) {
  const away = foot[0] > 0 ? 1 : -1;
  const letters = textDistance(`S${100 + (Math.abs(seed * 37) % 900)} KD`);
  /** @param {Hit} hit */
  const front = (hit) => away * (hit.point[2] - foot[2]);
  return {
    body: (/** @type {Hit} */ hit) => {
      const engine = smoothstep(0.5, 1.4, front(hit)) * heat;
      const door = Math.abs(front(hit) - 0.15) < 0.012 || Math.abs(front(hit) + 0.85) < 0.012;
      return {
        albedo: door ? [0.01, 0.01, 0.01] : paint,
        gloss: 0.05,
        roughness: 0.03,
        warmth: 0.25 + 0.3 * engine * (0.5 + 0.5 * hit.normal[1]) + 0.08 * heat * smoothstep(0.6, 0.2, hit.point[1]),
      };
    },
    cabin: (/** @type {Hit} */ hit) => {
      const [turn, level] = hit.local;
      const corner = Math.min(
        ...[0.125, 0.375, 0.625, 0.875, 0, 0.5].map(
          (p, i) => Math.abs(((turn - p + 1.5) % 1) - 0.5) - (i < 4 ? 0.022 : 0.006),
        ),
      );
      const glass = level > 0.06 && level < 0.52 && corner > 0;
      return glass
        ? { albedo: [0.004, 0.004, 0.005], gloss: 0.07, roughness: 0.01, warmth: 0.17 + 0.1 * heat }
        : { albedo: paint, gloss: 0.05, roughness: 0.03, warmth: 0.22 + 0.03 * heat };
    },
    tyre: (/** @type {Hit} */ hit) => {
      const ring = hit.local[1];
      const spoke = Math.sin(hit.local[0] * 10 * Math.PI) > -0.2;
      return ring < 0.4 && spoke
        ? { albedo: [0.3, 0.3, 0.31], gloss: 0.1, roughness: 0.2, warmth: 0.33 + 0.28 * heat }
        : { albedo: [0.012, 0.012, 0.012], warmth: 0.29 + (ring < 0.4 ? 0.3 : 0.14) * heat };
    },
    tail: () => ({
      albedo: [0.3, 0.01, 0.01],
      emission: driving ? [3, 0.05, 0.03] : [0.05, 0.001, 0.001],
      gloss: 0.05,
      roughness: 0.05,
      warmth: 0.29,
    }),
    head: () => ({
      albedo: [0.4, 0.4, 0.4],
      emission: driving ? [70, 68, 60] : [0, 0, 0],
      gloss: 0.08,
      roughness: 0.05,
      warmth: driving ? 0.8 : 0.3,
    }),
    plate: (/** @type {Hit} */ hit) => {
      const ink = letters((hit.local[0] + 0.2) / 0.062, (hit.local[1] + 0.031) / 0.062) < 0.09;
      return { albedo: ink ? [0.02, 0.02, 0.02] : [0.55, 0.55, 0.45], warmth: 0.26 };
    },
    trim: () => ({ albedo: [0.01, 0.01, 0.01], warmth: 0.24 + 0.05 * heat }),
    exhaust: () => ({ albedo: [0.02, 0.02, 0.02], warmth: 0.35 + 0.5 * heat }),
  };
}

/** Dark clothes: the wearers vanish in the visible picture. @param {() => number} random @param {number} seed */
function clothes(random, seed) {
  const dark = () => /** @type {Colour} */ (scale([0.5 + random(), 0.5 + random(), 0.6 + random()], 0.014));
  const [jacket, trousers] = [dark(), dark()];
  const thick = random();
  /** @param {Hit} hit @param {number} size */
  const folds = (hit, size) =>
    fractal(hit.point[0] * size, hit.point[1] * size * 0.7, hit.point[2] * size + seed, 3) - 0.5;
  const cloth = (/** @type {Colour} */ colour, /** @type {number} */ warmth) => (/** @type {Hit} */ hit) => ({
    albedo: scale(colour, 1 + 0.8 * folds(hit, 14)),
    warmth: warmth + 0.16 * folds(hit, 7),
  });
  return {
    skin: () => ({ albedo: [0.11, 0.07, 0.05], warmth: 0.96 }),
    hair: () => ({ albedo: [0.02, 0.014, 0.01], warmth: 0.76 }),
    jacket: cloth(jacket, lerp(0.76, 0.64, thick)),
    trousers: cloth(trousers, 0.72),
    shoes: () => ({ albedo: [0.012, 0.01, 0.01], warmth: 0.5 }),
    bag: cloth([0.03, 0.02, 0.015], 0.36),
  };
}

/** @param {Vector} d @returns {Colour} */
function nightSky(d) {
  const glow = Math.exp(-5 * Math.max(0, d[1]));
  const cloud = fractal((d[0] / (d[1] + 0.15)) * 1.3, (d[2] / (d[1] + 0.15)) * 1.3, 0, 4);
  return add(
    scale([0.0035, 0.0045, 0.0085], 0.8 + 0.7 * cloud),
    scale([0.03, 0.021, 0.015], glow * (0.6 + 0.7 * cloud)),
  );
}

/**
 * @param {ReturnType<typeof buildStreet>} street @param {(x: number, y: number) => Vector} ray
 * @param {number} seed @param {number} width @param {number} height
 */
function renderVisible({ scene, lights, eye }, ray, seed, width, height) {
  const result = picture(width, height, 3);
  const grid = 3;
  for (let y = 0; y < height; y += 1) {
    const random = randomStream(seed * 7919 + y);
    const normal = normalStream(random);
    for (let x = 0; x < width; x += 1) {
      const at = (y * width + x) * 3;
      for (let s = 0; s < grid * grid; s += 1) {
        const direction = ray(x + ((s % grid) + random()) / grid, y + (Math.floor(s / grid) + random()) / grid);
        const light = radiance(scene, lights, eye, direction, random, normal, 0);
        // A cap for single samples: bulbs stay bright enough to glow, and none leaves a jagged edge.
        for (let c = 0; c < 3; c += 1) result.data[at + c] += Math.min(light[c], 14) / (grid * grid);
      }
    }
  }
  const exposed = sensorNoise(
    bloom(withoutSparks(result), 0.16),
    { shot: 0.018, read: 0.0022 },
    normalStream(randomStream(seed + 77)),
  );
  return encode(exposed, (v) => encodeSrgb(filmic(Math.max(0, v) * 1.5)));
}

/**
 * @param {Scene} scene @param {Light[]} lights @param {Vector} origin @param {Vector} direction
 * @param {() => number} random @param {() => number} normal @param {number} depth
 * @returns {Colour}
 */
function radiance(scene, lights, origin, direction, random, normal, depth) {
  const hit = scene.trace(origin, direction);
  const reach = hit === undefined ? 90 : hit.distance;
  const haze = depth === 0 ? scattered(lights, origin, direction, reach) : /** @type {Colour} */ ([0, 0, 0]);
  if (hit === undefined) return add(nightSky(direction), haze);
  const surface = /** @type {Material} */ (hit.material)(hit);
  const n = surface.normal ?? hit.normal;
  const flat = hit.normal;
  const point = add(hit.point, scale(flat, 1e-3));
  const { gloss = 0, roughness = 1, albedo } = surface;
  const facing = clamp(-dot(n, direction), 0.02, 1);
  const fresnel = gloss + (1 - gloss) * (1 - facing) ** 5 * (1 - 0.7 * roughness);
  const specular = gloss > 0 ? fresnel : 0;
  let out = add(
    surface.emission ?? [0, 0, 0],
    directLight(scene, lights, point, n, direction, albedo, specular, roughness, random),
  );
  // What comes from the sky and from the walls opposite.
  const up = 0.5 + 0.5 * n[1];
  const occlusion = scene.blocked(point, normalize(add(n, [normal() * 0.5, normal() * 0.5, normal() * 0.5])), 1.2)
    ? 0.25
    : 1;
  out = add(
    out,
    /** @type {Vector} */ (
      albedo.map((a, c) => a * occlusion * lerp([0.016, 0.012, 0.01][c], [0.013, 0.014, 0.02][c], up))
    ),
  );
  if (specular > 0.004 && depth === 0) {
    const spread = roughness * 0.4;
    const facet = normalize(add(n, [normal() * spread, normal() * spread, normal() * spread]));
    const mirrored = normalize(reflect(direction, facet));
    if (dot(mirrored, flat) > 0) {
      const seen = radiance(scene, lights, point, mirrored, random, normal, 1);
      // Bulbs are reflected by the light samples above; here they would only be noise.
      for (let c = 0; c < 3; c += 1) out[c] += specular * Math.min(seen[c], 2.5);
    }
  }
  const clear = Math.exp(-0.004 * reach);
  return add(scale(out, clear), haze);
}

/**
 * One light chosen by how much it could add, tested for shadow.
 * @param {Scene} scene @param {Light[]} lights @param {Vector} point @param {Vector} n @param {Vector} direction
 * @param {Colour} albedo @param {number} specular @param {number} roughness @param {() => number} random
 * @returns {Colour}
 */
function directLight(scene, lights, point, n, direction, albedo, specular, roughness, random) {
  let total = 0;
  let chosen = -1;
  const target = /** @type {Vector} */ ([0, 0, 0]);
  const share = /** @type {Colour} */ ([0, 0, 0]);
  let weight = 0;
  for (const { centre, extent, power, cone, size } of lights) {
    const x = centre[0] + extent[0] * (2 * random() - 1) - point[0];
    const y = centre[1] + extent[1] * (2 * random() - 1) - point[1];
    const z = centre[2] + extent[2] * (2 * random() - 1) - point[2];
    const distance = Math.sqrt(x * x + y * y + z * z);
    const cosine = (x * n[0] + y * n[1] + z * n[2]) / distance;
    if (cosine <= 0) continue;
    const to = /** @type {Vector} */ ([x / distance, y / distance, z / distance]);
    const falloff = (cone(to) * cosine) / (distance * distance + 0.05);
    if (falloff < 1e-7) continue;
    let mirror = 0;
    if (specular > 0 && size < 0.5) {
      const hx = to[0] - direction[0];
      const hy = to[1] - direction[1];
      const hz = to[2] - direction[2];
      const cosHalf = clamp((n[0] * hx + n[1] * hy + n[2] * hz) / Math.sqrt(hx * hx + hy * hy + hz * hz), 0, 1);
      const a2 = Math.max(roughness, 0.1) ** 2;
      const d = cosHalf * cosHalf * (a2 - 1) + 1;
      mirror = Math.min(1.2, (specular * a2) / (Math.PI * d * d) / (4 * Math.max(0.15, cosine)));
    }
    const r = power[0] * falloff * (albedo[0] / Math.PI + mirror);
    const g = power[1] * falloff * (albedo[1] / Math.PI + mirror);
    const b = power[2] * falloff * (albedo[2] / Math.PI + mirror);
    total += r + g + b;
    if (random() * total < r + g + b) {
      chosen = distance;
      weight = r + g + b;
      for (let c = 0; c < 3; c += 1) target[c] = to[c];
      share[0] = r;
      share[1] = g;
      share[2] = b;
    }
  }
  if (chosen < 0 || scene.blocked(point, target, chosen - 0.05)) return [0, 0, 0];
  return scale(share, total / weight);
}

/**
 * Light scattered by thin haze along a ray: the integral of 1/d² has a closed form.
 * @param {Light[]} lights @param {Vector} origin @param {Vector} direction @param {number} reach
 * @returns {Colour}
 */
function scattered(lights, origin, direction, reach) {
  const sum = /** @type {Colour} */ ([0, 0, 0]);
  for (const light of lights) {
    const offset = subtract(light.centre, origin);
    const along = dot(offset, direction);
    const across = Math.max(0.12, Math.sqrt(Math.max(0, dot(offset, offset) - along * along)));
    const amount = (0.0006 / across) * (Math.atan((reach - along) / across) + Math.atan(along / across));
    for (let c = 0; c < 3; c += 1) sum[c] += amount * light.power[c];
  }
  return sum;
}

/**
 * @param {ReturnType<typeof buildStreet>} street @param {(x: number, y: number) => Vector} ray
 * @param {number} seed @param {number} width @param {number} height
 */
function renderInfrared({ scene, eye }, ray, seed, width, height) {
  const result = picture(width, height, 1);
  const grid = 2;
  for (let y = 0; y < height; y += 1) {
    const random = randomStream(seed * 104729 + y);
    for (let x = 0; x < width; x += 1) {
      let sum = 0;
      for (let s = 0; s < grid * grid; s += 1) {
        const direction = ray(x + ((s % grid) + random()) / grid, y + (Math.floor(s / grid) + random()) / grid);
        sum += thermal(scene, eye, direction);
      }
      result.data[y * width + x] = sum / (grid * grid);
    }
  }
  const normal = normalStream(randomStream(seed + 99));
  const optics = gaussianBlur(result, (0.75 * width) / 640);
  const data = optics.data.map((v, i) => v + 0.006 * normal() + 0.004 * (hash(i % width, 5, seed) - 0.5));
  return encode({ ...optics, data }, (v) => clamp((v - 0.06) / 0.84, 0, 1) ** 0.95);
}

/** @param {Scene} scene @param {Vector} origin @param {Vector} direction @returns {number} */
function thermal(scene, origin, direction) {
  const hit = scene.trace(origin, direction);
  if (hit === undefined) {
    const rise = Math.max(0, direction[1]);
    const cloud = fractal((direction[0] / (rise + 0.15)) * 1.1, (direction[2] / (rise + 0.15)) * 1.1, 0, 4);
    return 0.05 + 0.14 * Math.exp(-4 * rise) + 0.06 * cloud;
  }
  const { warmth = 0.3 } = /** @type {Material} */ (hit.material)(hit);
  // Surfaces emit less at grazing angles, where they mirror their cooler surroundings.
  const facing = clamp(-dot(hit.normal, direction), 0, 1);
  return lerp(0.16, warmth, 1 - 0.45 * (1 - facing) ** 4);
}

/**
 * @param {{ foot: Vector, height: number }} person
 * @param {{ from: Vector, to: Vector, fieldOfView: number, width: number, height: number }} view
 */
function project({ foot, height: tall }, { from, to, fieldOfView, width, height }) {
  const forward = normalize(subtract(to, from));
  const right = normalize([forward[2], 0, -forward[0]]);
  const up = /** @type {Vector} */ ([
    forward[1] * right[2] * -1,
    forward[2] * right[0] - forward[0] * right[2],
    forward[1] * right[0] * -1,
  ]);
  const half = Math.tan((fieldOfView * Math.PI) / 360);
  const at = (/** @type {Vector} */ p) => {
    const offset = subtract(p, from);
    const depth = dot(offset, forward) * half;
    return [(width / 2) * (1 + dot(offset, right) / depth), height / 2 - ((width / 2) * dot(offset, up)) / depth];
  };
  const corners = [-0.3, 0.3].flatMap((x) => [0, tall].map((y) => at(add(foot, [x, y, 0]))));
  const [xs, ys] = [corners.map((c) => c[0]), corners.map((c) => c[1])];
  return { left: Math.min(...xs), top: Math.min(...ys), right: Math.max(...xs), bottom: Math.max(...ys) };
}
