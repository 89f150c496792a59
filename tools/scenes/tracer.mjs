/**
 * A small ray tracer: spheres, boxes, round cones and triangles in a bounding volume hierarchy.
 * Metres; x right, y up, z away from the camera.
 */

/**
 * @typedef {[number, number, number]} Vector
 *
 * @typedef {object} Hit what a ray met; one object is reused by all calls, so copy what must outlive the next ray
 * @property {number} distance
 * @property {Vector} point
 * @property {Vector} normal unit length, towards the ray's origin
 * @property {Vector} direction of the ray
 * @property {Vector} local the point in the shape's own axes (boxes: from the centre; meshes: u, v, 0)
 * @property {Vector} localDirection
 * @property {Vector} localNormal
 * @property {unknown} material as given to the shape
 */

const SPHERE = 0;
const BOX = 1;
const CONE = 2;
const TRIANGLE = 3;

/** @param {Vector} a @param {Vector} b @returns {Vector} */
export const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
/** @param {Vector} a @param {Vector} b @returns {Vector} */
export const subtract = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
/** @param {Vector} a @param {number} s @returns {Vector} */
export const scale = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
/** @param {Vector} a @param {Vector} b @returns {number} */
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
/** @param {Vector} a @param {Vector} b @returns {Vector} */
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
/** @param {Vector} a @returns {Vector} */
export const normalize = (a) => scale(a, 1 / (Math.sqrt(dot(a, a)) || 1));
/** @param {Vector} d @param {Vector} n @returns {Vector} */
export const reflect = (d, n) => add(d, scale(n, -2 * dot(d, n)));

/**
 * A direction over the hemisphere of `n`, denser towards `n` (Lambert's cosine).
 * @param {Vector} n @param {() => number} random
 * @returns {Vector}
 */
export function cosineDirection(n, random) {
  const z = 2 * random() - 1;
  const angle = 2 * Math.PI * random();
  const r = Math.sqrt(1 - z * z) * 0.9999;
  return normalize([n[0] + r * Math.cos(angle), n[1] + r * Math.sin(angle), n[2] + z * 0.9999]);
}

/**
 * The rays of a pinhole camera.
 * @param {{ from: Vector, to: Vector, fieldOfView: number, width: number, height: number }} camera `fieldOfView` in
 *   degrees, across
 * @returns {(x: number, y: number) => Vector} unit direction through a point of the picture, in pixels
 */
export function camera({ from, to, fieldOfView, width, height }) {
  const forward = normalize(subtract(to, from));
  const right = normalize(cross([0, 1, 0], forward));
  const up = cross(forward, right);
  const half = Math.tan((fieldOfView * Math.PI) / 360);
  return (x, y) => {
    const a = half * ((2 * x) / width - 1);
    const b = half * (height / width) * (1 - (2 * y) / height);
    return normalize(add(forward, add(scale(right, a), scale(up, b))));
  };
}

