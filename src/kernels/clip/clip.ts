import { defineKernel, type Operator, perPixelDispatches, shapeError } from "../kernel.ts";
import type { TensorView } from "../tensor.ts";
import code from "./clip.wgsl";

/** Clips every value of a tensor to 0..limit. */
export interface ClipAttributes {
  readonly limit: number;
}

const kernel = defineKernel("clip", code);

export const clip: Operator<ClipAttributes> = {
  name: "clip",

  outputShape(inputs) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("clip", "expected one input", inputs);
    return input;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [input] = inputs as [TensorView];
    const { channels } = output.shape;
    return perPixelDispatches({
      kernel,
      inputs: { input },
      output,
      uniforms: { channels, limit: attributes.limit },
      operationsPerPixel: channels,
      traits,
    });
  },
};
