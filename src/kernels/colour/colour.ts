import { defineKernel, type Operator, perPixelDispatches, shapeError } from "../kernel.ts";
import { type ElementType, formatShape, type TensorView } from "../tensor.ts";
import code from "./colour.wgsl";

/** Colour conversions of OpenCV in float (cvtColor with COLOR_RGB2YCrCb and COLOR_YCrCb2RGB). All tensors have one vector a pixel. */
export type ColourAttributes =
  /** RGB → Y, Cr, Cb; `delta` is added to Cr and Cb. */
  | { readonly operation: "rgbToYCrCb"; readonly delta: number }
  /** Luma from channel 0 of the first input, chroma from channels 1 and 2 of the second → RGB, clipped to 0..limit. */
  | { readonly operation: "yCrCbToRgb"; readonly delta: number; readonly limit: number }
  /**
   * Chroma of two inputs, each weighted by its distance from `neutral`: Σ C |C − neutral| / (Σ |C − neutral| + epsilon).
   * Channel 0 is the first input's.
   */
  | { readonly operation: "mergeChroma"; readonly neutral: number; readonly epsilon: number }
  /** RGB, or a single channel that is the luma already → Y / limit, one channel of the element type that a network takes. */
  | { readonly operation: "luma"; readonly limit: number; readonly elementType: ElementType };

const kernel = defineKernel("colour", code);

const OPERATIONS = { rgbToYCrCb: 0, yCrCbToRgb: 1, mergeChroma: 2, luma: 3 } as const;
const INPUTS = { rgbToYCrCb: 1, yCrCbToRgb: 2, mergeChroma: 2, luma: 1 } as const;

export const colour: Operator<ColourAttributes> = {
  name: "colour",

  outputShape(inputs, { operation }) {
    const [first, second] = inputs;
    if (!first || inputs.length !== INPUTS[operation]) return shapeError(operation, `expected ${INPUTS[operation]} inputs`, inputs);
    if (operation === "luma" && first.channels === 1) return first;
    if (operation !== "yCrCbToRgb" && first.channels !== 3) return shapeError(operation, "expected three channels", inputs);
    if (second && formatShape({ ...first, channels: 3 }) !== formatShape(second)) return shapeError(operation, "expected equal sizes and three channels", inputs);
    return { ...first, channels: operation === "luma" ? 1 : 3 };
  },

  outputType: (_inputs, attributes) => (attributes.operation === "luma" ? attributes.elementType : "f32"),

  dispatches({ inputs, output, attributes, traits }) {
    const [first, second] = inputs as [TensorView, TensorView?];
    return perPixelDispatches({
      kernel,
      defines: { SECOND: second ? 1 : 0 },
      constants: { OPERATION: OPERATIONS[attributes.operation], CHANNELS: first.shape.channels },
      inputs: { first, second },
      output,
      uniforms: {
        delta: "delta" in attributes ? attributes.delta : 0,
        limit: "limit" in attributes ? attributes.limit : 1,
        neutral: "neutral" in attributes ? attributes.neutral : 0,
        epsilon: "epsilon" in attributes ? attributes.epsilon : 0,
      },
      operationsPerPixel: 12,
      traits,
    });
  },
};
