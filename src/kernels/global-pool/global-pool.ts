import { bandBinding, defineKernel, type Dispatch, type Operator, rowBands, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import { type TensorView, vectors } from "../tensor.ts";
import chunkCode from "./chunk.wgsl";
import mergeCode from "./merge.wgsl";

/** Mean or maximum of each channel over all pixels of an image: batch × 1 × 1 × channels. */
export interface GlobalPoolAttributes {
  readonly operation: "mean" | "maximum";
}

const chunkKernel = defineKernel("global-pool/chunk", chunkCode);
const mergeKernel = defineKernel("global-pool/merge", mergeCode);

const CHUNK_PIXELS = 8192;
/** Vectors of a pixel that neighbouring lanes read together. */
const MAX_VECTOR_LANES = 16;

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
    const vectorLanes = Math.min(MAX_VECTOR_LANES, 2 ** Math.ceil(Math.log2(vectors(channels))));
    const chunkRows = Math.max(1, Math.floor(CHUNK_PIXELS / width));
    const chunks = Math.ceil(height / chunkRows);
    const partialResults = scratch("partial results", { batch, height: 1, width: chunks, channels });
    const constants = { LANES: lanes, MAXIMUM: attributes.operation === "maximum" ? 1 : 0 };
    const f16 = input.storage.elementType === "f16" ? 1 : 0;
    const bound = { view: output, firstRow: 0, rowCount: batch };
    return [
      ...rowBands(input, [], batch * height * width * channels, traits, chunkRows).map((band): Dispatch => {
        const source = bandBinding(band, input, traits);
        return {
          kernel: chunkKernel,
          defines: { F16: f16 },
          constants,
          uniforms: {
            input: viewUniform(source),
            height,
            channel_vectors: vectors(channels),
            vector_lanes: vectorLanes,
            chunk_rows: chunkRows,
            first_batch: band.firstBatch,
            first_chunk: band.firstRow / chunkRows,
            chunks,
          },
          bindings: { input: source, partial_results: wholeBinding(partialResults) },
          workgroups: [Math.ceil(band.rowCount / chunkRows), Math.ceil(vectors(channels) / vectorLanes), band.batchCount],
          operations: band.batchCount * band.rowCount * width * channels,
        };
      }),
      {
        kernel: mergeKernel,
        defines: { F16: f16 },
        constants,
        uniforms: { output: viewUniform(bound), channels, chunks, pixels: height * width },
        bindings: { partial_results: wholeBinding(partialResults), output: bound },
        workgroups: [Math.ceil(vectors(channels) / lanes), 1, batch],
        operations: batch * chunks * channels,
      },
    ];
  },
};
