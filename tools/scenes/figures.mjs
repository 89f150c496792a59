/**
 * Things that stand in the streets: people, cars, lamps, trees. Each adds its shapes to a scene; the caller gives
 * the materials.
 */
import { lerp } from "./noise.mjs";
import { add, scale } from "./tracer.mjs";

/** @typedef {import("./tracer.mjs").Vector} Vector @typedef {import("./tracer.mjs").Scene} Scene */

/**
 * A person in mid-stride.
 * @param {Scene} scene
 * @param {object} pose
 * @param {Vector} pose.foot where they stand
 * @param {number} pose.yaw direction they walk to, radians from +z towards +x
 * @param {number} pose.height metres
 * @param {number} pose.stride -1 to 1, which leg is in front and how far
 * @param {boolean} pose.coat a coat down to the knees
 * @param {boolean} pose.bag a bag in the right hand
 * @param {{ skin: unknown, hair: unknown, jacket: unknown, trousers: unknown, shoes: unknown, bag: unknown }} materials
 */
export function addPerson(scene, { foot, yaw, height, stride, coat, bag }, materials) {
  const k = height / 1.75;
  const ahead = /** @type {Vector} */ ([Math.sin(yaw), 0, Math.cos(yaw)]);
  const aside = /** @type {Vector} */ ([Math.cos(yaw), 0, -Math.sin(yaw)]);
  /** @param {number} x to the person's side @param {number} y up @param {number} z ahead @returns {Vector} */
  const at = (x, y, z) => add(foot, add(scale(aside, x * k), add([0, y * k, 0], scale(ahead, z * k))));
  const limb = (
    /** @type {Vector} */ a,
    /** @type {Vector} */ b,
    /** @type {number} */ ra,
    /** @type {number} */ rb,
    /** @type {unknown} */ m,
  ) => scene.cone(a, b, ra * k, rb * k, m);
  const { skin, hair, jacket, trousers, shoes } = materials;

  limb(at(0, 1.56, 0.02), at(0, 1.63, 0.01), 0.078, 0.092, skin);
  limb(at(0, 1.655, -0.02), at(0, 1.62, -0.035), 0.096, 0.09, hair);
  limb(at(0, 1.4, 0), at(0, 1.52, 0.01), 0.06, 0.052, skin);
  limb(at(-0.145, 1.4, 0), at(0.145, 1.4, 0), 0.082, 0.082, jacket);
  for (const side of [-0.07, 0.07]) {
    limb(at(side, 1.34, 0.01), at(side * 0.8, 1.08, 0), 0.125, 0.105, jacket);
    limb(at(side * 0.8, 1.1, 0), at(side, 0.93, 0), 0.107, 0.118, coat ? jacket : trousers);
  }
  limb(at(0, 1.46, -0.01), at(0, 1.38, 0), 0.085, 0.13, jacket);
  if (coat) {
    for (const [x, z] of [
      [-0.07, 0.06 * stride],
      [0.07, -0.06 * stride],
    ])
      limb(at(x, 0.95, 0), at(x * 1.2, 0.58, z), 0.13, 0.135, jacket);
  }
  for (const side of [-1, 1]) {
    const swing = side * stride * 0.42;
    const hip = at(0.085 * side, 0.92, 0);
    const knee = at(0.09 * side, 0.5, 0.42 * Math.sin(swing) + 0.03);
    const lift = swing < 0 ? 0.1 * Math.abs(stride) : 0;
    const ankle = at(0.09 * side, 0.1 + lift, 0.82 * Math.sin(swing) - (swing < 0 ? 0.06 : 0));
    limb(hip, knee, 0.095, 0.066, trousers);
    limb(knee, ankle, 0.066, 0.05, trousers);
    const toe = at(0.1 * side, 0.045 + lift * 0.4, 0.82 * Math.sin(swing) + 0.13);
    limb(ankle, toe, 0.05, 0.042, shoes);
    const shoulder = at(0.215 * side, 1.395, 0);
    const elbow = at(0.265 * side, 1.13, -0.2 * Math.sin(swing) - 0.02);
    const hand = at(0.25 * side, 0.91, -0.42 * Math.sin(swing) + 0.06);
    limb(shoulder, elbow, 0.066, 0.052, jacket);
    limb(elbow, hand, 0.052, 0.04, jacket);
    limb(hand, add(hand, [0, -0.07 * k, 0]), 0.038, 0.036, skin);
    if (bag && side === 1) scene.box(add(hand, [0, -0.28 * k, 0]), [0.06, 0.17, 0.15], materials.bag, yaw);
  }
}

