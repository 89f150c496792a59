/** Functions of one number that a kernel can apply to its result before it is stored. */
export type Activation =
  | { readonly kind: "relu" | "gelu" | "silu" | "sigmoid" | "relu6" }
  /** x where x > 0, else slope × x. */
  | { readonly kind: "leakyRelu"; readonly slope: number };

const NUMBERS = { none: 0, relu: 1, leakyRelu: 2, gelu: 3, silu: 4, sigmoid: 5, relu6: 6 } as const;

/** The `ACTIVATION` override of common/activation.wgsl. */
export const activationNumber = (activation: Activation | undefined): number => NUMBERS[activation?.kind ?? "none"];

export const activationSlope = (activation: Activation | undefined): number =>
  activation?.kind === "leakyRelu" ? activation.slope : 0;
