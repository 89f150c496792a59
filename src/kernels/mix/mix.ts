import { defineKernel, type Operator, perPixelDispatches, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import { formatShape, type TensorView } from "../tensor.ts";
import code from "./mix.wgsl";

const kernel = defineKernel("mix", code);

/**
 * Mixes two tensors with learned weights: first × w + second × (1 − w), w = sigmoid(channel + spatial). Inputs: first, second,
 * channel (batch × 1 × 1 × channels) and spatial, of the first's shape.
 */
export const mix: Operator<Record<never, never>> = {
  name: "mix",

  outputShape(inputs) {
    const [first, second, channel, spatial] = inputs;
    if (!first || !second || !channel || !spatial || inputs.length !== 4) return shapeError("mix", "expected four inputs", inputs);
    const fits =
      formatShape(first) === formatShape(second) &&
      formatShape(first) === formatShape(spatial) &&
      formatShape({ ...first, height: 1, width: 1 }) === formatShape(channel);
    return fits ? first : shapeError("mix", "expected equal shapes, and one pixel of channel weights", inputs);
  },

  dispatches({ inputs, output, traits }) {
    const [first, second, channel, spatial] = inputs as [TensorView, TensorView, TensorView, TensorView];
    const { channels } = output.shape;
    const perChannel = wholeBinding(channel);
    return perPixelDispatches({
      kernel,
      inputs: { first, second, spatial },
      output,
      uniforms: { channel: viewUniform(perChannel), channels },
      bindings: { channel: perChannel },
      operationsPerPixel: 8 * channels,
      traits,
    });
  },
};