/**
 * A point on a rounded rectangle.
 * @param {number} u turns from +x towards +z
 * @param {number} halfWide
 * @param {number} halfLong
 * @param {number} power 2: an ellipse; more: squarer
 */
function roundedRectangle(u, halfWide, halfLong, power) {
  const angle = 2 * Math.PI * u;
  const round = (/** @type {number} */ v) => Math.sign(v) * Math.abs(v) ** (2 / power);
  return [halfWide * round(Math.cos(angle)), halfLong * round(Math.sin(angle))];
}

/**
 * A hatchback, 4.1 m long.
 * @param {Scene} scene
 * @param {Vector} foot middle of the car on the ground
 * @param {number} yaw direction it points to
 * @param {{ body: unknown, cabin: unknown, tyre: unknown, tail: unknown, head: unknown, plate: unknown, trim:
 *   unknown, exhaust: unknown }} materials
 *   `body` and `cabin` get the local coordinates (angle about the vertical in turns from the right side towards the
 * front, height 0 to 1)
 */
export function addCar(scene, foot, yaw, materials) {
  const c = Math.cos(yaw);
  const s = Math.sin(yaw);
  /** @param {number} x @param {number} y @param {number} z @returns {Vector} */
  const at = (x, y, z) => [foot[0] + c * x + s * z, foot[1] + y, foot[2] - s * x + c * z];
  /** @type {[number, number, number, number][]} height, half width, rear, front */
  const bodyRings = [
    [0.2, 0.78, 1.95, 2.0],
    [0.3, 0.84, 2.02, 2.06],
    [0.48, 0.875, 2.05, 2.08],
    [0.62, 0.88, 2.04, 2.05],
    [0.78, 0.855, 2.0, 1.95],
    [0.86, 0.81, 1.95, 1.78],
    [0.9, 0.74, 1.85, 1.5],
    [0.93, 0.5, 1.5, 1.0],
    [0.94, 0.0, 0.0, 0.0],
  ];
  /** @type {[number, number, number, number][]} */
  const cabinRings = [
    [0.86, 0.79, 1.93, 1.12],
    [1.0, 0.75, 1.84, 0.82],
    [1.15, 0.7, 1.74, 0.52],
    [1.3, 0.64, 1.62, 0.22],
    [1.39, 0.58, 1.5, 0.05],
    [1.435, 0.48, 1.3, -0.12],
    [1.45, 0.25, 0.9, -0.3],
    [1.455, 0, 0.6, -0.6],
  ];
  const loft = (
    /** @type {[number, number, number, number][]} */ rings,
    /** @type {number} */ power,
    /** @type {unknown} */ material,
  ) => {
    const last = rings.length - 1;
    scene.surface(
      (u, v) => {
        const position = Math.min(last - 1e-9, Math.max(0, v * last));
        const k = Math.floor(position);
        const t = position - k;
        const [y, half, back, front] = rings[k].map((value, i) => lerp(value, rings[k + 1][i], t));
        const middle = (front - back) / 2;
        const [x, z] = roundedRectangle(u, half, (front + back) / 2, power);
        return at(x, y, z + middle);
      },
      40,
      last,
      material,
    );
  };
  loft(bodyRings, 5, materials.body);
  loft(cabinRings, 5, materials.cabin);
  for (const side of [-1, 1]) {
    for (const z of [-1.28, 1.27]) {
      const rim = [
        [0, 0],
        [0.19, 0.0],
        [0.2, 0.02],
        [0.3, 0.025],
        [0.325, -0.02],
        [0.325, -0.2],
      ];
      scene.surface(
        (u, v) => {
          const position = Math.min(rim.length - 1 - 1e-9, Math.max(0, v * (rim.length - 1)));
          const k = Math.floor(position);
          const radius = lerp(rim[k][0], rim[k + 1][0], position - k);
          const out = lerp(rim[k][1], rim[k + 1][1], position - k);
          return at(
            side * (0.87 + out),
            0.325 + radius * Math.sin(2 * Math.PI * u),
            z + radius * Math.cos(2 * Math.PI * u),
          );
        },
        24,
        rim.length - 1,
        materials.tyre,
      );
      scene.surface(
        (u, v) =>
          at(side * 0.884, 0.34 + 0.39 * v * Math.sin(2 * Math.PI * u), z + 0.39 * v * Math.cos(2 * Math.PI * u)),
        24,
        1,
        materials.trim,
      );
    }
    scene.cone(at(side * 0.6, 0.72, -1.95), at(side * 0.72, 0.72, -1.9), 0.085, 0.085, materials.tail);
    scene.cone(at(side * 0.55, 0.64, 1.97), at(side * 0.7, 0.65, 1.91), 0.075, 0.075, materials.head);
    scene.cone(at(side * 0.88, 0.96, 0.72), at(side * 0.98, 0.97, 0.7), 0.05, 0.065, materials.trim);
  }
  scene.box(at(0, 0.55, -2.055), [0.27, 0.06, 0.012], materials.plate, yaw);
  scene.box(at(0, 0.32, -2.03), [0.7, 0.05, 0.03], materials.trim, yaw);
  scene.cone(at(0.45, 0.25, -1.9), at(0.45, 0.25, -2.06), 0.035, 0.035, materials.exhaust);
}

