import { lazyWeight, type Weight } from "../../../kernels/weights.ts";

/** Numbers in float64 row by row: products of weights are made of these and rounded once. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

/** A weight's rows are its outputs. */
export function matrixOf({ shape, data }: Weight): Matrix {
  const [rows = 0, ...rest] = shape;
  return { rows, columns: rest.reduce((product, size) => product * size, 1), data: new Float64Array(data) };
}

/** A vector as a matrix of one row; zeros where there is none. */
export const rowOf = (vector: Weight | undefined, length: number): Matrix => ({ rows: 1, columns: length, data: vector ? new Float64Array(vector.data) : new Float64Array(length) });

export function transpose({ rows, columns, data }: Matrix): Matrix {
  const result = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) result[column * rows + row] = data[row * columns + column] ?? 0;
  }
  return { rows: columns, columns: rows, data: result };
}

/** The product, each sum in the order of the inner dimension. Two rows by four columns at a time, whose sums stay in registers. */
export function multiply({ rows, columns: inner, data: left }: Matrix, { columns, data: right }: Matrix): Matrix {
  const result = new Float64Array(rows * columns);
  const panel = new Float64Array(inner * 4);
  for (let column = 0; column < columns; column += 4) {
    const width = Math.min(4, columns - column);
    for (let k = 0; k < inner; k++) {
      for (let c = 0; c < width; c++) panel[k * 4 + c] = right[k * columns + column + c] ?? 0;
    }
    for (let row = 0; row < rows; row += 2) {
      // The last row of an odd number is made twice.
      const next = Math.min(row + 1, rows - 1);
      let a0 = 0;
      let a1 = 0;
      let a2 = 0;
      let a3 = 0;
      let b0 = 0;
      let b1 = 0;
      let b2 = 0;
      let b3 = 0;
      for (let k = 0; k < inner; k++) {
        const a = left[row * inner + k] ?? 0;
        const b = left[next * inner + k] ?? 0;
        const p0 = panel[k * 4] ?? 0;
        const p1 = panel[k * 4 + 1] ?? 0;
        const p2 = panel[k * 4 + 2] ?? 0;
        const p3 = panel[k * 4 + 3] ?? 0;
        a0 += a * p0;
        a1 += a * p1;
        a2 += a * p2;
        a3 += a * p3;
        b0 += b * p0;
        b1 += b * p1;
        b2 += b * p2;
        b3 += b * p3;
      }
      const sums = [a0, a1, a2, a3, b0, b1, b2, b3];
      for (let c = 0; c < width; c++) {
        result[row * columns + column + c] = sums[c] ?? 0;
        result[next * columns + column + c] = sums[4 + c] ?? 0;
      }
    }
  }
  return { rows, columns, data: result };
}

export function add(a: Matrix, b: Matrix): Matrix {
  return { ...a, data: a.data.map((value, i) => value + (b.data[i] ?? 0)) };
}

/** Each column times its factor. */
export function scaleColumns(matrix: Matrix, factors: Matrix): Matrix {
  return { ...matrix, data: matrix.data.map((value, i) => value * (factors.data[i % matrix.columns] ?? 0)) };
}

/** Rows of both, those of `a` first. */
export function stack(a: Matrix, b: Matrix): Matrix {
  const data = new Float64Array(a.data.length + b.data.length);
  data.set(a.data);
  data.set(b.data, a.data.length);
  return { rows: a.rows + b.rows, columns: a.columns, data };
}

/**
 * A weight computed from others when its numbers are asked for, and then rounded to float32.
 *
 * @param sources the weights that the numbers come from, which with `what` make the name
 */
export function derivedWeight(what: string, sources: readonly (Weight | undefined)[], shape: readonly number[], compute: () => Matrix): Weight {
  return lazyWeight(`${what} of ${sources.map((source) => source?.name ?? "none").join(", ")}`, shape, () => new Float32Array(compute().data));
}

/** The shape of a 1×1 convolution. */
export const pointwiseShape = (outputs: number, inputs: number): readonly number[] => [outputs, inputs, 1, 1];
