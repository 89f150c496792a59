import { defineKernel, type Operator, perPixelDispatches, shapeError } from "../kernel.ts";
import code from "./fill.wgsl";

/** A tensor with the pixels and the element type of the input and the same number everywhere; the input's values do not matter. */
export interface FillAttributes {
  readonly value: number;
  readonly channels: number;
}

const kernel = defineKernel("fill", code);

export const fill: Operator<FillAttributes> = {
  name: "fill",

  outputShape(inputs, { channels }) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("fill", "expected one input", inputs);
    return { ...input, channels };
  },

  dispatches({ output, attributes: { value, channels }, traits }) {
    return perPixelDispatches({ kernel, inputs: {}, output, uniforms: { channels, value }, operationsPerPixel: 0, traits });
  },
};