export class Scene {
  /** @type {{ kind: number, material: unknown, low: Vector, high: Vector, values: number[], shadow: boolean }[]} */
  #shapes = [];
  /** @type {Int32Array} two per node: first child or first shape, number of shapes (0 = inner node) */
  #nodes = new Int32Array(0);
  #bounds = new Float64Array(0);
  /** @type {Hit} */
  #hit = {
    distance: 0,
    point: [0, 0, 0],
    normal: [0, 0, 0],
    direction: [0, 0, 0],
    local: [0, 0, 0],
    localDirection: [0, 0, 0],
    localNormal: [0, 0, 0],
    material: undefined,
  };

  /**
   * @param {Vector} centre
   * @param {number} radius
   * @param {unknown} material
   * @param {boolean} [shadow] whether it blocks light
   */
  sphere(centre, radius, material, shadow = true) {
    this.#add(
      SPHERE,
      material,
      centre.map((c) => c - radius),
      centre.map((c) => c + radius),
      [...centre, radius],
      shadow,
    );
  }

  /**
   * @param {Vector} centre @param {Vector} half half the size along each own axis
   * @param {unknown} material @param {number} [yaw] radians about the vertical @param {boolean} [shadow]
   */
  box(centre, half, material, yaw = 0, shadow = true) {
    const c = Math.cos(yaw);
    const s = Math.sin(yaw);
    const reach = [
      Math.abs(c) * half[0] + Math.abs(s) * half[2],
      half[1],
      Math.abs(s) * half[0] + Math.abs(c) * half[2],
    ];
    this.#add(
      BOX,
      material,
      centre.map((v, i) => v - reach[i]),
      centre.map((v, i) => v + reach[i]),
      [...centre, ...half, c, s],
      shadow,
    );
  }

  /**
   * The hull of two spheres.
   * @param {Vector} a @param {Vector} b @param {number} radiusA @param {number} radiusB @param {unknown} material
   */
  cone(a, b, radiusA, radiusB, material) {
    const low = a.map((v, i) => Math.min(v - radiusA, b[i] - radiusB));
    const high = a.map((v, i) => Math.max(v + radiusA, b[i] + radiusB));
    this.#add(CONE, material, low, high, [...a, radiusA, ...b, radiusB], true);
  }

  /**
   * A smooth triangle; `normals` and `coordinates` are interpolated.
   * @param {Vector[]} corners
   * @param {unknown} material
   * @param {Vector[]} [normals]
   * @param {[number, number][]} [coordinates]
   */
  triangle(corners, material, normals, coordinates) {
    const flat = normalize(cross(subtract(corners[1], corners[0]), subtract(corners[2], corners[0])));
    const low = [0, 1, 2].map((i) => Math.min(corners[0][i], corners[1][i], corners[2][i]) - 1e-6);
    const high = [0, 1, 2].map((i) => Math.max(corners[0][i], corners[1][i], corners[2][i]) + 1e-6);
    const values = [
      ...corners,
      ...(normals ?? [flat, flat, flat]),
      ...(coordinates ?? [
        [0, 0],
        [1, 0],
        [0, 1],
      ]),
    ].flat();
    this.#add(TRIANGLE, material, low, high, values, true);
  }

  /**
   * A surface over a grid of points, smooth across its cells.
   * @param {(u: number, v: number) => Vector} point u and v from 0 to 1
   * @param {number} columns @param {number} rows cells along u and v @param {unknown} material
   */
  surface(point, columns, rows, material) {
    const normalAt = (/** @type {number} */ u, /** @type {number} */ v) => {
      const e = 1e-3;
      const du = subtract(point(u + e, v), point(u - e, v));
      const dv = subtract(point(u, Math.min(1, v + e)), point(u, Math.max(0, v - e)));
      return normalize(cross(du, dv));
    };
    for (let j = 0; j < rows; j += 1) {
      for (let i = 0; i < columns; i += 1) {
        /** @type {[number, number][]} */
        const at = [
          [i, j],
          [i + 1, j],
          [i + 1, j + 1],
          [i, j + 1],
        ].map(([x, y]) => [x / columns, y / rows]);
        const corners = at.map(([u, v]) => point(u, v));
        const normals = at.map(([u, v]) => normalAt(u, v));
        for (const order of [
          [0, 1, 2],
          [0, 2, 3],
        ]) {
          const chosen = order.map((k) => corners[k]);
          const area = cross(subtract(chosen[1], chosen[0]), subtract(chosen[2], chosen[0]));
          if (Math.hypot(...area) < 1e-12) continue;
          const flat = normalize(area);
          this.triangle(
            chosen,
            material,
            order.map((k) => (Math.hypot(...normals[k]) > 0.5 ? normals[k] : flat)),
            order.map((k) => at[k]),
          );
        }
      }
    }
  }

  /**
   * A vessel: a profile turned about a vertical axis.
   * @param {Vector} foot
   * @param {[number, number][]} profile radius and height of each ring, from the bottom
   * @param {unknown} material
   * @param {number} [columns]
   */
  lathe(foot, profile, material, columns = 32) {
    const last = profile.length - 1;
    this.surface(
      (u, v) => {
        const at = Math.min(last - 1e-9, Math.max(0, v * last));
        const k = Math.floor(at);
        const t = at - k;
        const radius = profile[k][0] * (1 - t) + profile[k + 1][0] * t;
        const height = profile[k][1] * (1 - t) + profile[k + 1][1] * t;
        return add(foot, [radius * Math.cos(2 * Math.PI * u), height, radius * Math.sin(2 * Math.PI * u)]);
      },
      columns,
      last,
      material,
    );
  }

  /**
   * @param {number} kind
   * @param {unknown} material
   * @param {number[]} low
   * @param {number[]} high
   * @param {number[]} values
   * @param {boolean} shadow
   */
  #add(kind, material, low, high, values, shadow) {
    this.#shapes.push({
      kind,
      material,
      low: /** @type {Vector} */ (low),
      high: /** @type {Vector} */ (high),
      values,
      shadow,
    });
  }

  /** Builds the hierarchy; call once after the last shape. */
  build() {
    const nodes = [];
    const bounds = [];
    const shapes = this.#shapes;
    const centre = (/** @type {number} */ i, /** @type {number} */ axis) => shapes[i].low[axis] + shapes[i].high[axis];
    /** @type {number[]} */
    const ordered = [];
    const build = (/** @type {number[]} */ members) => {
      const at = nodes.length / 2;
      nodes.push(0, 0);
      const low = [0, 1, 2].map((axis) => Math.min(...members.map((i) => shapes[i].low[axis])));
      const high = [0, 1, 2].map((axis) => Math.max(...members.map((i) => shapes[i].high[axis])));
      bounds.push(...low, ...high);
      const split = members.length > 3 ? bestSplit(members) : undefined;
      if (split === undefined) {
        nodes[2 * at] = ordered.length;
        nodes[2 * at + 1] = members.length;
        ordered.push(...members);
        return at;
      }
      // The left child always follows its parent, so only the right one is stored.
      build(split[0]);
      nodes[2 * at] = build(split[1]);
      return at;
    };
    const area = (/** @type {number[]} */ members) => {
      const size = [0, 1, 2].map((axis) => {
        let low = Infinity;
        let high = -Infinity;
        for (const i of members) {
          low = Math.min(low, shapes[i].low[axis]);
          high = Math.max(high, shapes[i].high[axis]);
        }
        return high - low;
      });
      return size[0] * size[1] + size[1] * size[2] + size[2] * size[0];
    };
    const bestSplit = (/** @type {number[]} */ members) => {
      let best;
      let bestCost = members.length * area(members);
      for (let axis = 0; axis < 3; axis += 1) {
        const sorted = members.toSorted((a, b) => centre(a, axis) - centre(b, axis));
        const step = Math.max(1, Math.floor(sorted.length / 8));
        for (let cut = step; cut < sorted.length; cut += step) {
          const parts = [sorted.slice(0, cut), sorted.slice(cut)];
          const cost = parts[0].length * area(parts[0]) + parts[1].length * area(parts[1]);
          if (cost < bestCost) {
            bestCost = cost;
            best = parts;
          }
        }
      }
      return best;
    };
    build(shapes.map((_, i) => i));
    this.#shapes = ordered.map((i) => shapes[i]);
    this.#nodes = Int32Array.from(nodes);
    this.#bounds = Float64Array.from(bounds);
  }

  /**
   * The nearest shape along a ray.
   * @param {Vector} origin @param {Vector} direction unit length
   * @returns {Hit | undefined}
   */
  trace(origin, direction) {
    const found = this.#walk(origin, direction, Infinity, false);
    if (found < 0) return undefined;
    return this.#describe(found, origin, direction);
  }

  /**
   * Whether anything that casts a shadow lies on the segment.
   * @param {Vector} origin @param {Vector} direction unit length @param {number} distance
   * @returns {boolean}
   */
  blocked(origin, direction, distance) {
    return this.#walk(origin, direction, distance, true) >= 0;
  }

  #stack = new Int32Array(64);
  #entry = new Float64Array(64);

  /**
   * @param {Vector} o
   * @param {Vector} d
   * @param {number} limit
   * @param {boolean} any
   * @returns {number} index of a shape, or -1
   */
  #walk(o, d, limit, any) {
    const nodes = this.#nodes;
    const bounds = this.#bounds;
    const stack = this.#stack;
    const entry = this.#entry;
    const [ox, oy, oz] = o;
    const ix = 1 / (d[0] || 1e-12);
    const iy = 1 / (d[1] || 1e-12);
    const iz = 1 / (d[2] || 1e-12);
    // Where the ray enters each axis' pair of planes depends on its sign only.
    const nearX = ix < 0 ? 3 : 0;
    const nearY = iy < 0 ? 4 : 1;
    const nearZ = iz < 0 ? 5 : 2;
    const shapes = this.#shapes;
    let nearest = limit;
    let found = -1;
    let top = 0;
    stack[top] = 0;
    entry[top++] = 0;
    while (top > 0) {
      top -= 1;
      if (entry[top] > nearest) continue;
      let node = stack[top];
      for (;;) {
        const count = nodes[2 * node + 1];
        const first = nodes[2 * node];
        if (count > 0) {
          for (let i = first; i < first + count; i += 1) {
            const shape = shapes[i];
            if (any && !shape.shadow) continue;
            const t = meet(shape.kind, shape.values, o, d);
            if (t > 1e-4 && t < nearest) {
              nearest = t;
              found = i;
              if (any) return i;
            }
          }
          break;
        }
        const l = 6 * (node + 1);
        const leftLow = Math.max(
          (bounds[l + nearX] - ox) * ix,
          (bounds[l + nearY] - oy) * iy,
          (bounds[l + nearZ] - oz) * iz,
          0,
        );
        const leftHigh = Math.min(
          (bounds[l + 3 - nearX] - ox) * ix,
          (bounds[l + 5 - nearY] - oy) * iy,
          (bounds[l + 7 - nearZ] - oz) * iz,
          nearest,
        );
        const r = 6 * first;
        const rightLow = Math.max(
          (bounds[r + nearX] - ox) * ix,
          (bounds[r + nearY] - oy) * iy,
          (bounds[r + nearZ] - oz) * iz,
          0,
        );
        const rightHigh = Math.min(
          (bounds[r + 3 - nearX] - ox) * ix,
          (bounds[r + 5 - nearY] - oy) * iy,
          (bounds[r + 7 - nearZ] - oz) * iz,
          nearest,
        );
        const left = leftLow <= leftHigh;
        const right = rightLow <= rightHigh;
        if (left && right) {
          // The nearer child first; the other waits with the distance at which it begins.
          const leftFirst = leftLow <= rightLow;
          stack[top] = leftFirst ? first : node + 1;
          entry[top++] = leftFirst ? rightLow : leftLow;
          node = leftFirst ? node + 1 : first;
        } else if (left) node += 1;
        else if (right) node = first;
        else break;
      }
    }
    this.#hit.distance = nearest;
    return found;
  }

  /** @param {number} index @param {Vector} o @param {Vector} d @returns {Hit} */
  #describe(index, o, d) {
    const hit = this.#hit;
    const { kind, values, material } = this.#shapes[index];
    const point = add(o, scale(d, hit.distance));
    hit.point = point;
    hit.direction = d;
    hit.material = material;
    if (kind === BOX) {
      const [cx, cy, cz, hx, hy, hz, c, s] = values;
      const rx = point[0] - cx;
      const rz = point[2] - cz;
      const local = /** @type {Vector} */ ([c * rx - s * rz, point[1] - cy, s * rx + c * rz]);
      const depth = [Math.abs(local[0]) - hx, Math.abs(local[1]) - hy, Math.abs(local[2]) - hz];
      const axis = depth[0] > depth[1] ? (depth[0] > depth[2] ? 0 : 2) : depth[1] > depth[2] ? 1 : 2;
      const n = /** @type {Vector} */ ([0, 0, 0]);
      n[axis] = Math.sign(local[axis]);
      hit.local = local;
      hit.localNormal = n;
      hit.localDirection = [c * d[0] - s * d[2], d[1], s * d[0] + c * d[2]];
      hit.normal = [c * n[0] + s * n[2], n[1], -s * n[0] + c * n[2]];
    } else if (kind === SPHERE) {
      const [cx, cy, cz, r] = values;
      hit.normal = [(point[0] - cx) / r, (point[1] - cy) / r, (point[2] - cz) / r];
      hit.local = [point[0] - cx, point[1] - cy, point[2] - cz];
    } else if (kind === CONE) {
      const [ax, ay, az, ra, bx, by, bz, rb] = values;
      const axis = /** @type {Vector} */ ([bx - ax, by - ay, bz - az]);
      const length2 = dot(axis, axis);
      const slope = ra - rb;
      const relative = /** @type {Vector} */ ([point[0] - ax, point[1] - ay, point[2] - az]);
      // The surface point belongs to the sphere whose centre it is perpendicular to along the cone's side.
      const along = dot(relative, axis);
      const side = Math.sqrt(Math.max(0, dot(relative, relative) - (along * along) / length2));
      const shift = (side * slope) / Math.sqrt(Math.max(1e-12, length2 - slope * slope));
      const t = Math.min(1, Math.max(0, (along / Math.sqrt(length2) - shift) / Math.sqrt(length2)));
      hit.normal = normalize(subtract(relative, scale(axis, t)));
      hit.local = [t, 0, 0];
    } else {
      const e1 = /** @type {Vector} */ ([values[3] - values[0], values[4] - values[1], values[5] - values[2]]);
      const e2 = /** @type {Vector} */ ([values[6] - values[0], values[7] - values[1], values[8] - values[2]]);
      const p = cross(d, e2);
      const inverse = 1 / dot(e1, p);
      const s = subtract(o, [values[0], values[1], values[2]]);
      const u = dot(s, p) * inverse;
      const v = dot(d, cross(s, e1)) * inverse;
      const w = 1 - u - v;
      hit.normal = normalize([0, 1, 2].map((i) => w * values[9 + i] + u * values[12 + i] + v * values[15 + i]));
      hit.local = [
        w * values[18] + u * values[20] + v * values[22],
        w * values[19] + u * values[21] + v * values[23],
        0,
      ];
    }
    if (dot(hit.normal, d) > 0) {
      hit.normal = scale(hit.normal, -1);
      hit.localNormal = scale(hit.localNormal, -1);
    }
    return hit;
  }
}

