/**
 * One channel of a picture in float64, rows from the top; grey levels 0–255 unless a function says otherwise.
 * `data` has width × height values. A plane may be empty (a width or height of 0).
 */
export interface Plane {
  readonly width: number;
  readonly height: number;
  readonly data: Float64Array;
}

/** How a picture continues beyond its border. `mirror` does not repeat the border pixel. */
export type Border = "zero" | "replicate" | "mirror";

export function createPlane(width: number, height: number): Plane {
  const w = Math.max(width, 0);
  const h = Math.max(height, 0);
  return { width: w, height: h, data: new Float64Array(w * h) };
}

/** `change` applied to every value. */
export function mapPlane(plane: Plane, change: (value: number) => number): Plane {
  return { width: plane.width, height: plane.height, data: plane.data.map(change) };
}

/** Element-wise product of two planes of the same size. */
export function multiply(a: Plane, b: Plane): Plane {
  const result = createPlane(a.width, a.height);
  for (let i = 0; i < result.data.length; i++) result.data[i] = (a.data[i] as number) * (b.data[i] as number);
  return result;
}

/** Sum of the values. */
export function total(values: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] as number;
  return sum;
}

/** Mean of the values; NaN where there are none. */
export function mean(values: Float64Array): number {
  return total(values) / values.length;
}

/** Smallest and largest value. */
export function extremes(values: Float64Array): { min: number; max: number } {
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (value < min) min = value;
    if (value > max) max = value;
  }
  return { min, max };
}

/** For each position of a line continued by `radius` on both sides, the pixel that stands there, or -1 for none. */
function sourceIndices(length: number, radius: number, border: Border): Int32Array {
  return Int32Array.from({ length: length + 2 * radius }, (_, position) => {
    const i = position - radius;
    if (i >= 0 && i < length) return i;
    if (border === "zero") return -1;
    if (border === "replicate" || length === 1) return i < 0 ? 0 : length - 1;
    const period = 2 * (length - 1);
    const wrapped = ((i % period) + period) % period;
    return wrapped < length ? wrapped : period - wrapped;
  });
}

/** The plane with a margin of `radius` pixels on each side, filled as `border` says. */
export function pad(plane: Plane, radius: number, border: Border): Plane {
  const { width, height, data } = plane;
  const result = createPlane(width + 2 * radius, height + 2 * radius);
  const columns = sourceIndices(width, radius, border);
  sourceIndices(height, radius, border).forEach((sourceY, y) => {
    if (sourceY < 0) return;
    const row = y * result.width;
    for (let x = 0; x < columns.length; x++) {
      const sourceX = columns[x] as number;
      if (sourceX >= 0) result.data[row + x] = data[sourceY * width + sourceX] as number;
    }
  });
  return result;
}

/** One-dimensional Gaussian of `size` taps that sum to 1, centred at `centre` (default: the middle). */
export function gaussian(size: number, sigma: number, centre = (size - 1) / 2): Float64Array {
  const taps = new Float64Array(size);
  for (let i = 0; i < size; i++) taps[i] = Math.exp(-((i - centre) ** 2) / (2 * sigma * sigma));
  const sum = total(taps);
  return taps.map((tap) => tap / sum);
}

/**
 * Correlation with `taps` along the rows and `downTaps` along the columns, where the window lies inside.
 * Result: (width − n + 1) × (height − n + 1) for n taps, empty where the window does not fit.
 */
export function filterValid(plane: Plane, taps: Float64Array, downTaps = taps): Plane {
  const n = taps.length;
  const rows = createPlane(plane.width - n + 1, plane.height);
  const result = createPlane(rows.width, plane.height - downTaps.length + 1);
  if (result.data.length === 0) return createPlane(0, 0);
  for (let y = 0; y < rows.height; y++) {
    for (let x = 0; x < rows.width; x++) {
      let sum = 0;
      const start = y * plane.width + x;
      for (let k = 0; k < n; k++) sum += (taps[k] as number) * (plane.data[start + k] as number);
      rows.data[y * rows.width + x] = sum;
    }
  }
  const { width, height } = result;
  // A row at a time, which stays in the cache from tap to tap.
  for (let y = 0; y < height; y++) {
    const row = result.data.subarray(y * width, (y + 1) * width);
    for (let k = 0; k < downTaps.length; k++) {
      const tap = downTaps[k] as number;
      const source = rows.data.subarray((y + k) * width, (y + k + 1) * width);
      for (let x = 0; x < width; x++) row[x] = (row[x] as number) + tap * (source[x] as number);
    }
  }
  return result;
}

