import { SinterError } from "../../errors.ts";
import type { DeviceTraits } from "../../runtime/device.ts";
import { bandBinding, defineKernel, enabling, gridOf, type Operator, rowBands, shapeError, viewUniform } from "../kernel.ts";
import { type ElementType, formatShape, type Shape, type TensorView, vectors } from "../tensor.ts";
import { defaultFirst, type VariantTable } from "../variants.ts";
import { matrixAttention } from "./matrix.ts";
import { ATTENTION_TILES, type AttentionKernel, tiledAttention } from "./tiled.ts";
import code from "./attention.wgsl";
import operandsCode from "./operands.wgsl";
import subgroupCode from "./subgroup.wgsl";

/**
 * softmax((q·kᵀ + bias) × scale)·v for each head; tokens are pixels. Inputs: q; k and v, which have pixels of their own; and, if given,
 * bias, one number a key for all heads and queries (k's pixels × 1 channel). Head h owns channels h × size … (h + 1) × size − 1. The
 * output has q's pixels and v's channels. Scores are never stored.
 */
export interface AttentionAttributes {
  /** More than one only where a head has a multiple of four channels, in q and k as in v. */
  readonly heads: number;
  /** Factor of the scores, commonly 1/√(channels of a head). */
  readonly scale: number;
}

const kernel = defineKernel("attention", operandsCode, code);
const subgroupKernel = enabling(["subgroups"], defineKernel("attention/subgroup", operandsCode, subgroupCode));

/** The widest head: a lane keeps the sums of four queries in registers. */
const MAX_HEAD_CHANNELS = 512;

/** Lanes of a subgroup for which subgroup.wgsl is written: those of software adapters. */
const SUBGROUP = 8;
const QUERY_GROUPS = 2;
/** With more, compilation takes longer than the scores of a second part. */
const MAX_VECTOR_TURNS = 3;

const SUBGROUPS = "subgroups";
const REGISTERS = "registers";

const MATRIX = "matrix";

/** As for convolutions (`convolutionVariants`). */
export const attentionVariants: VariantTable = {
  operator: "attention",
  jobs: "all",
  defaults: { nvidia: "tiled", amd: "tiled", intel: "tiled-4", apple: "tiled", mobile: REGISTERS, software: SUBGROUPS, other: REGISTERS },
};

function subgroupAttention(valueVectors: number): AttentionKernel {
  const valueBlocks = Math.ceil(valueVectors / SUBGROUP / MAX_VECTOR_TURNS);
  const turns = Math.ceil(valueVectors / SUBGROUP / valueBlocks);
  const queries = QUERY_GROUPS * SUBGROUP;
  const lanes = 32;
  return {
    kernel: subgroupKernel,
    defines: { SUBGROUP, QUERY_GROUPS, QUERY_QUADS: queries / 4, VECTOR_TURNS: turns, RESULTS: turns * queries },
    lanes,
    queries: queries * (lanes / SUBGROUP),
    valueBlocks,
  };
}

function registerAttention(valueVectors: number): AttentionKernel {
  // So many lanes that none keeps more than four vectors of sums for each of its queries.
  const columns = valueVectors <= 4 ? 4 : valueVectors <= 8 ? 8 : valueVectors <= 32 ? 16 : 32;
  const lanes = 64;
  const groups = lanes / columns;
  const keysPerLane = columns < 16 ? 4 : 2;
  return {
    kernel,
    defines: {
      COLUMNS: columns,
      GROUPS: groups,
      KEYS_PER_LANE: keysPerLane,
      KEYS: columns * keysPerLane,
      SCORES: columns * keysPerLane * groups,
      VECTOR_TURNS: Math.ceil(valueVectors / columns),
    },
    lanes,
    queries: groups * 4,
    valueBlocks: 1,
  };
}

/** The kernel of a variant; undefined where the device cannot run it. */
function attentionKernel(variant: string, valueVectors: number, elementType: ElementType, traits: DeviceTraits): AttentionKernel | undefined {
  const tile = ATTENTION_TILES.find((name) => name === variant);
  if (tile) return tiledAttention(tile, valueVectors, elementType, traits);
  if (variant === MATRIX) return matrixAttention(valueVectors, elementType, traits);
  if (variant === SUBGROUPS) return traits.subgroupSize === SUBGROUP ? subgroupAttention(valueVectors) : undefined;
  return registerAttention(valueVectors);
}

const headVectors = ({ channels }: Shape, heads: number): number => vectors(channels) / heads;

