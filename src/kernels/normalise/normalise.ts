import { type Activation, activationNumber, activationSlope } from "../activation.ts";
import { defineKernel, type Operator, perPixelDispatches, shapeError, wholeBinding } from "../kernel.ts";
import { formatShape, type TensorView } from "../tensor.ts";
import { packVector, type Weight } from "../weights.ts";
import activationCode from "../common/activation.wgsl";
import code from "./normalise.wgsl";

/** What `groupNorm` does once it has its statistics. */
export interface NormaliseAttributes {
  /** One number a channel, like `bias`. */
  readonly weight: Weight;
  readonly bias: Weight;
  readonly activation?: Activation;
}

const kernel = defineKernel("normalise", activationCode, code);

/** Inputs: a tensor; statistics as `groupStatistics` gives them, which may be those of another, larger picture. Output: the tensor's shape. */
export const normalise: Operator<NormaliseAttributes> = {
  name: "normalise",

  outputShape(inputs, { weight, bias }) {
    const [input, statistics] = inputs;
    if (!input || !statistics || inputs.length !== 2) return shapeError("normalise", "expected a tensor and statistics", inputs);
    const { batch, channels } = input;
    if (formatShape(statistics) !== formatShape({ batch, height: 1, width: 2, channels })) return shapeError("normalise", "the statistics are of another tensor", inputs);
    if (weight.data.length !== channels || bias.data.length !== channels) {
      return shapeError("normalise", `${weight.name} has ${weight.data.length} values, ${bias.name} ${bias.data.length}`, inputs);
    }
    return input;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [input, statistics] = inputs as [TensorView, TensorView];
    const { channels } = output.shape;
    return perPixelDispatches({
      kernel,
      constants: { ACTIVATION: activationNumber(attributes.activation) },
      inputs: { input },
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
