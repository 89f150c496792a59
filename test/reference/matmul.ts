import { buildTensor, valueAt } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/**
 * Batched matrix product. The last two axes are the matrix and the first two select it, as in `torch.matmul`:
 * [a, b, rows, inner] × [a, b, inner, columns] → [a, b, rows, columns].
 */
export function matmul(first: ReferenceTensor, second: ReferenceTensor): ReferenceTensor {
  const [batches, matrices, rows, inner] = first.shape;
  const [secondBatches, secondMatrices, secondInner, columns] = second.shape;
  if (secondBatches !== batches || secondMatrices !== matrices || secondInner !== inner) {
    throw new RangeError(`Cannot multiply ${first.shape.join("×")} by ${second.shape.join("×")}.`);
  }
  return buildTensor([batches, matrices, rows, columns], (batch, matrix, row, column) => {
    let sum = 0;
    for (let index = 0; index < inner; index++) {
      sum += valueAt(first, batch, matrix, row, index) * valueAt(second, batch, matrix, index, column);
    }
    return sum;
  });
}
