import { bandBinding, defineKernel, type Operator, rowBands, shapeError, viewUniform } from "../kernel.ts";
import { type TensorView, vectors } from "../tensor.ts";
import code from "./clip.wgsl";

/** Clips every value of a tensor to 0..limit. */
export interface ClipAttributes {
  readonly limit: number;
}

const kernel = defineKernel("clip", code);

export const clip: Operator<ClipAttributes> = {
  name: "clip",

  outputShape(inputs) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("clip", "expected one input", inputs);
    return input;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [input] = inputs as [TensorView];
    const { batch, height, width, channels } = output.shape;
    const lanes = 64;
    return rowBands(output, [{ view: input, rowsRead: (rows) => rows }], batch * height * width * channels, traits).map((band) => {
      const bound = bandBinding(band, output, traits);
      const source = bandBinding(band, input, traits);
      return {
        kernel,
        defines: { F16: output.storage.elementType === "f16" ? 1 : 0 },
        constants: { CHANNELS: channels, LANES: lanes },
        uniforms: {
          input: viewUniform(source),
          output: viewUniform(bound),
          height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
          limit: attributes.limit,
        },
        bindings: { input: source, output: bound },
        workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, band.batchCount],
        operations: band.batchCount * band.rowCount * width * channels,
      };
    });
  },
};
