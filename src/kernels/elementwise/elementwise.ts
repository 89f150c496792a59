import { type Activation, activationNumber, activationSlope } from "../activation.ts";
import { defineKernel, type Operator, perPixelDispatches, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import { formatShape, type Shape, type TensorView } from "../tensor.ts";
import { packUniform, packVector, type Weight, weightLength } from "../weights.ts";
import activationCode from "../common/activation.wgsl";
import code from "./elementwise.wgsl";

/**
 * A function of one input, or of two inputs element by element. The second has the first's shape, or for `add` and `multiply` may be
 * batch × 1 × 1 × channels: one number a channel.
 */
export type ElementwiseAttributes =
  | { readonly operation: "activation"; readonly activation: Activation }
  /** x where x > 0, else slope × x, with one slope for all or one a channel. */
  | { readonly operation: "prelu"; readonly slope: Weight }
  | { readonly operation: "add" | "multiply" }
  /** gelu(first) × second. */
  | { readonly operation: "gatedGelu" };

const kernel = defineKernel("elementwise", activationCode, code);

const OPERATIONS = { activation: 0, prelu: 0, add: 1, multiply: 2, gatedGelu: 3 } as const;
const isUnary = ({ operation }: ElementwiseAttributes): boolean => OPERATIONS[operation] === 0;

/** Whether the second operand is one number a channel. */
const isBroadcast = (first: Shape, second: Shape): boolean =>
  formatShape(first) !== formatShape(second) && formatShape({ ...first, height: 1, width: 1 }) === formatShape(second);

export const elementwise: Operator<ElementwiseAttributes> = {
  name: "elementwise",

  outputShape(inputs, attributes) {
    const [first, second] = inputs;
    const expected = isUnary(attributes) ? 1 : 2;
    if (!first || inputs.length !== expected) return shapeError(attributes.operation, `expected ${expected} input${expected > 1 ? "s" : ""}`, inputs);
    if (second && formatShape(first) !== formatShape(second) && !(isBroadcast(first, second) && attributes.operation !== "gatedGelu")) {
      return shapeError(attributes.operation, "expected equal shapes", inputs);
    }
    if (attributes.operation === "prelu" && ![1, first.channels].includes(weightLength(attributes.slope))) {
      return shapeError("prelu", `${attributes.slope.name} has ${weightLength(attributes.slope)} values`, inputs);
    }
    return first;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [first, second] = inputs as [TensorView, TensorView?];
    const { channels } = output.shape;
    const activation: Activation | undefined =
      attributes.operation === "activation" ? attributes.activation : attributes.operation === "prelu" ? { kind: "leakyRelu", slope: 0 } : undefined;
    const slope =
      attributes.operation !== "prelu"
        ? packUniform(activationSlope(activation), channels)
        : weightLength(attributes.slope) === 1
          ? packUniform(attributes.slope.data[0] ?? 0, channels)
          : packVector(attributes.slope, channels);
    const broadcast = second && isBroadcast(first.shape, second.shape) ? wholeBinding(second) : undefined;
    return perPixelDispatches({
      kernel,
      defines: { SECOND: second ? 1 : 0 },
      constants: { OPERATION: OPERATIONS[attributes.operation], ACTIVATION: activationNumber(activation) },
      inputs: { first, ...(!broadcast && { second }) },
      output,
      uniforms: { channels, broadcast: broadcast ? 1 : 0, ...(broadcast && { second: viewUniform(broadcast) }) },
      bindings: { slope: { constant: slope }, ...(broadcast && { second: broadcast }) },
      operationsPerPixel: channels,
      traits,
    });
  },
};
