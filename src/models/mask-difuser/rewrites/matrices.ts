import type { Weight } from "../../../kernels/weights.ts";

/** Numbers in float64 row by row: products of weights are made of these and rounded once. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

/** A weight's rows are its outputs. */
export function matrixOf({ shape, data }: Weight): Matrix {
  const [rows = 0, ...rest] = shape;
  return { rows, columns: rest.reduce((product, size) => product * size, 1), data: Float64Array.from(data) };
}

/** A vector as a matrix of one row; zeros where there is none. */
export const rowOf = (vector: Weight | undefined, length: number): Matrix => ({ rows: 1, columns: length, data: vector ? Float64Array.from(vector.data) : new Float64Array(length) });

export function transpose({ rows, columns, data }: Matrix): Matrix {
  const result = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) result[column * rows + row] = data[row * columns + column] ?? 0;
  }
  return { rows: columns, columns: rows, data: result };
}

export function multiply(a: Matrix, b: Matrix): Matrix {
  const result = new Float64Array(a.rows * b.columns);
  for (let row = 0; row < a.rows; row++) {
    const sums = result.subarray(row * b.columns, (row + 1) * b.columns);
    for (let k = 0; k < a.columns; k++) {
      const factor = a.data[row * a.columns + k] ?? 0;
      const added = b.data.subarray(k * b.columns, (k + 1) * b.columns);
      for (let column = 0; column < sums.length; column++) sums[column] = (sums[column] ?? 0) + factor * (added[column] ?? 0);
    }
  }
  return { rows: a.rows, columns: b.columns, data: result };
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
 * A weight computed from others when its numbers are first asked for, and then rounded to float32.
 *
 * @param sources the weights that the numbers come from, which with `what` make the name
 */
export function derivedWeight(what: string, sources: readonly (Weight | undefined)[], shape: readonly number[], compute: () => Matrix): Weight {
  let data: Float32Array | undefined;
  return {
    name: `${what} of ${sources.map((source) => source?.name ?? "none").join(", ")}`,
    shape,
    get data() {
      data ??= Float32Array.from(compute().data);
      return data;
    },
  };
}

/** The shape of a 1×1 convolution. */
export const pointwiseShape = (outputs: number, inputs: number): readonly number[] => [outputs, inputs, 1, 1];
