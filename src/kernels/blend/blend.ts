import { defineKernel, type Operator, perPixelDispatches, shapeError } from "../kernel.ts";
import { formatShape, type TensorView } from "../tensor.ts";
import code from "./blend.wgsl";

const kernel = defineKernel("blend", code);

/** Of one pixel: two lumas, two sigmoids and the sums. */
const OPERATIONS = 40;

/**
 * Blends two RGB pictures with what a network made of them, luma and chroma apart: with Y = 0.299 R + 0.587 G + 0.114 B and C = picture − Y,
 * wy Y₁ + (1 − wy) Y₂ + wc C₁ + (1 − wc) C₂ + (o₀, o₁, o₂), wy = sigmoid(o₃), wc = sigmoid(o₄). Inputs: o (five channels), the first and the
 * second picture (three), all of one size and element type. Output: three channels.
 */
export const blend: Operator<Record<never, never>> = {
  name: "blend",

  outputShape(inputs) {
    const [network, first, second] = inputs;
    if (!network || !first || !second || inputs.length !== 3) return shapeError("blend", "expected three inputs", inputs);
    const fits = network.channels === 5 && [first, second].every((shape) => formatShape(shape) === formatShape({ ...network, channels: 3 }));
    return fits ? first : shapeError("blend", "expected five channels, and two pictures of three of the same size", inputs);
  },

  dispatches({ inputs, output, traits }) {
    const [network, first, second] = inputs as [TensorView, TensorView, TensorView];
    return perPixelDispatches({ kernel, inputs: { network, first, second }, output, operationsPerPixel: OPERATIONS, traits });
  },
};
