import { defineKernel, type Operator, perPixelDispatches, shapeError } from "../kernel.ts";
import type { ElementType, TensorView } from "../tensor.ts";
import code from "./convert.wgsl";

/** scale × x + offset, stored in an element type. */
export interface ConvertAttributes {
  readonly scale: number;
  readonly offset: number;
  readonly elementType: ElementType;
  /** Channels of the output: the input's, or any number where the input has one, which then stands for each. */
  readonly channels: number;
}

const kernel = defineKernel("convert", code);

export const convert: Operator<ConvertAttributes> = {
  name: "convert",

  outputShape(inputs, { channels }) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("convert", "expected one input", inputs);
    if (input.channels !== 1 && input.channels !== channels) return shapeError("convert", `cannot make ${channels} channels`, inputs);
    return { ...input, channels };
  },

  outputType: (_inputs, { elementType }) => elementType,

  dispatches({ inputs, output, attributes, traits }) {
    const [input] = inputs as [TensorView];
    const { channels } = output.shape;
    const [inputF16, outputF16] = [input, output].map(({ storage }) => (storage.elementType === "f16" ? 1 : 0)) as [number, number];
    return perPixelDispatches({
      kernel,
      defines: { F16: Math.max(inputF16, outputF16), INPUT_F16: inputF16, OUTPUT_F16: outputF16 },
      inputs: { input },
      output,
      uniforms: { channels, repeat: input.shape.channels === channels ? 0 : 1, scale: attributes.scale, offset: attributes.offset },
      operationsPerPixel: 2 * channels,
      traits,
    });
  },
};
