import { SinterError } from "../../errors.ts";
import { type Constant, type ConstantTarget, defineKernel, type Operator, shapeError, wholeBinding } from "../kernel.ts";
import { type TensorView, vectors } from "../tensor.ts";
import { packVector, type Weight, weightLength } from "../weights.ts";
import code from "./projected-statistics.wgsl";

/**
 * The `groupStatistics` of z = W x + bias without z, from the `covariance` of x, its only input. The means are what must be taken off W x:
 * the mean of the group less the channel's bias.
 */
export interface ProjectedStatisticsAttributes {
  /** W: channels of z, a multiple of four × channels of x × 1 × 1. */
  readonly weight: Weight;
  /** Channels of z. */
  readonly bias: Weight;
  readonly groups: number;
  readonly epsilon: number;
}

const kernel = defineKernel("projected-statistics", code);

export const projectedStatistics: Operator<ProjectedStatisticsAttributes> = {
  name: "projectedStatistics",

  outputShape(inputs, { weight, bias, groups }) {
    const [input] = inputs;
    const [outputs = 0, channels = 0] = weight.shape;
    if (!input || inputs.length !== 1) return shapeError("projectedStatistics", "expected one input", inputs);
    if (input.height !== 1 || input.width !== 1 + input.channels) return shapeError("projectedStatistics", "expected means and covariances", inputs);
    if (channels !== input.channels || weightLength(bias) !== outputs) {
      return shapeError("projectedStatistics", `weight ${weight.name} is ${weight.shape.join("×")}, bias ${bias.name} has ${weightLength(bias)} values`, inputs);
    }
    if (outputs % groups !== 0 || outputs % 4 !== 0) return shapeError("projectedStatistics", `${groups} groups or vectors of four do not divide ${outputs} channels`, inputs);
    return { batch: input.batch, height: 1, width: 2, channels: outputs };
  },

  outputType([input]) {
    if (input !== "f32") throw new SinterError("SHAPE", `projectedStatistics: the covariance must be f32, not ${input}`, { where: "projectedStatistics" });
    return "f32";
  },

  dispatches({ inputs, output, attributes: { weight, bias, groups, epsilon } }) {
    const [input] = inputs as [TensorView];
    const { channels } = input.shape;
    const outputChannels = output.shape.channels;
    return [
      {
        kernel,
        defines: {},
        constants: { LANES: 64 },
        uniforms: { channels, output_channels: outputChannels, group_channels: outputChannels / groups, epsilon },
        bindings: {
          covariance: wholeBinding(input),
          matrix: { constant: packRows(weight) },
          bias: { constant: packVector(bias, outputChannels) },
          output: wholeBinding(output),
        },
        workgroups: [groups, 1, output.shape.batch],
        operations: 2 * output.shape.batch * outputChannels * channels * (channels + 2),
      },
    ];
  },
};

/** [row][vector of columns], rows filled up with zeros. */
function packRows(weight: Weight): Constant {
  const [rows = 0, columns = 0] = weight.shape;
  const stride = vectors(columns) * 4;
  const pack = (target: ConstantTarget): void => {
    const { data } = weight;
    for (let row = 0; row < rows; row++) target.set(data.subarray(row * columns, (row + 1) * columns), row * stride);
  };
  return { key: `rows ${weight.name}`, elementType: "f32", length: (rows * stride) / 4, pack };
}
