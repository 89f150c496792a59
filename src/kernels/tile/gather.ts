import { bandBinding, defineKernel, type Dispatch, inputBinding, type Operator, rowBands, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import type { TensorView } from "../tensor.ts";
import code from "./gather.wgsl";

const kernel = defineKernel("tile/gather", code);

/**
 * Picks rows and columns, in any order and as often as wished: a part of a picture, a mosaic of parts, a mirrored border. Inputs: the tensor;
 * for each row of the output the row of the input that it shows, or −1 for zeros, and the same for columns, each as a tensor 1 × 1 × 1 × count
 * in f32.
 */
export const gather: Operator<Record<never, never>> = {
  name: "gather",

  outputShape(inputs) {
    const [input, rows, columns] = inputs;
    if (!input || !rows || !columns || inputs.length !== 3) return shapeError("gather", "expected a tensor, rows and columns", inputs);
    if ([rows, columns].some(({ batch, height, width }) => batch * height * width !== 1)) return shapeError("gather", "expected rows and columns of 1×1×1×count", inputs);
    return { ...input, height: rows.channels, width: columns.channels };
  },

  dispatches({ inputs, output, traits }): Dispatch[] {
    const [input, rows, columns] = inputs as [TensorView, TensorView, TensorView];
    const { height, width, channels } = output.shape;
    // Which rows are read is not known when the plan is made: every band of the output meets every band of the input.
    const sources = rowBands(input, [], 0, traits);
    return rowBands(output, [], 0, traits).flatMap((band) => {
      const bound = bandBinding(band, output, traits);
      const batches = sources.filter(({ firstBatch, batchCount }) => firstBatch < band.firstBatch + band.batchCount && band.firstBatch < firstBatch + batchCount);
      return batches.map((part): Dispatch => {
        const source = inputBinding(part, { view: input, rowsRead: (count) => count }, traits);
        const first = part.firstBatch * input.shape.height + part.firstRow;
        return {
          kernel,
          defines: { F16: output.storage.elementType === "f16" ? 1 : 0 },
          constants: { LANES: 64 },
          uniforms: {
            input: viewUniform(source),
            output: viewUniform(bound),
            input_height: input.shape.height,
            height,
            first_batch: band.firstBatch,
            first_row: band.firstRow,
            first_source: first,
            end_source: first + (part.batchCount > 1 ? part.batchCount * input.shape.height : part.rowCount),
            channels,
          },
          bindings: { input: source, rows: wholeBinding(rows), columns: wholeBinding(columns), output: bound },
          workgroups: [Math.ceil((width * Math.ceil(channels / 4)) / 64), band.rowCount, band.batchCount],
          operations: 0,
        };
      });
    });
  },
};
