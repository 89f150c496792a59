import { expect, it } from "vitest";
import { type Matrix, multiply } from "../../src/models/mask-difuser/rewrites/matrices.ts";
import { randomValues } from "../reference/tensor.ts";

const matrix = (rows: number, columns: number, seed: number): Matrix => ({ rows, columns, data: Float64Array.from(randomValues(rows * columns, seed)) });

it.each([
  [1, 1, 1],
  [2, 5, 4],
  [3, 7, 5],
  [5, 2, 11],
])("multiplies %d×%d by a matrix of %d columns, each sum in the order of the inner dimension", (rows, inner, columns) => {
  const [a, b] = [matrix(rows, inner, 1), matrix(inner, columns, 2)];
  const expected = Float64Array.from({ length: rows * columns }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += (a.data[Math.floor(i / columns) * inner + k] ?? Number.NaN) * (b.data[k * columns + (i % columns)] ?? Number.NaN);
    return sum;
  });
  expect(multiply(a, b)).toEqual({ rows, columns, data: expected });
});
