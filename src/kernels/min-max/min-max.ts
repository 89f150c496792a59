import { chunkDispatches, chunksOf, defineKernel, type Dispatch, type Operator, perPixelDispatches, shapeError, wholeBinding } from "../kernel.ts";
import type { TensorView } from "../tensor.ts";
import chunkCode from "./chunk.wgsl";
import mergeCode from "./merge.wgsl";
import stretchCode from "./stretch.wgsl";

const chunkKernel = defineKernel("min-max/chunk", chunkCode);
const mergeKernel = defineKernel("min-max/merge", mergeCode);
const stretchKernel = defineKernel("min-max/stretch", stretchCode);

/**
 * Smallest and largest finite value of each image over all its channels, and how many values are not finite.
 * Output: batch × 1 × 1 × 3, f32.
 */
export const minMax: Operator<Record<never, never>> = {
  name: "minMax",

  outputShape(inputs) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("minMax", "expected one input", inputs);
    return { batch: input.batch, height: 1, width: 1, channels: 3 };
  },

  outputType: () => "f32",

  dispatches({ inputs, output, traits, scratch }): Dispatch[] {
    const [input] = inputs as [TensorView];
    const { batch, channels } = input.shape;
    const chunks = chunksOf(input.shape).count;
    const partialResults = scratch("partial results", { batch, height: 1, width: chunks, channels: 4 });
    return [
      ...chunkDispatches({ kernel: chunkKernel, constants: { CHANNELS: channels }, input, partialResults, operationsPerPixel: 2 * channels, traits }),
      {
        kernel: mergeKernel,
        defines: {},
        constants: {},
        uniforms: { chunks },
        bindings: { partial_results: wholeBinding(partialResults), output: wholeBinding(output) },
        workgroups: [batch, 1, 1],
        operations: batch * chunks * 2,
      },
    ];
  },
};

/** Inputs: the tensor and the result of `minMax`. Output: (x − minimum) / (maximum − minimum) × scale, f32; a constant image becomes 0. */
export interface StretchAttributes {
  readonly scale: number;
}

export const stretch: Operator<StretchAttributes> = {
  name: "stretch",

  outputShape(inputs) {
    const [input, range] = inputs;
    if (!input || !range || inputs.length !== 2 || range.channels !== 3 || range.batch !== input.batch) {
      return shapeError("stretch", "expected a tensor and the result of minMax", inputs);
    }
    return input;
  },

  outputType: () => "f32",

  dispatches({ inputs, output, attributes, traits }) {
    const [input, range] = inputs as [TensorView, TensorView];
    const { channels } = output.shape;
    return perPixelDispatches({
      kernel: stretchKernel,
      defines: { F16: input.storage.elementType === "f16" ? 1 : 0 },
      inputs: { input },
      output,
      uniforms: { channels, scale: attributes.scale },
      bindings: { range: wholeBinding(range) },
      operationsPerPixel: 3 * channels,
      traits,
    });
  },
};
