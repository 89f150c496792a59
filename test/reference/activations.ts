import { erf } from "./erf.ts";
import { at, mapTensor } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

export function relu(input: ReferenceTensor): ReferenceTensor {
  return mapTensor(input, (value) => Math.max(value, 0));
}

export function relu6(input: ReferenceTensor): ReferenceTensor {
  return mapTensor(input, (value) => Math.min(Math.max(value, 0), 6));
}

export function leakyRelu(input: ReferenceTensor, slope = 0.01): ReferenceTensor {
  return mapTensor(input, (value) => (value >= 0 ? value : slope * value));
}

/** `slopes`: one for all channels, or one a channel. */
export function prelu(input: ReferenceTensor, slopes: ArrayLike<number>): ReferenceTensor {
  const channels = input.shape[3];
  if (slopes.length !== 1 && slopes.length !== channels) {
    throw new RangeError(`Expected 1 or ${channels} slopes, found ${slopes.length}.`);
  }
  return mapTensor(input, (value, channel) => (value >= 0 ? value : at(slopes, slopes.length === 1 ? 0 : channel) * value));
}

/** x Φ(x) with the exact error function, not the tanh approximation. */
export function gelu(input: ReferenceTensor): ReferenceTensor {
  return mapTensor(input, (value) => 0.5 * value * (1 + erf(value / Math.SQRT2)));
}

export function sigmoid(input: ReferenceTensor): ReferenceTensor {
  return mapTensor(input, (value) => 1 / (1 + Math.exp(-value)));
}

/** x · sigmoid(x), also called Swish. */
export function silu(input: ReferenceTensor): ReferenceTensor {
  return mapTensor(input, (value) => value / (1 + Math.exp(-value)));
}

export function tanh(input: ReferenceTensor): ReferenceTensor {
  return mapTensor(input, (value) => Math.tanh(value));
}
