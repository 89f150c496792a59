import { GraphEditor } from "../../../graph/editor.ts";
import type { Graph, Tensor } from "../../../graph/graph.ts";
import { attention } from "../../../kernels/attention/attention.ts";
import { concat } from "../../../kernels/concat/concat.ts";
import { conv2d } from "../../../kernels/conv2d/conv2d.ts";
import { covariance } from "../../../kernels/covariance/covariance.ts";
import { fill } from "../../../kernels/fill/fill.ts";
import { groupNorm } from "../../../kernels/group-norm/group-norm.ts";
import { groupStatistics } from "../../../kernels/group-statistics/group-statistics.ts";
import { projectedStatistics } from "../../../kernels/projected-statistics/projected-statistics.ts";
import { scaleKeys } from "../../../kernels/scale-keys/scale-keys.ts";
import type { Weight } from "../../../kernels/weights.ts";
import { type Combination, combination } from "./combine.ts";
import { type CrossAttention, crossAttention } from "./matches.ts";
import { add, derivedWeight, type Matrix, matrixOf, multiply, pointwiseShape, rowOf, scaleColumns, stack, transpose } from "./matrices.ts";

/*
 * With x the pixels, c the condition, n(c) the condition normalised without scale and shift, g and b scale and shift of a norm, m and r mean
 * and 1/deviation of the pixels, a cross-attention is
 *
 *   scores (Wq (g ⊙ r ⊙ (x − m) + b) + bq) · Wk (gc ⊙ n(c)), up to what is the same for all keys of a query: bk and the shift of c's norm
 *   values Wv (gc ⊙ n(c)) + a with a = Wv bc + bv
 */

const PLAIN = { stride: 1, padding: 0, dilation: 1 } as const;

/**
 * Cross-attention without queries of its own: (r ⊙ U) · x + κ − (m ⊙ r) · U, where U = diag(g) Wqᵀ Wk diag(gc) n(c) and κ = (Wq b + bq) · Wk
 * diag(gc) n(c) do not depend on the pixels. A step rescales the keys, of which there are few, instead of normalising and projecting every
 * pixel.
 */
export function foldCrossQueries(graph: Graph): Graph {
  const editor = new GraphEditor(graph);
  for (const { output } of graph.nodes) {
    const cross = crossAttention(editor, output);
    if (!cross) continue;
    const { pixels, value, scale } = cross;
    const { channels } = pixels.input.shape;
    const { groups, epsilon } = pixels.attributes;
    const statistics = editor.add(`${pixels.output.name}.statistics`, groupStatistics, [pixels.input], { groups, epsilon });
    const scaled = editor.add(`${output.name}.keys`, scaleKeys, [foldedKeys(editor, cross), statistics], {});
    const values = editor.add(`${value.output.name}.folded`, conv2d, [normalisedCondition(editor, cross)], { ...PLAIN, weight: valueWeight(cross), bias: valueConstant(cross) });
    editor.replace(output, attention, [pixels.input, editor.slice(scaled, 0, channels), values, editor.slice(scaled, channels, 1)], { heads: 1, scale });
  }
  return editor.finish();
}

/**
 * Two cross-attentions one after the other, there and back, and the convolution that combines both, in the condition's channels where a block
 * is wider than the condition. Keys and values are the normalised condition itself:
 *
 * - the query is projected to the condition's channels, diag(gc) Wkᵀ (Wq norm(x) + bq);
 * - the inner result Wv' s + a, Wv' = Wv diag(gc), is never made: its statistics follow from mean and covariance of s, and the outer scores
 *   s · Wv'ᵀ (r ⊙ U) + κ − ((m − a) ⊙ r) · U from s, with keys that a step makes;
 * - the outer result goes into the convolution as it is: W Wv' on s. The constant a must not reach into the zero padding, so W a is the
 *   weight of one more channel, which is 1 inside the picture.
 */
export function foldConditionRank(graph: Graph): Graph {
  const editor = new GraphEditor(graph);
  for (const { output } of graph.nodes) {
    const combined = combination(editor, output);
    const [first, second] = combined ? [thereAndBack(editor, combined.first), thereAndBack(editor, combined.second)] : [];
    if (!combined || !first || !second || !isSameQuery(first.inner, second.inner)) continue;
    const { convolution, pair } = combined;
    const results = [first, second].map(({ inner, outer }) => attendInRank(editor, inner, outer)) as [Tensor, Tensor];
    const both = editor.add(`${pair.name}.rank`, concat, results, {});
    const inside = editor.add(`${output.name}.inside`, fill, [first.inner.pixels.input], { value: 1, channels: 1 });
    const input = editor.add(`${convolution.input.name}.rank`, concat, [both, inside], {});
    editor.replace(output, conv2d, [input], { ...convolution.attributes, weight: combinedWeight(combined, [first.outer, second.outer]) });
  }
  return editor.finish();
}

