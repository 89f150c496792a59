import { defineKernel, type Operator, perPixelDispatches, shapeError } from "../kernel.ts";
import { formatShape, type TensorView } from "../tensor.ts";
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
    const { channels } = output.shape;
    return perPixelDispatches({
      kernel,
      defines: { WEIGHTED: weights ? 1 : 0 },
      constants: { OPERATION: OPERATIONS[attributes.operation] },
      inputs: { first, second, weights },
      output,
      uniforms: { first_channels: first.shape.channels, second_channels: second.shape.channels, channels },
      operationsPerPixel: 3 * channels,
      traits,
    });
  },
};
