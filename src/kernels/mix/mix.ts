import { bandBinding, defineKernel, type Operator, rowBands, shapeError, viewUniform } from "../kernel.ts";
import { formatShape, type TensorView, vectors } from "../tensor.ts";
import code from "./mix.wgsl";

const kernel = defineKernel("mix", code);

/**
 * Mixes two tensors with learned weights: first × w + second × (1 − w), w = sigmoid(channel + spatial). Inputs: first, second,
 * channel (batch × 1 × 1 × channels) and spatial, of the first's shape.
 */
export const mix: Operator<Record<never, never>> = {
  name: "mix",

  outputShape(inputs) {
    const [first, second, channel, spatial] = inputs;
    if (!first || !second || !channel || !spatial || inputs.length !== 4) return shapeError("mix", "expected four inputs", inputs);
    const fits =
      formatShape(first) === formatShape(second) &&
      formatShape(first) === formatShape(spatial) &&
      formatShape({ ...first, height: 1, width: 1 }) === formatShape(channel);
    return fits ? first : shapeError("mix", "expected equal shapes, and one pixel of channel weights", inputs);
  },

  dispatches({ inputs, output, traits }) {
    const [first, second, channel, spatial] = inputs as [TensorView, TensorView, TensorView, TensorView];
    const { batch, height, width, channels } = output.shape;
    const lanes = 64;
    const reads = [first, second, spatial].map((view) => ({ view, rowsRead: (rows: number) => rows }));
    return rowBands(output, reads, batch * height * width * channels * 8, traits).map((band) => {
      const bound = bandBinding(band, output, traits);
      const one = bandBinding(band, first, traits);
      const two = bandBinding(band, second, traits);
      const weighting = bandBinding(band, spatial, traits);
      const perChannel = { view: channel, firstRow: 0, rowCount: batch };
      return {
        kernel,
        defines: { F16: output.storage.elementType === "f16" ? 1 : 0 },
        constants: { LANES: lanes },
        uniforms: {
          first: viewUniform(one),
          second: viewUniform(two),
          channel: viewUniform(perChannel),
          spatial: viewUniform(weighting),
          output: viewUniform(bound),
          height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
          channels,
        },
        bindings: { first: one, second: two, channel: perChannel, spatial: weighting, output: bound },
        workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, band.batchCount],
        operations: band.batchCount * band.rowCount * width * channels * 8,
      };
    });
  },
};