/** All rows of a tensor, as a binding. */
interface Whole {
  readonly view: TensorView;
  readonly firstRow: number;
  readonly rowCount: number;
}

export const attention: Operator<AttentionAttributes> = {
  name: "attention",

  outputShape(inputs, { heads }) {
    const [query, key, value, bias] = inputs;
    if (!query || !key || !value || inputs.length > 4) return shapeError("attention", "expected q, k, v and perhaps a bias", inputs);
    const samePixels = key.batch === value.batch && key.height === value.height && key.width === value.width;
    if (!samePixels || key.channels !== query.channels || key.batch !== query.batch) {
      return shapeError("attention", "expected k with q's channels and v's pixels", inputs);
    }
    if (bias && formatShape(bias) !== formatShape({ ...key, channels: 1 })) return shapeError("attention", "expected a bias of k's pixels × 1", inputs);
    for (const { channels } of [query, value]) {
      if (heads > 1 && channels % (4 * heads) !== 0) return shapeError("attention", `${heads} heads need a multiple of four channels each`, inputs);
      if (channels / heads > MAX_HEAD_CHANNELS) return shapeError("attention", `a head has at most ${MAX_HEAD_CHANNELS} channels`, inputs);
    }
    return { ...query, channels: value.channels };
  },

  variants({ inputs, output, attributes, traits }) {
    const valueVectors = headVectors(output.shape, attributes.heads);
    // A software adapter has no use for workgroup memory and takes seconds to compile a tile.
    const all = traits.deviceClass === "software" ? [REGISTERS, SUBGROUPS] : [REGISTERS, SUBGROUPS, ...ATTENTION_TILES, MATRIX];
    const possible = all.filter((name) => attentionKernel(name, valueVectors, inputs[0]?.storage.elementType ?? "f32", traits));
    return defaultFirst(attentionVariants, possible, traits);
  },

  dispatches({ inputs, output, attributes, traits, variant: name }) {
    const [query, key, value, bias] = inputs as [TensorView, TensorView, TensorView, TensorView?];
    const { heads, scale } = attributes;
    const { batch, height, width } = output.shape;
    const keys = key.shape.height * key.shape.width;
    for (const view of [key, value]) {
      const bytes = view.shape.batch * keys * vectors(view.storage.shape.channels) * (view.storage.elementType === "f16" ? 8 : 16);
      if (bytes > traits.maxStorageBufferBindingSize) {
        throw new SinterError("TOO_LARGE", `attention: ${keys} keys need a binding of ${bytes} bytes, over the device's limit of ${traits.maxStorageBufferBindingSize}`, {
          where: view.storage.name,
          fix: "Fuse a smaller picture, or use --precision f16.",
        });
      }
    }
    const variant = attentionKernel(name, headVectors(value.shape, heads), query.storage.elementType, traits);
    if (!variant) throw new SinterError("VARIANT", `attention has no variant "${name}" for these shapes and this device`);
    const defines = { ...variant.defines, F16: output.storage.elementType === "f16" ? 1 : 0, BIAS: bias ? 1 : 0 };
    const operationsPerPixel = 2 * keys * (query.shape.channels + value.shape.channels);
    return rowBands(output, [{ view: query, rowsRead: (rows) => rows }], batch * height * width * operationsPerPixel, traits).map((band) => {
      const bound = bandBinding(band, output, traits);
      const source = bandBinding(band, query, traits);
      const [boundKey, boundValue, boundBias] = [key, value, bias ?? key].map((view) => ({ view, firstRow: 0, rowCount: batch * view.shape.height })) as [Whole, Whole, Whole];
      return {
        kernel: variant.kernel,
        defines,
        constants: { LANES: variant.lanes },
        uniforms: {
          query: viewUniform(source),
          key: viewUniform(boundKey),
          value: viewUniform(boundValue),
          bias: viewUniform(boundBias),
          output: viewUniform(bound),
          height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
          row_count: band.rowCount,
          keys,
          heads,
          query_vectors: headVectors(query.shape, heads),
          value_vectors: headVectors(value.shape, heads),
          scale,
          turns: variant.defines["VECTOR_TURNS"] ?? 1,
        },
        bindings: { query: source, key: boundKey, value: boundValue, output: bound, ...(bias && { bias: boundBias }) },
        workgroups: [...gridOf(Math.ceil((band.rowCount * width) / variant.queries), traits), band.batchCount * heads * variant.valueBlocks],
        operations: band.batchCount * band.rowCount * width * operationsPerPixel,
      };
    });
  },
};
