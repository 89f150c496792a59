import { type Activation, activationNumber, activationSlope } from "../activation.ts";
import { bandBinding, channelChunks, chunkDispatches, chunksOf, defineKernel, type Dispatch, type Operator, rowBands, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import { type TensorView, vectors } from "../tensor.ts";
import { packVector, type Weight } from "../weights.ts";
import activationCode from "../common/activation.wgsl";
import channelChunkCode from "../common/channel-chunk.wgsl";
import applyCode from "./apply.wgsl";
import mergeCode from "./merge.wgsl";
import statisticsCode from "./statistics.wgsl";

/**
 * Group norm: (x − mean) / √(variance + epsilon) × weight + bias, with mean and biased variance over all pixels of a group of
 * channels, and then an activation. Groups may have any number of channels, also 1 and 3.
 */
export interface GroupNormAttributes {
  readonly groups: number;
  /** One number a channel, like `bias`. */
  readonly weight: Weight;
  readonly bias: Weight;
  readonly epsilon: number;
  readonly activation?: Activation;
}

const statisticsKernel = defineKernel("group-norm/statistics", channelChunkCode, statisticsCode);
const mergeKernel = defineKernel("group-norm/merge", mergeCode);
const applyKernel = defineKernel("group-norm/apply", activationCode, applyCode);

/** Pixels of a thread of the last pass. */
const APPLY_PIXELS = 4;

export const groupNorm: Operator<GroupNormAttributes> = {
  name: "groupNorm",

  outputShape(inputs, { groups, weight, bias }) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("groupNorm", "expected one input", inputs);
    if (input.channels % groups !== 0) return shapeError("groupNorm", `${groups} groups do not divide the channels`, inputs);
    if (weight.data.length !== input.channels || bias.data.length !== input.channels) {
      return shapeError("groupNorm", `${weight.name} has ${weight.data.length} values, ${bias.name} ${bias.data.length}`, inputs);
    }
    return input;
  },

  dispatches({ inputs, output, attributes, traits, scratch }): Dispatch[] {
    const [input] = inputs as [TensorView];
    const { batch, height, width, channels } = output.shape;
    const { groups, epsilon, activation } = attributes;
    const lanes = 64;
    const chunks = chunksOf(input.shape);
    const partialResults = scratch("partial results", { batch, height: chunks.count, width: 2, channels });
    const factors = scratch("factors", { batch, height: 1, width: 2, channels });
    const f16 = output.storage.elementType === "f16" ? 1 : 0;
    const elements = batch * height * width * channels;
    return [
      ...chunkDispatches({ kernel: statisticsKernel, input, partialResults, ...channelChunks(channels), operationsPerPixel: 3 * channels, traits }),
      {
        kernel: mergeKernel,
        defines: {},
        constants: { LANES: lanes },
        uniforms: {
          height,
          width,
          channel_vectors: vectors(channels),
          group_channels: channels / groups,
          chunks: chunks.count,
          chunk_rows: chunks.rows,
          epsilon,
        },
        bindings: {
          partial_results: wholeBinding(partialResults),
          weight: { constant: packVector(attributes.weight, channels) },
          factors: wholeBinding(factors),
        },
        workgroups: [groups, 1, batch],
        operations: batch * channels * chunks.count * 10,
      },
      ...rowBands(output, [{ view: input, rowsRead: (rows) => rows }], elements * 4, traits).map((band): Dispatch => {
        const bound = bandBinding(band, output, traits);
        const source = bandBinding(band, input, traits);
        return {
          kernel: applyKernel,
          defines: { F16: f16, PIXELS: APPLY_PIXELS },
          constants: { LANES: lanes, ACTIVATION: activationNumber(activation) },
          uniforms: {
            input: viewUniform(source),
            output: viewUniform(bound),
            height,
            first_batch: band.firstBatch,
            first_row: band.firstRow,
            channels,
            slope: activationSlope(activation),
          },
          bindings: {
            input: source,
            factors: wholeBinding(factors),
            bias: { constant: packVector(attributes.bias, channels) },
            output: bound,
          },
          workgroups: [Math.ceil((Math.ceil(width / APPLY_PIXELS) * vectors(channels)) / lanes), band.rowCount, band.batchCount],
          operations: band.batchCount * band.rowCount * width * channels * 4,
        };
      }),
    ];
  },
};
