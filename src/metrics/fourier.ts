import { createPlane, type Plane } from "./plane.ts";

/** A complex picture: real and imaginary parts, rows from the top. */
interface Complex {
  re: Float64Array;
  im: Float64Array;
}

function complex(length: number): Complex {
  return { re: new Float64Array(length), im: new Float64Array(length) };
}

function primeFactors(n: number): number[] {
  const factors: number[] = [];
  let rest = n;
  for (let factor = 2; rest > 1; factor++) {
    if (factor * factor > rest) factor = rest;
    while (rest % factor === 0) {
      factors.push(factor);
      rest /= factor;
    }
  }
  return factors;
}

/** Columns that are transformed together: few enough to stay in a cache from step to step. */
const BLOCK_COLUMNS = 16;

/** Forward discrete Fourier transform of every column, for any height. */
function transformColumns(picture: Complex, width: number, height: number): Complex {
  const result = complex(width * height);
  const factors = primeFactors(height);
  for (let first = 0; first < width; first += BLOCK_COLUMNS) {
    const columns = Math.min(BLOCK_COLUMNS, width - first);
    const block = complex(columns * height);
    const copy = (from: Float64Array, to: Float64Array): void => {
      for (let y = 0; y < height; y++) to.set(from.subarray(y * width + first, y * width + first + columns), y * columns);
    };
    copy(picture.re, block.re);
    copy(picture.im, block.im);
    const { re, im } = transformBlock(block, columns, height, factors);
    for (let y = 0; y < height; y++) {
      result.re.set(re.subarray(y * columns, (y + 1) * columns), y * width + first);
      result.im.set(im.subarray(y * columns, (y + 1) * columns), y * width + first);
    }
  }
  return result;
}

/** Stockham's algorithm over the prime factors of the height. A step works on runs of whole rows, so that the inner loop is contiguous. */
function transformBlock(block: Complex, width: number, height: number, factors: readonly number[]): Complex {
  let source = block;
  let target = complex(width * height);
  let length = height;
  let run = width;
  for (const factor of factors) {
    const part = length / factor;
    const cosines = new Float64Array(factor);
    const sines = new Float64Array(factor);
    for (let i = 0; i < part; i++) {
      for (let r = 0; r < factor; r++) {
        for (let t = 0; t < factor; t++) {
          const angle = (-2 * Math.PI * ((r * (i + part * t)) % length)) / length;
          cosines[t] = Math.cos(angle);
          sines[t] = Math.sin(angle);
        }
        addMultiples(target, run * (factor * i + r), source, run * i, run * part, run, cosines, sines);
      }
    }
    [source, target] = [target, source];
    length = part;
    run *= factor;
  }
  return source;
}

/** target[to + k] = Σ (cosines[t] + i sines[t]) source[from + t step + k] for k = 0 … count − 1. */
function addMultiples(
  target: Complex,
  to: number,
  source: Complex,
  from: number,
  step: number,
  count: number,
  cosines: Float64Array,
  sines: Float64Array,
): void {
  const factor = cosines.length;
  for (let k = 0; k < count; k++) {
    let sumRe = 0;
    let sumIm = 0;
    for (let t = 0, at = from + k; t < factor; t++, at += step) {
      const c = cosines[t] as number;
      const s = sines[t] as number;
      const re = source.re[at] as number;
      const im = source.im[at] as number;
      sumRe = sumRe + c * re - s * im;
      sumIm = sumIm + c * im + s * re;
    }
    target.re[to + k] = sumRe;
    target.im[to + k] = sumIm;
  }
}

/** Forward transform of rows and columns; the result is transposed. */
function transformTransposed(picture: Complex, width: number, height: number): Complex {
  const columns = transformColumns(picture, width, height);
  const flip = (data: Float64Array): Float64Array => transpose({ width, height, data }).data;
  return transformColumns({ re: flip(columns.re), im: flip(columns.im) }, height, width);
}

/**
 * Two planes of the same size, each filtered (circularly) by a real, even frequency response.
 *
 * @param response gain at (u, v), whole cycles per picture width and height, −n/2 to n/2
 */
export function filterInFrequency(
  first: Plane,
  second: Plane,
  response: (u: number, v: number) => number,
): [Plane, Plane] {
  const { width, height } = first;
  // The filter's kernel is real, so one complex transform carries both planes.
  const spectrum = transformTransposed({ re: first.data, im: second.data }, width, height);
  const scale = 1 / (width * height);
  for (let x = 0; x < width; x++) {
    const u = x < width / 2 ? x : x - width;
    for (let y = 0; y < height; y++) {
      const gain = response(u, y < height / 2 ? y : y - height) * scale;
      const i = x * height + y;
      spectrum.re[i] = (spectrum.re[i] as number) * gain;
      // Conjugated before and after, so that the forward transform inverts.
      spectrum.im[i] = -(spectrum.im[i] as number) * gain;
    }
  }
  const filtered = transformTransposed(spectrum, height, width);
  return [
    { width, height, data: filtered.re },
    { width, height, data: filtered.im.map((value) => -value) },
  ];
}

/** Orthonormal two-dimensional discrete cosine transform (type II), as MATLAB's dct2. */
export function cosineTransform(plane: Plane): Plane {
  return transpose(cosineColumns(transpose(cosineColumns(plane))));
}

function cosineColumns(plane: Plane): Plane {
  const { width, height: n } = plane;
  const result = createPlane(width, n);
  const signal = complex(width * n);
  // Even samples forwards, odd samples backwards (Makhoul 1980).
  for (let y = 0; y < n; y++) {
    const position = y % 2 === 0 ? y / 2 : n - 1 - (y - 1) / 2;
    signal.re.set(plane.data.subarray(y * width, (y + 1) * width), position * width);
  }
  const spectrum = transformColumns(signal, width, n);
  for (let k = 0; k < n; k++) {
    const angle = (Math.PI * k) / (2 * n);
    const scale = Math.sqrt((k === 0 ? 1 : 2) / n);
    const c = scale * Math.cos(angle);
    const s = scale * Math.sin(angle);
    for (let i = k * width; i < (k + 1) * width; i++) {
      result.data[i] = c * (spectrum.re[i] as number) + s * (spectrum.im[i] as number);
    }
  }
  return result;
}

export function transpose(plane: Plane): Plane {
  const result = createPlane(plane.height, plane.width);
  for (let y = 0; y < plane.height; y++) {
    for (let x = 0; x < plane.width; x++) result.data[x * plane.height + y] = plane.data[y * plane.width + x] as number;
  }
  return result;
}