/** As `filterValid`, over the plane continued by `border`, so that the size stays (equal, odd numbers of taps). */
export function filterSame(plane: Plane, taps: Float64Array, border: Border, downTaps = taps): Plane {
  return filterValid(pad(plane, (taps.length - 1) / 2, border), taps, downTaps);
}

/**
 * Sums over all windows of `size` × `size` that lie inside. Exact for values that are small multiples of a power
 * of two (grey levels and their squares), because every partial sum is then representable.
 */
export function boxSums(plane: Plane, size: number): Plane {
  const { width, height, data } = plane;
  const result = createPlane(width - size + 1, height - size + 1);
  if (result.data.length === 0) return createPlane(0, 0);
  const columns = new Float64Array(width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const leaving = y >= size ? (data[(y - size) * width + x] as number) : 0;
      columns[x] = (columns[x] as number) + (data[y * width + x] as number) - leaving;
    }
    if (y < size - 1) continue;
    let sum = 0;
    for (let x = 0; x < width; x++) {
      sum += (columns[x] as number) - (x >= size ? (columns[x - size] as number) : 0);
      if (x >= size - 1) result.data[(y - size + 1) * result.width + x - size + 1] = sum;
    }
  }
  return result;
}

/** Every second pixel of every second row, starting with the first. */
export function decimate(plane: Plane): Plane {
  const result = createPlane(Math.ceil(plane.width / 2), Math.ceil(plane.height / 2));
  for (let y = 0; y < result.height; y++) {
    for (let x = 0; x < result.width; x++) {
      result.data[y * result.width + x] = plane.data[2 * y * plane.width + 2 * x] as number;
    }
  }
  return result;
}

/** Means of 2 × 2 pixels; a last odd row or column counts twice. Result: half the size, rounded up. */
export function halve(plane: Plane): Plane {
  const { width, height, data } = plane;
  const result = createPlane(Math.ceil(width / 2), Math.ceil(height / 2));
  for (let y = 0; y < result.height; y++) {
    const top = 2 * y * width;
    const bottom = Math.min(2 * y + 1, height - 1) * width;
    for (let x = 0; x < result.width; x++) {
      const left = 2 * x;
      const right = Math.min(left + 1, width - 1);
      const upper = (data[top + left] as number) + (data[top + right] as number);
      const lower = (data[bottom + left] as number) + (data[bottom + right] as number);
      result.data[y * result.width + x] = (upper + lower) / 4;
    }
  }
  return result;
}

/**
 * Sobel gradients (weights 1 2 1, not divided): `x` grows to the right, `y` grows downwards. Same size.
 */
export function sobel(plane: Plane, border: Border): { x: Plane; y: Plane } {
  const { width, height } = plane;
  const { data, width: stride } = pad(plane, 1, border);
  const x = createPlane(width, height);
  const y = createPlane(width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const above = row * stride + column;
      const beside = above + stride;
      const below = beside + stride;
      const i = row * width + column;
      const corners = (data[below + 2] as number) - (data[above] as number);
      const others = (data[above + 2] as number) - (data[below] as number);
      x.data[i] = corners + others + 2 * ((data[beside + 2] as number) - (data[beside] as number));
      y.data[i] = corners - others + 2 * ((data[below + 1] as number) - (data[above + 1] as number));
    }
  }
  return { x, y };
}

/** Stretched so that the smallest value becomes 0 and the largest 255, rounded; NaN where all are equal and not 0. */
export function stretch(plane: Plane): Plane {
  const { min, max } = extremes(plane.data);
  if (min === 0 && max === 0) return plane;
  return mapPlane(plane, (value) => Math.round(((value - min) / (max - min)) * 255));
}