/** @param {number} kind @param {number[]} v @param {Vector} o @param {Vector} d @returns {number} distance, or -1 */
function meet(kind, v, o, d) {
  if (kind === BOX) return meetBox(v, o, d);
  if (kind === TRIANGLE) return meetTriangle(v, o, d);
  if (kind === CONE) return meetCone(v, o, d);
  return meetSphere(v[0], v[1], v[2], v[3], o, d);
}

/**
 * @param {number} cx
 * @param {number} cy
 * @param {number} cz
 * @param {number} r
 * @param {Vector} o
 * @param {Vector} d
 * @returns {number}
 */
function meetSphere(cx, cy, cz, r, o, d) {
  const x = o[0] - cx;
  const y = o[1] - cy;
  const z = o[2] - cz;
  const b = x * d[0] + y * d[1] + z * d[2];
  const h = b * b - (x * x + y * y + z * z - r * r);
  if (h < 0) return -1;
  const root = Math.sqrt(h);
  return -b - root > 1e-4 ? -b - root : -b + root;
}

/** @param {number[]} v @param {Vector} o @param {Vector} d @returns {number} */
function meetBox(v, o, d) {
  const c = v[6];
  const s = v[7];
  const x = o[0] - v[0];
  const y = o[1] - v[1];
  const z = o[2] - v[2];
  const ox = c * x - s * z;
  const oz = s * x + c * z;
  const ix = 1 / (c * d[0] - s * d[2] || 1e-12);
  const iy = 1 / (d[1] || 1e-12);
  const iz = 1 / (s * d[0] + c * d[2] || 1e-12);
  const rx = Math.abs(ix) * v[3];
  const ry = Math.abs(iy) * v[4];
  const rz = Math.abs(iz) * v[5];
  const enter = Math.max(-ox * ix - rx, -y * iy - ry, -oz * iz - rz);
  const leave = Math.min(-ox * ix + rx, -y * iy + ry, -oz * iz + rz);
  if (enter > leave || leave < 1e-4) return -1;
  return enter > 1e-4 ? enter : leave;
}

