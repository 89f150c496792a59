import { SinterError } from "../../errors.ts";
import { type Activation, activationNumber, activationSlope } from "../activation.ts";
import { type Band, bandBinding, channelChunks, chunkDispatches, chunksOf, defineKernel, type Dispatch, gridOf, type Operator, type OperatorJob, rowBands, shapeError, type VariantJob, viewUniform, wholeBinding } from "../kernel.ts";
import { formatShape, type TensorView, vectors } from "../tensor.ts";
import { defaultFirst, type VariantTable } from "../variants.ts";
import { packVector, type Weight, weightLength } from "../weights.ts";
import activationCode from "../common/activation.wgsl";
import channelChunkCode from "../common/channel-chunk.wgsl";
import applyCode from "./apply.wgsl";
import mergeMomentsCode from "../common/merge-moments.wgsl";
import mergeCode from "./merge.wgsl";
import statisticsCode from "./statistics.wgsl";
import wholeCode from "./whole.wgsl";

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
  /** Applied before the residual is added. */
  readonly activation?: Activation;
  /** Adds the second input, a tensor of the output's shape. */
  readonly residual?: boolean;
}

const statisticsKernel = defineKernel("group-norm/statistics", channelChunkCode, statisticsCode);
const mergeKernel = defineKernel("group-norm/merge", mergeMomentsCode, mergeCode);
const applyKernel = defineKernel("group-norm/apply", activationCode, applyCode);
const wholeKernel = defineKernel("group-norm/whole", activationCode, wholeCode);

export const groupNorm: Operator<GroupNormAttributes> = {
  name: "groupNorm",

  outputShape(inputs, { groups, weight, bias, residual }) {
    const [input, added] = inputs;
    if (!input || inputs.length !== (residual ? 2 : 1)) return shapeError("groupNorm", `expected ${residual ? "two inputs" : "one input"}`, inputs);
    if (added && formatShape(added) !== formatShape(input)) return shapeError("groupNorm", `the residual must be ${formatShape(input)}`, inputs);
    if (input.channels % groups !== 0) return shapeError("groupNorm", `${groups} groups do not divide the channels`, inputs);
    if (weightLength(weight) !== input.channels || weightLength(bias) !== input.channels) {
      return shapeError("groupNorm", `${weight.name} has ${weightLength(weight)} values, ${bias.name} ${weightLength(bias)}`, inputs);
    }
    return input;
  },

  variants(job) {
    const passes = Object.keys(APPLY_TILES);
    return isSmall(job) ? defaultFirst(smallGroupNormVariants, [...Object.keys(WHOLE_TILES), ...passes], job.traits) : defaultFirst(groupNormVariants, passes, job.traits);
  },

  dispatches(job) {
    return job.variant in WHOLE_TILES ? wholeDispatches(job) : passDispatches(job);
  },
};

/** Threads of a workgroup, and pixels that a thread takes in a turn: a GPU reads them at once, a CPU compiles less code. */
interface Tile {
  readonly lanes: number;
  readonly pixels: number;
}

/** Of the last of three passes. */
const APPLY_TILES: Readonly<Record<string, Tile & { readonly turns: number }>> = {
  "4 pixels a thread": { lanes: 64, pixels: 4, turns: 1 },
  "64 pixels a thread": { lanes: 8, pixels: 1, turns: 64 },
};
/** Of the single dispatch; as long as there are so many workgroups, each takes more channels. */
const WHOLE_TILES: Readonly<Record<string, Tile & { readonly workgroups: number }>> = {
  "one dispatch, 256 lanes": { lanes: 256, pixels: 4, workgroups: Number.POSITIVE_INFINITY },
  "one dispatch, 8 lanes": { lanes: 8, pixels: 1, workgroups: 4 },
};

/** A GPU wants many short threads. A software adapter takes as long to start one as for several pixels. */
export const groupNormVariants: VariantTable = {
  operator: "groupNorm",
  jobs: "many pixels",
  defaults: {
    nvidia: "4 pixels a thread",
    amd: "4 pixels a thread",
    intel: "4 pixels a thread",
    apple: "4 pixels a thread",
    mobile: "4 pixels a thread",
    software: "64 pixels a thread",
    other: "4 pixels a thread",
  },
};
/** Where one workgroup reads a group in little more than the time that a dispatch takes. */
export const smallGroupNormVariants: VariantTable = {
  operator: "groupNorm",
  jobs: "few pixels",
  defaults: {
    nvidia: "one dispatch, 256 lanes",
    amd: "one dispatch, 256 lanes",
    intel: "one dispatch, 256 lanes",
    apple: "one dispatch, 256 lanes",
    mobile: "one dispatch, 256 lanes",
    software: "one dispatch, 8 lanes",
    other: "one dispatch, 256 lanes",
  },
};

/** Vectors that a workgroup may read for one dispatch to be faster than three, whatever the number of groups. */
const MOST_WHOLE_VECTORS = 3072;
/** whole.wgsl keeps the statistics of so many channels. */
const MOST_BLOCK_VECTORS = 8;
/** Pixels of a chunk of the first pass: enough for a workgroup, few enough that a small picture keeps more than one busy. */
const CHUNK_PIXELS = 1024;
/** What a thread of the second pass merges by itself. */
const MERGED_BY_THREAD = 4;

/** The fewest vectors that are whole groups, or all there are. */
function blockVectors(channels: number, groups: number): number {
  const size = channels / groups;
  const common = size % 4 === 0 ? 4 : size % 2 === 0 ? 2 : 1;
  return Math.min(vectors(channels), size / common);
}

/** Bands of the last pass. */
function applyBands({ inputs, output, traits }: VariantJob<GroupNormAttributes>): Band[] {
  const { batch, height, width, channels } = output.shape;
  return rowBands(output, inputs.map((view) => ({ view, rowsRead: (rows) => rows })), batch * height * width * channels * 4, traits);
}

