import { groupNorm } from "../group-norm/group-norm.ts";
import { type Operator, shapeError } from "../kernel.ts";
import type { Shape, TensorView } from "../tensor.ts";
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

  dispatches({ inputs, output, attributes, traits, variant, scratch }) {
    const [input] = inputs as [TensorView];
    const { channels } = input.shape;
    const uniform = (value: number): Weight => ({ name: `${value}, ${channels} times`, shape: [channels], data: new Float32Array(channels).fill(value) });
    // The passes of group norm but for the last, which is the one that writes its output.
    const job = { inputs, output: input, attributes: { ...attributes, weight: uniform(1), bias: uniform(0) }, traits, variant };
    const passes = groupNorm.dispatches({ ...job, scratch: (name: string, shape: Shape) => (name === "factors" ? output : scratch(name, shape)) });
    return passes.filter(({ bindings }) => !("output" in bindings));
  },
};
