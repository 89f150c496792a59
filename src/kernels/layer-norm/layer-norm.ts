import { defineKernel, type Operator, perPixelDispatches, shapeError } from "../kernel.ts";
import type { TensorView } from "../tensor.ts";
import { packVector, type Weight, weightLength } from "../weights.ts";
import code from "./layer-norm.wgsl";

/** Layer norm over the channels of each pixel: (x − mean) / √(variance + epsilon) × weight + bias, the variance biased. */
export interface LayerNormAttributes {
  readonly weight: Weight;
  readonly bias: Weight;
  readonly epsilon: number;
}

const kernel = defineKernel("layer-norm", code);

export const layerNorm: Operator<LayerNormAttributes> = {
  name: "layerNorm",

  outputShape(inputs, { weight, bias }) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("layerNorm", "expected one input", inputs);
    if (weightLength(weight) !== input.channels || weightLength(bias) !== input.channels) {
      return shapeError("layerNorm", `${weight.name} has ${weightLength(weight)} values, ${bias.name} ${weightLength(bias)}`, inputs);
    }
    return input;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [input] = inputs as [TensorView];
    const { channels } = output.shape;
    return perPixelDispatches({
      kernel,
      constants: { CHANNELS: channels },
      inputs: { input },
      output,
      uniforms: { epsilon: attributes.epsilon },
      bindings: { weight: { constant: packVector(attributes.weight, channels) }, bias: { constant: packVector(attributes.bias, channels) } },
      operationsPerPixel: 8 * channels,
      threadsPerPixel: 1,
      traits,
    });
  },
};