function isSmall(job: VariantJob<GroupNormAttributes>): boolean {
  const { height, width, channels } = job.output.shape;
  const block = blockVectors(channels, job.attributes.groups);
  return block <= MOST_BLOCK_VECTORS && height * width * block <= MOST_WHOLE_VECTORS && applyBands(job).length === 1;
}

function wholeDispatches({ inputs, output, attributes, variant }: OperatorJob<GroupNormAttributes>): Dispatch[] {
  const [input, residual] = inputs as [TensorView, TensorView?];
  const tile = WHOLE_TILES[variant];
  if (!tile) throw new SinterError("VARIANT", `groupNorm has no variant "${variant}"`);
  const { batch, height, width, channels } = output.shape;
  const { groups, weight, bias, epsilon, activation } = attributes;
  const workgroups = (block: number): number => Math.ceil(vectors(channels) / block);
  let block = blockVectors(channels, groups);
  while (2 * block <= MOST_BLOCK_VECTORS && batch * workgroups(2 * block) >= tile.workgroups) block *= 2;
  // The largest power of two that divides it.
  const vectorLanes = block & -block;
  const [source, bound] = [wholeBinding(input), wholeBinding(output)];
  const added = residual && wholeBinding(residual);
  return [
    {
      kernel: wholeKernel,
      defines: { F16: output.storage.elementType === "f16" ? 1 : 0, PIXELS: tile.pixels, BLOCK_CHANNELS: 4 * MOST_BLOCK_VECTORS, RESIDUAL: added ? 1 : 0 },
      constants: { LANES: tile.lanes, ACTIVATION: activationNumber(activation) },
      uniforms: {
        input: viewUniform(source),
        ...(added && { residual: viewUniform(added) }),
        output: viewUniform(bound),
        pixels: height * width,
        channels,
        group_channels: channels / groups,
        block_vectors: block,
        vector_lanes: vectorLanes,
        pixel_lanes: tile.lanes / vectorLanes,
        epsilon,
        slope: activationSlope(activation),
      },
      bindings: { input: source, weight: { constant: packVector(weight, channels) }, bias: { constant: packVector(bias, channels) }, output: bound, ...(added && { residual: added }) },
      workgroups: [workgroups(block), 1, batch],
      operations: batch * height * width * channels * 7,
    },
  ];
}

function passDispatches(job: OperatorJob<GroupNormAttributes>): Dispatch[] {
  const { inputs, output, attributes, traits, variant, scratch } = job;
  const [input, residual] = inputs as [TensorView, TensorView?];
  const tile = APPLY_TILES[variant];
  if (!tile) throw new SinterError("VARIANT", `groupNorm has no variant "${variant}"`);
  const { batch, height, width, channels } = output.shape;
  const { activation } = attributes;
  const factors = scratch("factors", { batch, height: 1, width: 2, channels });
  return [
    ...statisticsDispatches({ input, factors, ...attributes, traits, scratch }),
    ...applyBands(job).map((band): Dispatch => {
      const bound = bandBinding(band, output, traits);
      const source = bandBinding(band, input, traits);
      const added = residual && bandBinding(band, residual, traits);
      const pixels = band.rowCount * width;
      const threads = Math.ceil(pixels / (tile.pixels * tile.turns)) * vectors(channels);
      return {
        kernel: applyKernel,
        defines: { F16: output.storage.elementType === "f16" ? 1 : 0, PIXELS: tile.pixels, RESIDUAL: added ? 1 : 0 },
        constants: { LANES: tile.lanes, ACTIVATION: activationNumber(activation) },
        uniforms: {
          input: viewUniform(source),
          ...(added && { residual: viewUniform(added) }),
          output: viewUniform(bound),
          height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
          pixels,
          turns: tile.turns,
          channels,
          slope: activationSlope(activation),
        },
        bindings: {
          input: source,
          factors: wholeBinding(factors),
          bias: { constant: packVector(attributes.bias, channels) },
          output: bound,
          ...(added && { residual: added }),
        },
        workgroups: [...gridOf(Math.ceil(threads / tile.lanes), traits), band.batchCount],
        operations: band.batchCount * band.rowCount * width * channels * 4,
      };
    }),
  ];
}

/** What `statisticsDispatches` is given. */
export interface StatisticsJob extends Pick<GroupNormAttributes, "groups" | "weight" | "epsilon">, Pick<OperatorJob<unknown>, "traits" | "scratch"> {
  readonly input: TensorView;
  /** Batch × 1 × 2 × channels in f32, whole vectors: what is made. The mean of each channel's group, and weight / √(variance + epsilon). */
  readonly factors: TensorView;
}

/** The first passes of group norm. */
export function statisticsDispatches({ input, factors, groups, weight, epsilon, traits, scratch }: StatisticsJob): Dispatch[] {
  const { batch, height, width, channels } = input.shape;
  const chunks = chunksOf(input.shape, CHUNK_PIXELS);
  const partialResults = scratch("partial results", { batch, height: chunks.count, width: 2, channels });
  const merged = (channels / groups) * chunks.count;
  return [
    ...chunkDispatches({ kernel: statisticsKernel, input, partialResults, chunks, ...channelChunks(channels), operationsPerPixel: 3 * channels, traits }),
    {
      kernel: mergeKernel,
      defines: {},
      constants: { LANES: Math.min(64, Math.max(8, 2 ** Math.ceil(Math.log2(merged / MERGED_BY_THREAD)))) },
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
        weight: { constant: packVector(weight, channels) },
        factors: wholeBinding(factors),
      },
      workgroups: [groups, 1, batch],
      operations: batch * channels * chunks.count * 10,
    },
  ];
}
