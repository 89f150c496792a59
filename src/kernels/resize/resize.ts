import { defineKernel, type Operator, perPixelDispatches, shapeError } from "../kernel.ts";
import type { TensorView } from "../tensor.ts";
import code from "./resize.wgsl";

/**
 * Resizing to any size as `torch.nn.functional.interpolate` does it when it is given `size`, without antialiasing. Nearest: input
 * index ⌊i × input size / output size⌋. Bicubic: Keys' kernel with a = −0.75. Positions outside the picture read its border.
 */
export type ResizeAttributes = { readonly height: number; readonly width: number } & (
  | { readonly mode: "nearest" }
  | {
      /** Bilinear unless told. */
      readonly mode?: "bilinear" | "bicubic";
      /** Whether the centres of the corner pixels stay in place; else the corners of the picture do. */
      readonly alignCorners: boolean;
    }
);

const kernel = defineKernel("resize", code);

const TAPS = { nearest: 1, bilinear: 2, bicubic: 4 } as const;

export const resize: Operator<ResizeAttributes> = {
  name: "resize",

  outputShape(inputs, { height, width }) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("resize", "expected one input", inputs);
    if (!(height >= 1 && width >= 1)) return shapeError("resize", `cannot resize to ${height}×${width}`, inputs);
    return { ...input, height, width };
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [input] = inputs as [TensorView];
    const { height, width, channels } = output.shape;
    const mode = attributes.mode ?? "bilinear";
    const taps = TAPS[mode];
    const vertical = axis(input.shape.height, height, attributes);
    const horizontal = axis(input.shape.width, width, attributes);
    return perPixelDispatches({
      kernel,
      defines: { TAPS: taps, NEAREST: mode === "nearest" ? 1 : 0, CUBIC: mode === "bicubic" ? 1 : 0 },
      inputs: {
        input: {
          view: input,
          rowsRead: (rows) => Math.ceil((rows * vertical.step) / vertical.parts) + taps,
          firstRowRead: (row) => Math.floor((row * vertical.step + vertical.offset) / vertical.parts) - (mode === "bicubic" ? 1 : 0),
        },
      },
      output,
      uniforms: { input_height: input.shape.height, channels, vertical: { ...vertical }, horizontal: { ...horizontal } },
      operationsPerPixel: 2 * taps * (taps + 1) * channels,
      traits,
    });
  },
};

/** Input position of output i: (i × step + offset) / parts. */
function axis(from: number, to: number, attributes: ResizeAttributes): { step: number; offset: number; parts: number; last: number } {
  const last = from - 1;
  if (attributes.mode === "nearest") return { step: from, offset: 0, parts: to, last };
  if (!attributes.alignCorners) return { step: 2 * from, offset: from - to, parts: 2 * to, last };
  return to === 1 ? { step: 0, offset: 0, parts: 1, last } : { step: last, offset: 0, parts: to - 1, last };
}
