import { bandBinding, defineKernel, type Operator, rowBands, shapeError, viewUniform } from "../kernel.ts";
import { formatShape, type TensorView, vectors } from "../tensor.ts";
import code from "./concat.wgsl";

const kernel = defineKernel("concat", code);

/**
 * The channels of two tensors side by side. A plan gets by without the copy where the first has a multiple of four channels:
 * it lets the producers write into slices of the output.
 */
export const concat: Operator<Record<never, never>> = {
  name: "concat",

  outputShape(inputs) {
    const [first, second] = inputs;
    if (!first || !second || inputs.length !== 2 || formatShape({ ...first, channels: second.channels }) !== formatShape(second)) {
      return shapeError("concat", "expected two tensors that differ in channels at most", inputs);
    }
    return { ...first, channels: first.channels + second.channels };
  },

  dispatches({ inputs, output, traits }) {
    const [first, second] = inputs as [TensorView, TensorView];
    const { batch, height, width, channels } = output.shape;
    const lanes = 64;
    const reads = [first, second].map((view) => ({ view, rowsRead: (rows: number) => rows }));
    return rowBands(output, reads, batch * height * width * channels, traits).map((band) => {
      const bound = bandBinding(band, output, traits);
      const source = bandBinding(band, first, traits);
      const other = bandBinding(band, second, traits);
      return {
        kernel,
        defines: { F16: output.storage.elementType === "f16" ? 1 : 0 },
        constants: { FIRST_CHANNELS: first.shape.channels, CHANNELS: channels, LANES: lanes },
        uniforms: {
          first: viewUniform(source),
          second: viewUniform(other),
          output: viewUniform(bound),
          height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
        },
        bindings: { first: source, second: other, output: bound },
        workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, band.batchCount],
        operations: 0,
      };
    });
  },
};
