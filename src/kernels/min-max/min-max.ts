import { bandBinding, defineKernel, type Dispatch, type Operator, rowBands, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import { type TensorView, vectors } from "../tensor.ts";
import chunkCode from "./chunk.wgsl";
import mergeCode from "./merge.wgsl";
import stretchCode from "./stretch.wgsl";

const chunkKernel = defineKernel("min-max/chunk", chunkCode);
const mergeKernel = defineKernel("min-max/merge", mergeCode);
const stretchKernel = defineKernel("min-max/stretch", stretchCode);

const CHUNK_PIXELS = 8192;

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
    const { batch, height, width, channels } = input.shape;
    const lanes = 64;
    const chunkRows = Math.max(1, Math.floor(CHUNK_PIXELS / width));
    const chunks = Math.ceil(height / chunkRows);
    const partialResults = scratch("partial results", { batch, height: 1, width: chunks, channels: 4 });
    const bands = rowBands(input, [], batch * height * width * channels * 2, traits, chunkRows);
    return [
      ...bands.map((band): Dispatch => {
        const source = bandBinding(band, input, traits);
        return {
          kernel: chunkKernel,
          defines: { F16: input.storage.elementType === "f16" ? 1 : 0 },
          constants: { CHANNELS: channels, LANES: lanes },
          uniforms: { input: viewUniform(source), height, first_batch: band.firstBatch, first_chunk: band.firstRow / chunkRows, chunk_rows: chunkRows, chunks },
          bindings: { input: source, partial_results: wholeBinding(partialResults) },
          workgroups: [Math.ceil(band.rowCount / chunkRows), 1, band.batchCount],
          operations: band.batchCount * band.rowCount * width * channels * 2,
        };
      }),
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
    const { batch, height, width, channels } = output.shape;
    const lanes = 64;
    return rowBands(output, [{ view: input, rowsRead: (rows) => rows }], batch * height * width * channels * 3, traits).map((band) => {
      const bound = bandBinding(band, output, traits);
      const source = bandBinding(band, input, traits);
      return {
        kernel: stretchKernel,
        defines: { F16: input.storage.elementType === "f16" ? 1 : 0 },
        constants: { CHANNELS: channels, LANES: lanes },
        uniforms: {
          input: viewUniform(source),
          output: viewUniform(bound),
          height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
          scale: attributes.scale,
        },
        bindings: { input: source, range: wholeBinding(range), output: bound },
        workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, band.batchCount],
        operations: band.batchCount * band.rowCount * width * channels * 3,
      };
    });
  },
};