interface ThereAndBack {
  readonly inner: CrossAttention;
  readonly outer: CrossAttention;
}

/** Cross-attention to one condition and then to another, where nothing else reads the results and both are narrower than the pixels. */
function thereAndBack(editor: GraphEditor, tensor: Tensor): ThereAndBack | undefined {
  const outer = crossAttention(editor, tensor);
  const inner = crossAttention(editor, outer?.pixels.input);
  if (!outer || !inner) return undefined;
  // The outer result is read by the concatenation and by the sum.
  const isReadHere = editor.uses(outer.output) === 2 && editor.uses(inner.output) === 1;
  const isWide = [inner, outer].every(({ condition, value }) => value.output.shape.channels > condition.input.shape.channels);
  return isReadHere && isWide ? { inner, outer } : undefined;
}

/** Whether two attentions take the same query in the condition's channels. */
function isSameQuery(first: CrossAttention, second: CrossAttention): boolean {
  const weights = ({ query, key, condition }: CrossAttention): string => [query.output.name, key.weight.name, condition.attributes.weight.name].join();
  return weights(first) === weights(second);
}

/** The weighted sum of the outer attention in the condition's channels. */
function attendInRank(editor: GraphEditor, inner: CrossAttention, outer: CrossAttention): Tensor {
  const { pixels, query, key, condition } = inner;
  const { groups, epsilon } = outer.pixels.attributes;
  const { channels } = outer.pixels.input.shape;
  const rank = condition.input.shape.channels;
  const toKeys = (): Matrix => transpose(scaleColumns(matrixOf(key.weight), rowOf(condition.attributes.weight, rank)));
  const queries = editor.add(`${query.output.name}.rank`, conv2d, [pixels.output], {
    ...PLAIN,
    weight: derivedWeight("query to condition", [query.weight, key.weight, condition.attributes.weight], pointwiseShape(rank, pixels.input.shape.channels), () => multiply(toKeys(), matrixOf(query.weight))),
    bias: derivedWeight("query to condition", [query.bias, key.weight, condition.attributes.weight], [rank], () => multiply(rowOf(query.bias, query.output.shape.channels), transpose(toKeys()))),
  });
  const innerCondition = normalisedCondition(editor, inner);
  const sums = editor.add(`${inner.output.name}.rank`, attention, [queries, innerCondition, innerCondition], { heads: 1, scale: inner.scale });

  const moments = editor.add(`${inner.output.name}.covariance`, covariance, [sums], {});
  const projection = { weight: valueWeight(inner), bias: valueConstant(inner) };
  const statistics = editor.add(`${outer.pixels.output.name}.statistics`, projectedStatistics, [moments], { ...projection, groups, epsilon });
  const scaled = editor.add(`${outer.output.name}.keys`, scaleKeys, [foldedKeys(editor, outer), statistics], {});
  const keys = editor.add(`${outer.output.name}.keys.rank`, conv2d, [editor.slice(scaled, 0, channels)], { ...PLAIN, weight: transposedWeight(projection.weight) });
  const bias = editor.slice(scaled, channels, 1);
  return editor.add(`${outer.output.name}.rank`, attention, [sums, keys, normalisedCondition(editor, outer), bias], { heads: 1, scale: outer.scale });
}

/** n(c): the same for every block, because a norm's statistics do not depend on its scale and shift. */
function normalisedCondition(editor: GraphEditor, { condition: { input, attributes } }: CrossAttention): Tensor {
  const { channels } = input.shape;
  const uniform = (value: number): Weight => ({ name: `${value}, ${channels} times`, shape: [channels], data: new Float32Array(channels).fill(value) });
  const { groups, epsilon } = attributes;
  return editor.add(`${input.name}.normalised`, groupNorm, [input], { groups, epsilon, weight: uniform(1), bias: uniform(0) });
}

