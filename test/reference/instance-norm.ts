import { groupNorm } from "./group-norm.ts";
import type { ReferenceTensor } from "./tensor.ts";

/**
 * Instance norm: every channel of every image over its own pixels, with biased variance. Without `weight` and `bias`
 * (one a channel) there is no scale and no shift.
 */
export function instanceNorm(
  input: ReferenceTensor,
  weight?: ArrayLike<number>,
  bias?: ArrayLike<number>,
  epsilon = 1e-5,
): ReferenceTensor {
  const channels = input.shape[3];
  const ones = new Float64Array(channels).fill(1);
  const zeros = new Float64Array(channels);
  return groupNorm(input, channels, weight ?? ones, bias ?? zeros, epsilon);
}
