import { at, requireSameShape } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** Sum of two tensors of one shape. */
export function add(first: ReferenceTensor, second: ReferenceTensor): ReferenceTensor {
  requireSameShape(first, second);
  return { shape: first.shape, data: first.data.map((value, index) => value + at(second.data, index)) };
}

/** Element-wise product of two tensors of one shape. */
export function multiply(first: ReferenceTensor, second: ReferenceTensor): ReferenceTensor {
  requireSameShape(first, second);
  return { shape: first.shape, data: first.data.map((value, index) => value * at(second.data, index)) };
}
