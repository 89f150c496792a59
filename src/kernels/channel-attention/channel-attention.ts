import { defineKernel, type Dispatch, type Operator, type OperatorJob, rowsBinding, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import { formatShape, rowBytes, type Shape, type TensorView, vectors } from "../tensor.ts";
import { packVector, type Weight, weightLength } from "../weights.ts";
import correlationCode from "./correlation.wgsl";
import sumChunksCode from "./sum-chunks.wgsl";
import weightsCode from "./weights.wgsl";

/**
 * The weights of transposed channel attention (Restormer's MDTA): for each head, softmax over its channels of
 * temperature × q·kᵀ, where q and k are scaled to length 1 over all pixels. Inputs: q and k, of equal shape.
 * The output is the block-diagonal matrix of each image in the form that `applyMatrix` takes:
 * batch × 1 × (channels, filled up to a multiple of 4) × channels; applied to v it is the attention's result.
 */
export interface ChannelAttentionAttributes {
  readonly heads: number;
  /** One number a head. */
  readonly temperature: Weight;
}

const correlationKernel = defineKernel("channel-attention/correlation", correlationCode);
const sumChunksKernel = defineKernel("channel-attention/sum-chunks", sumChunksCode);
const weightsKernel = defineKernel("channel-attention/weights", weightsCode);

/** Vectors that a pair of channel vectors sums: four rows of products, the squares of q, the squares of k. */
const SUMS = 6;
const CHUNK_PIXELS = 8192;

function checkInputs(name: string, inputs: readonly Shape[], { heads, temperature }: ChannelAttentionAttributes): Shape {
  const [query, key] = inputs;
  if (!query || !key || inputs.length !== 2 || formatShape(query) !== formatShape(key)) return shapeError(name, "expected q and k of equal shape", inputs);
  if (query.channels % heads !== 0 || weightLength(temperature) !== heads) {
    return shapeError(name, `${heads} heads do not divide the channels, or ${temperature.name} has ${weightLength(temperature)} values`, inputs);
  }
  return query;
}

const pairsOf = ({ channels }: Shape, { heads }: ChannelAttentionAttributes): ReturnType<typeof sharedVectors> => sharedVectors(channels, channels / heads);

const sumsShape = (query: Shape, attributes: ChannelAttentionAttributes): Shape => ({ batch: query.batch, height: pairsOf(query, attributes).pairs.length, width: SUMS, channels: 4 });

const weightsShape = ({ batch, channels }: Shape): Shape => ({ batch, height: 1, width: vectors(channels) * 4, channels });

export const channelAttentionWeights: Operator<ChannelAttentionAttributes> = {
  name: "channelAttentionWeights",

  outputShape: (inputs, attributes) => weightsShape(checkInputs("channelAttentionWeights", inputs, attributes)),

  outputType: () => "f32",

  dispatches(job): Dispatch[] {
    const [query] = job.inputs as [TensorView];
    const sums = job.scratch("sums", sumsShape(query.shape, job.attributes));
    return [...sumDispatches(job, sums), weightsDispatch(job, sums)];
  },
};

/**
 * The first half of `channelAttentionWeights`: sums over all pixels, those of the parts of a picture added being those of the picture.
 * Inputs: q and k. Output: batch × pairs of vectors of four channels that share a head × 6 × 4, f32.
 */
export const channelAttentionSums: Operator<ChannelAttentionAttributes> = {
  name: "channelAttentionSums",

  outputShape: (inputs, attributes) => sumsShape(checkInputs("channelAttentionSums", inputs, attributes), attributes),

  outputType: () => "f32",

  dispatches: (job) => sumDispatches(job, job.output),
};

/** The second half of `channelAttentionWeights`. Input: what `channelAttentionSums` gives for so many `channels`. */
export const channelAttentionOfSums: Operator<ChannelAttentionAttributes & { readonly channels: number }> = {
  name: "channelAttentionOfSums",

  outputShape(inputs, attributes) {
    const [sums] = inputs;
    const query = { batch: sums?.batch ?? 1, height: 1, width: 1, channels: attributes.channels };
    if (!sums || inputs.length !== 1 || formatShape(sums) !== formatShape(sumsShape(query, attributes))) return shapeError("channelAttentionOfSums", "expected the sums", inputs);
    return weightsShape(query);
  },

  outputType: () => "f32",

  dispatches(job) {
    const [sums] = job.inputs as [TensorView];
    return [weightsDispatch(job, sums)];
  },
};

function sumDispatches({ inputs, attributes, traits, scratch }: Pick<OperatorJob<ChannelAttentionAttributes>, "inputs" | "attributes" | "traits" | "scratch">, sums: TensorView): Dispatch[] {
  const [query, key] = inputs as [TensorView, TensorView];
  const { batch, height, width, channels } = query.shape;
  const headChannels = channels / attributes.heads;
  const { pairs } = sharedVectors(channels, headChannels);
  const chunkRows = Math.max(1, Math.floor(CHUNK_PIXELS / width));
  const chunks = Math.ceil(height / chunkRows);
  const partialSums = scratch("partial sums", { batch, height: pairs.length * chunks, width: SUMS, channels: 4 });
  const f16 = query.storage.elementType === "f16" ? 1 : 0;
  const lanes = 64;

  const chunkBytes = chunkRows * Math.max(rowBytes(query), rowBytes(key));
  const chunksPerBand = Math.max(1, Math.floor(traits.maxStorageBufferBindingSize / chunkBytes) - 1);
  const fits = batch * height * Math.max(rowBytes(query), rowBytes(key)) <= traits.maxStorageBufferBindingSize;
  const bands = fits
    ? [{ firstBatch: 0, batchCount: batch, firstChunk: 0, chunkCount: chunks }]
    : Array.from({ length: batch * Math.ceil(chunks / chunksPerBand) }, (_, i) => {
        const firstChunk = Math.floor(i / batch) * chunksPerBand;
        return { firstBatch: i % batch, batchCount: 1, firstChunk, chunkCount: Math.min(chunksPerBand, chunks - firstChunk) };
      });
  const correlations = bands.map(({ firstBatch, batchCount, firstChunk, chunkCount }): Dispatch => {
    const first = firstBatch * height + firstChunk * chunkRows;
    const count = fits ? batch * height : Math.min(chunkCount * chunkRows, height - firstChunk * chunkRows);
    const boundQuery = rowsBinding(query, first, count, traits);
    const boundKey = rowsBinding(key, first, count, traits);
    return {
      kernel: correlationKernel,
      defines: { F16: f16 },
      constants: { LANES: lanes },
      uniforms: {
        query: viewUniform(boundQuery),
        key: viewUniform(boundKey),
        height,
        first_batch: firstBatch,
        first_chunk: firstChunk,
        chunk_rows: chunkRows,
        chunks,
        pairs: pairs.length,
      },
      bindings: {
        query: boundQuery,
        key: boundKey,
        pairs: { constant: { key: `attention pairs ${channels}/${headChannels}`, elementType: "f32", length: pairs.length, pack: (target) => target.set(Float32Array.from(pairs.flat())) } },
        partial_sums: wholeBinding(partialSums),
      },
      workgroups: [chunkCount, pairs.length, batchCount],
      operations: batchCount * chunkCount * chunkRows * width * pairs.length * 48,
    };
  });
  const sumCount = batch * pairs.length * SUMS;
  return [
    ...correlations,
    {
      kernel: sumChunksKernel,
      defines: {},
      constants: { LANES: lanes },
      uniforms: { chunks, count: sumCount },
      bindings: { partial_sums: wholeBinding(partialSums), sums: wholeBinding(sums) },
      workgroups: [Math.ceil(sumCount / lanes), 1, 1],
      operations: sumCount * chunks * 4,
    },
  ];
}

function weightsDispatch({ output, attributes }: Pick<OperatorJob<ChannelAttentionAttributes>, "output" | "attributes">, sums: TensorView): Dispatch {
  const { batch, channels } = output.shape;
  const headChannels = channels / attributes.heads;
  const { pairs, pairOf } = sharedVectors(channels, headChannels);
  const lanes = 64;
  return {
    kernel: weightsKernel,
    defines: {},
    constants: { LANES: lanes },
    uniforms: { pairs: pairs.length, channels, head_channels: headChannels },
    bindings: {
      sums: wholeBinding(sums),
      temperature: { constant: packVector(attributes.temperature, attributes.heads) },
      pair_of: { constant: { key: `attention pair table ${channels}/${headChannels}`, elementType: "f32", length: pairOf.length / 4, pack: (target) => target.set(pairOf) } },
      output: wholeBinding(output),
    },
    workgroups: [Math.ceil(vectors(channels) / lanes), batch, 1],
    operations: batch * channels * headChannels * 20,
  };
}

/** The pairs (vector of q, vector of k) that hold channels of one head, and the table from a pair to its number. */
function sharedVectors(channels: number, headChannels: number): { pairs: [number, number, number, number][]; pairOf: Float32Array } {
  const count = vectors(channels);
  const pairs: [number, number, number, number][] = [];
  const pairOf = new Float32Array(vectors(count * count) * 4).fill(-1);
  const headOf = (channel: number): number => Math.floor(Math.min(channel, channels - 1) / headChannels);
  for (let query = 0; query < count; query++) {
    for (let key = 0; key < count; key++) {
      if (headOf(query * 4) > headOf(key * 4 + 3) || headOf(key * 4) > headOf(query * 4 + 3)) continue;
      pairOf[query * count + key] = pairs.length;
      pairs.push([query, key, 0, 0]);
    }
  }
  return { pairs, pairOf };
}
