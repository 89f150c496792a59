import { statisticsDispatches } from "../group-norm/group-norm.ts";
import { type Operator, shapeError } from "../kernel.ts";
import type { TensorView } from "../tensor.ts";
import type { Weight } from "../weights.ts";

/**
 * What group norm does to each channel, without doing it: batch × 1 × 2 × channels in f32. The first pixel holds the mean of the channel's
 * group over all pixels, the second 1 / √(variance + epsilon).
 */
export interface GroupStatisticsAttributes {
  readonly groups: number;
  readonly epsilon: number;
}

export const groupStatistics: Operator<GroupStatisticsAttributes> = {
  name: "groupStatistics",

  outputShape(inputs, { groups }) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("groupStatistics", "expected one input", inputs);
    if (input.channels % groups !== 0 || input.channels % 4 !== 0) {
      return shapeError("groupStatistics", `${groups} groups or vectors of four do not divide the channels`, inputs);
    }
    return { batch: input.batch, height: 1, width: 2, channels: input.channels };
  },

  outputType: () => "f32",

  dispatches({ inputs, output, attributes, traits, scratch }) {
    const [input] = inputs as [TensorView];
    const { channels } = input.shape;
    const ones: Weight = { name: `1, ${channels} times`, shape: [channels], data: new Float32Array(channels).fill(1) };
    return statisticsDispatches({ input, factors: output, ...attributes, weight: ones, traits, scratch });
  },
};
