import { bandBinding, defineKernel, type Dispatch, type Operator, rowBands, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import { type TensorView, vectors } from "../tensor.ts";
import chunkCode from "./chunk.wgsl";
import mergeCode from "./merge.wgsl";

const chunkKernel = defineKernel("covariance/chunk", chunkCode);
const mergeKernel = defineKernel("covariance/merge", mergeCode);

const CHUNK_PIXELS = 1024;
/** Vectors of four channels along one side of a tile. */
const TILE_VECTORS = 8;

/**
 * Mean and covariance of the channels over all pixels of an image: batch × 1 × (1 + channels) × channels in f32. The first column of pixels
 * holds the means, pixel 1 + i the covariances of channel i with all channels; they are centred, and divided by the number of pixels.
 */
export const covariance: Operator<Record<never, never>> = {
  name: "covariance",

  outputShape(inputs) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("covariance", "expected one input", inputs);
    return { batch: input.batch, height: 1, width: 1 + input.channels, channels: input.channels };
  },

  outputType: () => "f32",

  dispatches({ inputs, output, traits, scratch }) {
    const [input] = inputs as [TensorView];
    const { batch, height, width, channels } = input.shape;
    const lanes = 64;
    const chunkRows = Math.max(1, Math.floor(CHUNK_PIXELS / width));
    const chunks = Math.ceil(height / chunkRows);
    const partialResults = scratch("partial results", { batch, height: chunks, width: 1 + channels, channels });
    const tiles = Math.ceil(vectors(channels) / TILE_VECTORS);
    const operationsPerPixel = channels * (channels + 1);
    return [
      ...rowBands(input, [], batch * height * width * operationsPerPixel, traits, chunkRows).map((band): Dispatch => {
        const source = bandBinding(band, input, traits);
        return {
          kernel: chunkKernel,
          defines: { F16: input.storage.elementType === "f16" ? 1 : 0 },
          constants: { LANES: lanes },
          uniforms: {
            input: viewUniform(source),
            height,
            channels,
            chunk_rows: chunkRows,
            first_batch: band.firstBatch,
            first_chunk: band.firstRow / chunkRows,
            chunks,
          },
          bindings: { input: source, partial_results: wholeBinding(partialResults) },
          workgroups: [Math.ceil(band.rowCount / chunkRows), (tiles * (tiles + 1)) / 2, band.batchCount],
          operations: band.batchCount * band.rowCount * width * operationsPerPixel,
        };
      }),
      {
        kernel: mergeKernel,
        defines: {},
        constants: { LANES: lanes },
        uniforms: { height, width, channels, chunk_rows: chunkRows, chunks },
        bindings: { partial_results: wholeBinding(partialResults), output: wholeBinding(output) },
        workgroups: [Math.ceil(vectors(channels) / lanes), 1 + channels, batch],
        operations: batch * channels * channels * chunks * 5,
      },
    ];
  },
};
