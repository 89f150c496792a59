import { bandBinding, defineKernel, type Operator, rowBands, shapeError, viewUniform } from "../kernel.ts";
import type { TensorView } from "../tensor.ts";
import { packVector, type Weight } from "../weights.ts";
import code from "./layer-norm.wgsl";

/** Layer norm over the channels of each pixel: (x − mean) / √(variance + epsilon) × weight + bias, the variance biased. */
export interface LayerNormAttributes {
  readonly weight: Weight;
  readonly bias: Weight;
  readonly epsilon: number;
}

const kernel = defineKernel("layer-norm", code);

export const layerNorm: Operator<LayerNormAttributes> = {
  name: "layerNorm",

  outputShape(inputs, { weight, bias }) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("layerNorm", "expected one input", inputs);
    if (weight.data.length !== input.channels || bias.data.length !== input.channels) {
      return shapeError("layerNorm", `${weight.name} has ${weight.data.length} values, ${bias.name} ${bias.data.length}`, inputs);
    }
    return input;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [input] = inputs as [TensorView];
    const { batch, height, width, channels } = output.shape;
    const lanes = 64;
    const operations = 8 * channels;
    return rowBands(output, [{ view: input, rowsRead: (rows) => rows }], batch * height * width * operations, traits).map((band) => {
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
          epsilon: attributes.epsilon,
        },
        bindings: {
          input: source,
          weight: { constant: packVector(attributes.weight, channels) },
          bias: { constant: packVector(attributes.bias, channels) },
          output: bound,
        },
        workgroups: [Math.ceil(width / lanes), band.rowCount, band.batchCount],
        operations: band.batchCount * band.rowCount * width * operations,
      };
    });
  },
};