/** @param {number[]} v @param {Vector} o @param {Vector} d @returns {number} */
function meetCone(v, o, d) {
  const ra = v[3];
  const rb = v[7];
  const bx = v[4] - v[0];
  const by = v[5] - v[1];
  const bz = v[6] - v[2];
  const x = o[0] - v[0];
  const y = o[1] - v[1];
  const z = o[2] - v[2];
  const slope = ra - rb;
  const length2 = bx * bx + by * by + bz * bz;
  const axisO = bx * x + by * y + bz * z;
  const axisD = bx * d[0] + by * d[1] + bz * d[2];
  const od = x * d[0] + y * d[1] + z * d[2];
  const oo = x * x + y * y + z * z;
  const reach = length2 - slope * slope;
  // The side is where |o + td| from the axis equals the radius of the touching sphere: a quadratic a t² + 2 b t + c.
  const qa = reach - axisD * axisD;
  const qb = reach * od - axisO * axisD + axisD * slope * ra;
  const qc = reach * oo - axisO * axisO + 2 * axisO * slope * ra - length2 * ra * ra;
  const h = qb * qb - qa * qc;
  let best = -1;
  if (h >= 0 && qa !== 0) {
    const t = (-qb - Math.sqrt(h)) / qa;
    const along = axisO - ra * slope + t * axisD;
    if (along > 0 && along < reach && t > 1e-4) best = t;
  }
  const ta = meetSphere(v[0], v[1], v[2], ra, o, d);
  const tb = meetSphere(v[4], v[5], v[6], rb, o, d);
  if (ta > 1e-4 && (best < 0 || ta < best)) best = ta;
  if (tb > 1e-4 && (best < 0 || tb < best)) best = tb;
  return best;
}

/** @param {number[]} v @param {Vector} o @param {Vector} d @returns {number} */
function meetTriangle(v, o, d) {
  const ax = v[3] - v[0];
  const ay = v[4] - v[1];
  const az = v[5] - v[2];
  const bx = v[6] - v[0];
  const by = v[7] - v[1];
  const bz = v[8] - v[2];
  const px = d[1] * bz - d[2] * by;
  const py = d[2] * bx - d[0] * bz;
  const pz = d[0] * by - d[1] * bx;
  const determinant = ax * px + ay * py + az * pz;
  if (Math.abs(determinant) < 1e-14) return -1;
  const inverse = 1 / determinant;
  const sx = o[0] - v[0];
  const sy = o[1] - v[1];
  const sz = o[2] - v[2];
  const u = (sx * px + sy * py + sz * pz) * inverse;
  if (u < 0 || u > 1) return -1;
  const qx = sy * az - sz * ay;
  const qy = sz * ax - sx * az;
  const qz = sx * ay - sy * ax;
  const w = (d[0] * qx + d[1] * qy + d[2] * qz) * inverse;
  if (w < 0 || u + w > 1) return -1;
  return (bx * qx + by * qy + bz * qz) * inverse;
}
