import type { ReferenceTensor } from "./tensor.ts";

/** Softmax over the last axis. */
export function softmax(input: ReferenceTensor): ReferenceTensor {
  const channels = input.shape[3];
  const data = new Float64Array(input.data.length);
  for (let start = 0; start < data.length; start += channels) {
    data.set(softmaxOf(input.data.subarray(start, start + channels)), start);
  }
  return { shape: input.shape, data };
}

/** Softmax of one list of scores. The largest is subtracted first, so that no exponential overflows. */
export function softmaxOf(scores: Float64Array): Float64Array {
  const largest = scores.reduce((maximum, score) => Math.max(maximum, score), -Infinity);
  const exponentials = scores.map((score) => Math.exp(score - largest));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value) => value / sum);
}
