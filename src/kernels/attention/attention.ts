import { SinterError } from "../../errors.ts";
import { bandBinding, defineKernel, type Operator, rowBands, shapeError, viewUniform } from "../kernel.ts";
import { type Shape, type TensorView, vectors } from "../tensor.ts";
import code from "./attention.wgsl";

/**
 * softmax(q·kᵀ × scale)·v for each head; tokens are pixels. Inputs: q; k and v, which have pixels of their own. Head h owns channels
 * h × size … (h + 1) × size − 1. The output has q's pixels and v's channels. Scores are never stored.
 */
export interface AttentionAttributes {
  /** More than one only where a head has a multiple of four channels, in q and k as in v. */
  readonly heads: number;
  /** Factor of the scores, commonly 1/√(channels of a head). */
  readonly scale: number;
}

const kernel = defineKernel("attention", code);

/** The widest head: a lane keeps the sums of four queries in registers. */
const MAX_HEAD_CHANNELS = 512;
const LANES = 64;

/** All rows of a tensor, as a binding. */
interface Whole {
  readonly view: TensorView;
  readonly firstRow: number;
  readonly rowCount: number;
}

export const attention: Operator<AttentionAttributes> = {
  name: "attention",

  outputShape(inputs, { heads }) {
    const [query, key, value] = inputs;
    if (!query || !key || !value || inputs.length !== 3) return shapeError("attention", "expected q, k and v", inputs);
    const samePixels = key.batch === value.batch && key.height === value.height && key.width === value.width;
    if (!samePixels || key.channels !== query.channels || key.batch !== query.batch) {
      return shapeError("attention", "expected k with q's channels and v's pixels", inputs);
    }
    for (const { channels } of [query, value]) {
      if (heads > 1 && channels % (4 * heads) !== 0) return shapeError("attention", `${heads} heads need a multiple of four channels each`, inputs);
      if (channels / heads > MAX_HEAD_CHANNELS) return shapeError("attention", `a head has at most ${MAX_HEAD_CHANNELS} channels`, inputs);
    }
    return { ...query, channels: value.channels };
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [query, key, value] = inputs as [TensorView, TensorView, TensorView];
    const { heads, scale } = attributes;
    const { batch, height, width } = output.shape;
    const keys = key.shape.height * key.shape.width;
    const headVectors = ({ channels }: Shape): number => vectors(channels) / heads;
    for (const view of [key, value]) {
      const bytes = view.shape.batch * keys * vectors(view.storage.shape.channels) * (view.storage.elementType === "f16" ? 8 : 16);
      if (bytes > traits.maxStorageBufferBindingSize) {
        throw new SinterError("TOO_LARGE", `attention: ${keys} keys need a binding of ${bytes} bytes, over the device's limit of ${traits.maxStorageBufferBindingSize}`, {
          where: view.storage.name,
          fix: "Fuse a smaller picture, or use --precision f16.",
        });
      }
    }
    // So many lanes that none keeps more than four vectors of sums for each of its queries.
    const columns = headVectors(value.shape) <= 4 ? 4 : headVectors(value.shape) <= 8 ? 8 : headVectors(value.shape) <= 32 ? 16 : 32;
    const groups = LANES / columns;
    const keysPerLane = columns < 16 ? 4 : 2;
    const defines = {
      F16: output.storage.elementType === "f16" ? 1 : 0,
      COLUMNS: columns,
      GROUPS: groups,
      KEYS_PER_LANE: keysPerLane,
      KEYS: columns * keysPerLane,
      SCORES: columns * keysPerLane * groups,
      VECTOR_TURNS: Math.ceil(headVectors(value.shape) / columns),
    };
    const operationsPerPixel = 2 * keys * (query.shape.channels + value.shape.channels);
    return rowBands(output, [{ view: query, rowsRead: (rows) => rows }], batch * height * width * operationsPerPixel, traits).map((band) => {
      const bound = bandBinding(band, output, traits);
      const source = bandBinding(band, query, traits);
      const [boundKey, boundValue] = [key, value].map((view) => ({ view, firstRow: 0, rowCount: batch * view.shape.height })) as [Whole, Whole];
      return {
        kernel,
        defines,
        constants: { LANES },
        uniforms: {
          query: viewUniform(source),
          key: viewUniform(boundKey),
          value: viewUniform(boundValue),
          output: viewUniform(bound),
          height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
          row_count: band.rowCount,
          keys,
          query_vectors: headVectors(query.shape),
          value_vectors: headVectors(value.shape),
          scale,
        },
        bindings: { query: source, key: boundKey, value: boundValue, output: bound },
        workgroups: [Math.ceil((band.rowCount * width) / (groups * 4)), heads, band.batchCount],
        operations: band.batchCount * band.rowCount * width * operationsPerPixel,
      };
    });
  },
};
