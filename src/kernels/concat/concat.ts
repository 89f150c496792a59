import { defineKernel, type Operator, perPixelDispatches, shapeError } from "../kernel.ts";
import { formatShape, type TensorView } from "../tensor.ts";
import code from "./concat.wgsl";

const kernel = defineKernel("concat", code);

/**
 * The channels of two tensors side by side. A plan gets by without the copy where the first has a multiple of four channels:
 * it lets the producers write into slices of the output.
 */
export const concat: Operator<Record<never, never>> = {
  name: "concat",

  outputShape(inputs) {
    const [first, second] = inputs;
    if (!first || !second || inputs.length !== 2 || formatShape({ ...first, channels: second.channels }) !== formatShape(second)) {
      return shapeError("concat", "expected two tensors that differ in channels at most", inputs);
    }
    return { ...first, channels: first.channels + second.channels };
  },

  dispatches({ inputs, output, traits }) {
    const [first, second] = inputs as [TensorView, TensorView];
    const uniforms = { first_channels: first.shape.channels, channels: output.shape.channels };
    return perPixelDispatches({ kernel, inputs: { first, second }, output, uniforms, operationsPerPixel: 0, traits });
  },
};
