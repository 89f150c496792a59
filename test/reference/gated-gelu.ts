import { gelu } from "./activations.ts";
import { split } from "./concat.ts";
import { multiply } from "./elementwise.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** gelu(first half of the channels) · second half: the gate of Restormer's GDFN. Channels must be even. */
export function gatedGelu(input: ReferenceTensor): ReferenceTensor {
  const half = input.shape[3] / 2;
  const [gate, value] = split(input, [half, half]);
  if (!gate || !value) {
    throw new RangeError("Splitting into two parts gave fewer.");
  }
  return multiply(gelu(gate), value);
}
