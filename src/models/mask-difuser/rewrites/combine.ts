import { GraphEditor } from "../../../graph/editor.ts";
import type { Graph, Tensor } from "../../../graph/graph.ts";
import { concat } from "../../../kernels/concat/concat.ts";
import { conv2d } from "../../../kernels/conv2d/conv2d.ts";
import { elementwise } from "../../../kernels/elementwise/elementwise.ts";
import type { Weight } from "../../../kernels/weights.ts";
import { type PlainConvolution, plainConvolution } from "./matches.ts";
import { derivedWeight, type Matrix } from "./matrices.ts";

/** A convolution over two tensors and their sum side by side. */
export interface Combination {
  readonly convolution: PlainConvolution;
  readonly first: Tensor;
  readonly second: Tensor;
  /** `first` and `second` side by side. */
  readonly pair: Tensor;
}

export function combination(editor: GraphEditor, tensor: Tensor): Combination | undefined {
  const convolution = plainConvolution(editor, tensor);
  const [pair, sum] = editor.producer(convolution?.input, concat)?.inputs ?? [];
  const [first, second] = editor.producer(pair, concat)?.inputs ?? [];
  const added = editor.producer(sum, elementwise);
  if (!convolution || !pair || !first || !second || added?.attributes.operation !== "add") return undefined;
  const summands = added.inputs.map(({ id }) => id);
  const isSum = summands.includes(first.id) && summands.includes(second.id) && first.shape.channels === second.shape.channels;
  return isSum ? { convolution, first, second, pair } : undefined;
}

/**
 * A convolution of two tensors and their sum side by side: [Wa | Wb | Wc] on (a, b, a + b) is [Wa + Wc | Wb + Wc] on (a, b), a third
 * less work and less to read. Added in float64 and rounded once.
 */
export function foldCombine(graph: Graph): Graph {
  const editor = new GraphEditor(graph);
  for (const { output } of graph.nodes) {
    const match = combination(editor, output);
    if (!match) continue;
    const { weight } = match.convolution;
    const [outputs = 0, inputs = 0, ...kernel] = weight.shape;
    const taps = kernel.reduce((product, size) => product * size, 1);
    const folded = derivedWeight("combination", [weight], [outputs, (2 * inputs) / 3, ...kernel], () => foldThirds(weight, taps));
    editor.replace(output, conv2d, [match.pair], { ...match.convolution.attributes, weight: folded });
  }
  return editor.finish();
}

/** The last third of the input channels added to each of the other two, as one row an output: [input channel][tap]. */
function foldThirds({ shape, data }: Weight, taps: number): Matrix {
  const [outputs = 0, inputs = 0] = shape;
  const third = (inputs / 3) * taps;
  const folded = new Float64Array(outputs * 2 * third);
  for (let o = 0, to = 0; o < outputs; o++) {
    const row = o * 3 * third;
    for (let i = 0; i < 2 * third; i++) folded[to++] = (data[row + i] ?? 0) + (data[row + 2 * third + (i % third)] ?? 0);
  }
  return { rows: outputs, columns: 2 * third, data: folded };
}
