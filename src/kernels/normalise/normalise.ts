import { type Activation, activationNumber, activationSlope } from "../activation.ts";
import { defineKernel, type Operator, perPixelDispatches, shapeError, wholeBinding } from "../kernel.ts";
import { formatShape, type TensorView } from "../tensor.ts";
import { packVector, type Weight, weightLength } from "../weights.ts";
import activationCode from "../common/activation.wgsl";
import code from "./normalise.wgsl";

/** What `groupNorm` does once it has its statistics. */
export interface NormaliseAttributes {
  /** One number a channel, like `bias`. */
  readonly weight: Weight;
  readonly bias: Weight;
  /** Applied before the residual is added. */
  readonly activation?: Activation;
  /** Adds the third input, a tensor of the output's shape. */
  readonly residual?: boolean;
}

const kernel = defineKernel("normalise", activationCode, code);

/** Inputs: a tensor; statistics as `groupStatistics` gives them, which may be those of another, larger picture. Output: the tensor's shape. */
export const normalise: Operator<NormaliseAttributes> = {
  name: "normalise",

  outputShape(inputs, { weight, bias, residual }) {
    const [input, statistics, added] = inputs;
    if (!input || !statistics || inputs.length !== (residual ? 3 : 2)) return shapeError("normalise", `expected a tensor and statistics${residual ? " and a residual" : ""}`, inputs);
    if (added && formatShape(added) !== formatShape(input)) return shapeError("normalise", `the residual must be ${formatShape(input)}`, inputs);
    const { batch, channels } = input;
    if (formatShape(statistics) !== formatShape({ batch, height: 1, width: 2, channels })) return shapeError("normalise", "the statistics are of another tensor", inputs);
    if (weightLength(weight) !== channels || weightLength(bias) !== channels) {
      return shapeError("normalise", `${weight.name} has ${weightLength(weight)} values, ${bias.name} ${weightLength(bias)}`, inputs);
    }
    return input;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [input, statistics, residual] = inputs as [TensorView, TensorView, TensorView?];
    const { channels } = output.shape;
    return perPixelDispatches({
      kernel,
      defines: { RESIDUAL: residual ? 1 : 0 },
      constants: { ACTIVATION: activationNumber(attributes.activation) },
      inputs: { input, residual },
      output,
      uniforms: { channels, slope: activationSlope(attributes.activation) },
      bindings: {
        statistics: wholeBinding(statistics),
        weight: { constant: packVector(attributes.weight, channels) },
        bias: { constant: packVector(attributes.bias, channels) },
      },
      operationsPerPixel: 5 * channels,
      traits,
    });
  },
};
