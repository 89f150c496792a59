import { GraphEditor } from "../../../graph/editor.ts";
import type { Graph } from "../../../graph/graph.ts";
import { attention } from "../../../kernels/attention/attention.ts";
import { conv2d } from "../../../kernels/conv2d/conv2d.ts";
import { pointwiseConvolution, projectedAttention } from "./matches.ts";
import { add, derivedWeight, matrixOf, multiply, pointwiseShape, rowOf, transpose } from "./matrices.ts";

/**
 * Self-attention with two projections instead of four. The key projection Wk moves to the query, Wkᵀ(Wq x + bq), whose keys are the pixels
 * themselves; the shift Wk would add, bk, is the same for all keys and cancels in the softmax. The projection of the result moves to the
 * values, Wp Wv x + Wp bv + bp, because the weights of the softmax sum to 1.
 */
export function foldSelfAttention(graph: Graph): Graph {
  const editor = new GraphEditor(graph);
  for (const { output } of graph.nodes) {
    const projection = pointwiseConvolution(editor, output);
    const attended = projectedAttention(editor, projection?.input);
    if (!projection || !attended || editor.uses(attended.output) !== 1) continue;
    const { query, key, value, scale } = attended;
    const pixels = query.input;
    if (key.input !== pixels || value.input !== pixels) continue;
    const [outputs, inner, channels] = [output.shape.channels, query.output.shape.channels, pixels.shape.channels];
    const plain = { stride: 1, padding: 0, dilation: 1 };

    const queries = editor.add(`${query.output.name}.folded`, conv2d, [pixels], {
      ...plain,
      weight: derivedWeight("query to keys", [query.weight, key.weight], pointwiseShape(channels, channels), () => multiply(transpose(matrixOf(key.weight)), matrixOf(query.weight))),
      bias: derivedWeight("query to keys", [query.bias, key.weight], [channels], () => multiply(rowOf(query.bias, inner), matrixOf(key.weight))),
    });
    const values = editor.add(`${value.output.name}.folded`, conv2d, [pixels], {
      ...plain,
      weight: derivedWeight("projected value", [projection.weight, value.weight], pointwiseShape(outputs, channels), () => multiply(matrixOf(projection.weight), matrixOf(value.weight))),
      bias: derivedWeight("projected value", [projection.weight, value.bias, projection.bias], [outputs], () =>
        add(multiply(rowOf(value.bias, value.output.shape.channels), transpose(matrixOf(projection.weight))), rowOf(projection.bias, outputs)),
      ),
    });
    editor.replace(output, attention, [queries, pixels, values], { heads: 1, scale });
  }
  return editor.finish();
}
