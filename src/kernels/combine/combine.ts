import { bandBinding, defineKernel, type Operator, rowBands, shapeError, viewUniform } from "../kernel.ts";
import { formatShape, type TensorView, vectors } from "../tensor.ts";
import code from "./combine.wgsl";

/**
 * Makes two tensors of one size one, element by element: their mean, their maximum, or the element of larger magnitude (the first's
 * if they are equal); with `weightedMean`, w × first + (1 − w) × second with weights w from a third tensor of one channel. Where one
 * tensor has one channel and the other more, that channel stands for each.
 */
export interface CombineAttributes {
  readonly operation: "mean" | "maximum" | "largerMagnitude" | "weightedMean";
}

const kernel = defineKernel("combine", code);

const OPERATIONS = { mean: 0, maximum: 1, largerMagnitude: 2, weightedMean: 3 } as const;

export const combine: Operator<CombineAttributes> = {
  name: "combine",

  outputShape(inputs, { operation }) {
    const [first, second, weights] = inputs;
    const expected = operation === "weightedMean" ? 3 : 2;
    if (!first || !second || inputs.length !== expected) return shapeError(operation, `expected ${expected} inputs`, inputs);
    const output = { ...first, channels: Math.max(first.channels, second.channels) };
    for (const shape of [first, second]) {
      if (![1, output.channels].includes(shape.channels) || formatShape({ ...shape, channels: output.channels }) !== formatShape(output)) {
        return shapeError(operation, "expected equal shapes, or one tensor of one channel", inputs);
      }
    }
    if (weights && formatShape(weights) !== formatShape({ ...first, channels: 1 })) {
      return shapeError(operation, `expected weights of ${formatShape({ ...first, channels: 1 })}`, inputs);
    }
    return output;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [first, second, weights] = inputs as [TensorView, TensorView, TensorView?];
    const { batch, height, width, channels } = output.shape;
    const lanes = 64;
    const reads = inputs.map((view) => ({ view, rowsRead: (rows: number) => rows }));
    return rowBands(output, reads, batch * height * width * channels * 3, traits).map((band) => {
      const bound = bandBinding(band, output, traits);
      const source = bandBinding(band, first, traits);
      const other = bandBinding(band, second, traits);
      const weighting = weights && bandBinding(band, weights, traits);
      return {
        kernel,
        defines: { F16: output.storage.elementType === "f16" ? 1 : 0, WEIGHTED: weights ? 1 : 0 },
        constants: {
          OPERATION: OPERATIONS[attributes.operation],
          FIRST_CHANNELS: first.shape.channels,
          SECOND_CHANNELS: second.shape.channels,
          CHANNELS: channels,
          LANES: lanes,
        },
        uniforms: {
          first: viewUniform(source),
          second: viewUniform(other),
          weights: viewUniform(weighting ?? source),
          output: viewUniform(bound),
          height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
        },
        bindings: { first: source, second: other, output: bound, ...(weighting && { weights: weighting }) },
        workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, band.batchCount],
        operations: band.batchCount * band.rowCount * width * channels * 3,
      };
    });
  },
};
