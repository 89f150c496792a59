import channelChunkCode from "../common/channel-chunk.wgsl";
import { channelChunks, chunkDispatches, chunksOf, defineKernel, type Dispatch, type Operator, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import { type TensorView, vectors } from "../tensor.ts";
import chunkCode from "./chunk.wgsl";
import mergeCode from "./merge.wgsl";

/** Mean or maximum of each channel over all pixels of an image: batch × 1 × 1 × channels. */
export interface GlobalPoolAttributes {
  readonly operation: "mean" | "maximum";
}

const chunkKernel = defineKernel("global-pool/chunk", channelChunkCode, chunkCode);
const mergeKernel = defineKernel("global-pool/merge", mergeCode);

export const globalPool: Operator<GlobalPoolAttributes> = {
  name: "globalPool",

  outputShape(inputs) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("globalPool", "expected one input", inputs);
    return { ...input, height: 1, width: 1 };
  },

  dispatches({ inputs, output, attributes, traits, scratch }): Dispatch[] {
    const [input] = inputs as [TensorView];
    const { batch, height, width, channels } = input.shape;
    const lanes = 64;
    const chunks = chunksOf(input.shape).count;
    const partialResults = scratch("partial results", { batch, height: 1, width: chunks, channels });
    const constants = { LANES: lanes, MAXIMUM: attributes.operation === "maximum" ? 1 : 0 };
    const bound = wholeBinding(output);
    return [
      ...chunkDispatches({ kernel: chunkKernel, constants, input, partialResults, ...channelChunks(channels), operationsPerPixel: channels, traits }),
      {
        kernel: mergeKernel,
        defines: { F16: output.storage.elementType === "f16" ? 1 : 0 },
        constants,
        uniforms: { output: viewUniform(bound), channels, chunks, pixels: height * width },
        bindings: { partial_results: wholeBinding(partialResults), output: bound },
        workgroups: [Math.ceil(vectors(channels) / lanes), 1, batch],
        operations: batch * chunks * channels,
      },
    ];
  },
};
