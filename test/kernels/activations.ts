import type { Activation } from "../../src/kernels/activation.ts";
import { gelu, leakyRelu, relu, relu6, sigmoid, silu } from "../reference/activations.ts";
import type { ReferenceTensor } from "../reference/tensor.ts";

/** Every activation that a kernel can apply. */
export const ACTIVATIONS: readonly Activation[] = [
  { kind: "relu" },
  { kind: "leakyRelu", slope: 0.25 },
  { kind: "gelu" },
  { kind: "silu" },
  { kind: "sigmoid" },
  { kind: "relu6" },
];

const REFERENCES = { relu, gelu, silu, sigmoid, relu6 } as const;

/** The reference of an activation. */
export function activate(input: ReferenceTensor, activation: Activation | undefined): ReferenceTensor {
  if (!activation) return input;
  return activation.kind === "leakyRelu" ? leakyRelu(input, activation.slope) : REFERENCES[activation.kind](input);
}