/**
 * A street lamp with an arm over the road.
 * @param {Scene} scene @param {Vector} foot @param {number} reach length of the arm, negative to the left
 * @param {{ post: unknown, bulb: unknown }} materials
 * @returns {Vector} where the light is
 */
export function addLamp(scene, foot, reach, { post, bulb }) {
  const top = add(foot, [0, 5.2, 0]);
  const head = add(foot, [reach, 5.55, 0]);
  scene.cone(foot, add(foot, [0, 1.1, 0]), 0.11, 0.08, post);
  scene.cone(add(foot, [0, 1, 0]), top, 0.06, 0.045, post);
  scene.cone(top, head, 0.04, 0.03, post);
  scene.cone(add(head, [-0.16, 0.03, 0]), add(head, [0.16, 0.03, 0]), 0.1, 0.1, post);
  const light = add(head, [0, -0.1, 0]);
  scene.sphere(light, 0.1, bulb, false);
  return light;
}

/**
 * A bare tree.
 * @param {Scene} scene @param {Vector} foot @param {number} height @param {() => number} random @param {unknown} bark
 */
export function addTree(scene, foot, height, random, bark) {
  const grow = (
    /** @type {Vector} */ from,
    /** @type {Vector} */ direction,
    /** @type {number} */ length,
    /** @type {number} */ radius,
    /** @type {number} */ depth,
  ) => {
    const to = add(from, scale(direction, length));
    scene.cone(from, to, radius, radius * 0.72, bark);
    if (depth === 0) return;
    const branches = depth > 3 ? 3 : 2;
    for (let i = 0; i < branches; i += 1) {
      const turn = (2 * Math.PI * (i + 0.7 * random())) / branches;
      const spread = 0.35 + 0.35 * random();
      const x = direction[0] + spread * Math.cos(turn);
      const z = direction[2] + spread * Math.sin(turn);
      const y = direction[1] + 0.15;
      const size = Math.hypot(x, y, z);
      grow(to, [x / size, y / size, z / size], length * (0.66 + 0.16 * random()), radius * 0.66, depth - 1);
    }
  };
  grow(foot, [0, 1, 0], height * 0.34, height * 0.022, 6);
}
