import { defineKernel, type Operator, shapeError, wholeBinding } from "../kernel.ts";
import { formatShape, type Shape, type TensorView, vectors } from "../tensor.ts";
import poolCode from "./pool.wgsl";
import pooledStatisticsCode from "./pooled-statistics.wgsl";

/** How the statistics of parts of a picture become those of the whole. */
export type PoolAttributes =
  /** Each part's numbers times a factor, added. */
  | { readonly kind: "sum"; readonly factor: number }
  /** What `groupStatistics` gives; kept as mean and mean square of each channel's group, which `pooledStatistics` turns back. */
  | { readonly kind: "groupStatistics"; readonly epsilon: number }
  | { readonly kind: "maximum" };

const KINDS = { sum: 0, groupStatistics: 1, maximum: 2 } as const;
const LANES = 64;

const poolKernel = defineKernel("tile/pool", poolCode);
const pooledStatisticsKernel = defineKernel("tile/pooled-statistics", pooledStatisticsCode);

const vectorCount = ({ batch, height, width, channels }: Shape): number => batch * height * width * vectors(channels);

/**
 * Takes a part of a picture into account. Inputs: the result for the parts before; the part's statistics, of the same shape and type; its share
 * of the picture, which group statistics need, and 1 where it is the first part, else 0, as a tensor 1 × 1 × 1 × 4 in f32 whose other numbers
 * mean nothing. Output: of the
 * statistics' shape and type.
 */
export const pool: Operator<PoolAttributes> = {
  name: "pool",

  outputShape(inputs, { kind }) {
    const [before, part, share] = inputs;
    if (!before || !part || !share || inputs.length !== 3 || formatShape(before) !== formatShape(part)) return shapeError("pool", "expected two inputs of equal shape and a share", inputs);
    if (formatShape(share) !== "1×1×1×4") return shapeError("pool", "expected four numbers for the share", inputs);
    if (kind === "groupStatistics" && (part.height !== 1 || part.width !== 2)) return shapeError("pool", "expected what groupStatistics gives", inputs);
    return part;
  },

  dispatches({ inputs, output, attributes }) {
    const [before, part, share] = inputs as [TensorView, TensorView, TensorView];
    const count = vectorCount(output.shape);
    return [
      {
        kernel: poolKernel,
        defines: { F16: output.storage.elementType === "f16" ? 1 : 0 },
        constants: { LANES, KIND: KINDS[attributes.kind] },
        uniforms: { count, vectors: vectors(output.shape.channels), epsilon: attributes.kind === "groupStatistics" ? attributes.epsilon : 0, factor: attributes.kind === "sum" ? attributes.factor : 1 },
        bindings: { before: wholeBinding(before), part: wholeBinding(part), share: wholeBinding(share), output: wholeBinding(output) },
        workgroups: [Math.ceil(count / LANES), 1, 1],
        operations: count * 8,
      },
    ];
  },
};

/** What `groupStatistics` would give for the whole, from what `pool` has of all its parts: batch × 1 × 2 × channels, f32. */
export const pooledStatistics: Operator<{ readonly epsilon: number }> = {
  name: "pooledStatistics",

  outputShape(inputs) {
    const [input] = inputs;
    if (!input || inputs.length !== 1 || input.height !== 1 || input.width !== 2) return shapeError("pooledStatistics", "expected pooled group statistics", inputs);
    return input;
  },

  dispatches({ inputs, output, attributes: { epsilon } }) {
    const [input] = inputs as [TensorView];
    const count = vectorCount(output.shape);
    return [
      {
        kernel: pooledStatisticsKernel,
        defines: {},
        constants: { LANES },
        uniforms: { count, vectors: vectors(output.shape.channels), epsilon },
        bindings: { input: wholeBinding(input), output: wholeBinding(output) },
        workgroups: [Math.ceil(count / LANES), 1, 1],
        operations: count * 16,
      },
    ];
  },
};
