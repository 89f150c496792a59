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

/**
 * Forward discrete Fourier transform of every column, for any height: Stockham's algorithm over the prime factors.
 * A step works on runs of whole rows, so that the inner loop is contiguous.
 */
function transformColumns(picture: Complex, width: number, height: number): Complex {
  let source = picture;
  let target = complex(width * height);
  let length = height;
  let run = width;
  for (const factor of primeFactors(height)) {
    const part = length / factor;
    target.re.fill(0);
    target.im.fill(0);
    for (let i = 0; i < part; i++) {
      for (let r = 0; r < factor; r++) {
        const to = run * (factor * i + r);
        for (let t = 0; t < factor; t++) {
          const from = run * (i + part * t);
          const angle = (-2 * Math.PI * ((r * (i + part * t)) % length)) / length;
          addMultiple(target, to, source, from, run, Math.cos(angle), Math.sin(angle));
        }
      }
    }
    [source, target] = [target, source === picture ? complex(width * height) : source];
    length = part;
    run *= factor;
  }
  return source;
}

/** target[to + k] += (c + i s) source[from + k] for k = 0 … count − 1. */
function addMultiple(
  target: Complex,
  to: number,
  source: Complex,
  from: number,
  count: number,
  c: number,
  s: number,
): void {
  for (let k = 0; k < count; k++) {
    const re = source.re[from + k] as number;
    const im = source.im[from + k] as number;
    target.re[to + k] = (target.re[to + k] as number) + c * re - s * im;
    target.im[to + k] = (target.im[to + k] as number) + c * im + s * re;
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