/** U, and κ as one more channel. */
function foldedKeys(editor: GraphEditor, cross: CrossAttention): Tensor {
  const { pixels, condition, query, key } = cross;
  const channels = pixels.input.shape.channels;
  const rank = condition.input.shape.channels;
  const { weight: scale, bias: shift } = pixels.attributes;
  const sources = [scale, shift, query.weight, query.bias, key.weight, condition.attributes.weight];
  const weight = derivedWeight("keys", sources, pointwiseShape(channels + 1, rank), () => {
    const matrix = matrixOf(query.weight);
    const toCondition = scaleColumns(matrixOf(key.weight), rowOf(condition.attributes.weight, rank));
    const shifted = add(multiply(rowOf(shift, channels), transpose(matrix)), rowOf(query.bias, matrix.rows));
    return stack(multiply(transpose(scaleColumns(matrix, rowOf(scale, channels))), toCondition), multiply(shifted, toCondition));
  });
  return editor.add(`${key.output.name}.folded`, conv2d, [normalisedCondition(editor, cross)], { ...PLAIN, weight });
}

/** Wv' = Wv diag(gc). */
function valueWeight({ value, condition }: CrossAttention): Weight {
  const rank = condition.input.shape.channels;
  const { weight: scale } = condition.attributes;
  return derivedWeight("value", [value.weight, scale], pointwiseShape(value.output.shape.channels, rank), () => scaleColumns(matrixOf(value.weight), rowOf(scale, rank)));
}

/** a = Wv bc + bv. */
function valueConstant({ value, condition }: CrossAttention): Weight {
  const channels = value.output.shape.channels;
  const { bias: shift } = condition.attributes;
  return derivedWeight("constant of value", [value.weight, value.bias, shift], [channels], () =>
    add(multiply(rowOf(shift, condition.input.shape.channels), transpose(matrixOf(value.weight))), rowOf(value.bias, channels)),
  );
}

function transposedWeight(weight: Weight): Weight {
  const [outputs = 0, inputs = 0] = weight.shape;
  return derivedWeight("transpose", [weight], pointwiseShape(inputs, outputs), () => transpose(matrixOf(weight)));
}

/** [(Wa + Wc) Wv' | (Wb + Wc) Wv' | (Wa + Wc) a + (Wb + Wc) a], each Wv' and a that of its own attention. */
function combinedWeight({ convolution: { weight } }: Combination, attended: readonly [CrossAttention, CrossAttention]): Weight {
  const [outputs = 0, inputs = 0, ...kernel] = weight.shape;
  const taps = kernel.reduce((product, size) => product * size, 1);
  const half = inputs / 3;
  const ranks = attended.map(({ condition }) => condition.input.shape.channels);
  const total = ranks.reduce((a, b) => a + b) + 1;
  const sources = [weight, ...attended.flatMap(({ value, condition }) => [value.weight, value.bias, condition.attributes.weight, condition.attributes.bias])];
  return derivedWeight("combination of values", sources, [outputs, total, ...kernel], () => {
    const values = weight.data;
    const data = new Float64Array(outputs * total * taps);
    const rows = new Float64Array(outputs * taps * half);
    let first = 0;
    for (const [side, cross] of attended.entries()) {
      const rank = ranks[side] ?? 0;
      // Wv' and a side by side, so that one product makes both; [output, tap] × channels times that.
      const { bias: shift, weight: scale } = cross.condition.attributes;
      const projected = matrixOf(cross.value.weight);
      const constant = add(multiply(rowOf(shift, rank), transpose(projected)), rowOf(cross.value.bias, half));
      const projection = transpose(stack(transpose(scaleColumns(projected, rowOf(scale, rank))), constant));
      for (let o = 0; o < outputs; o++) {
        for (let c = 0; c < half; c++) {
          const [own, sum] = [(o * inputs + side * half + c) * taps, (o * inputs + 2 * half + c) * taps];
          for (let tap = 0; tap < taps; tap++) rows[(o * taps + tap) * half + c] = (values[own + tap] ?? 0) + (values[sum + tap] ?? 0);
        }
      }
      const product = multiply({ rows: outputs * taps, columns: half, data: rows }, projection).data;
      for (let o = 0; o < outputs; o++) {
        for (let tap = 0; tap < taps; tap++) {
          const row = (o * taps + tap) * (rank + 1);
          for (let e = 0; e < rank; e++) data[(o * total + first + e) * taps + tap] = product[row + e] ?? 0;
          const last = (o * total + total - 1) * taps + tap;
          data[last] = (data[last] ?? 0) + (product[row + rank] ?? 0);
        }
      }
      first += rank;
    }
    return { rows: outputs, columns: total * taps, data };
  });
}
