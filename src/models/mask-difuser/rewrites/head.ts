import { GraphEditor } from "../../../graph/editor.ts";
import { type Graph, storedTensor, type Tensor } from "../../../graph/graph.ts";
import { concat } from "../../../kernels/concat/concat.ts";
import { conv2d } from "../../../kernels/conv2d/conv2d.ts";
import type { Weight } from "../../../kernels/weights.ts";
import { plainConvolution } from "./matches.ts";
import { derivedWeight } from "./matrices.ts";

/**
 * A convolution of two tensors side by side of which one does not change from step to step: it is linear, so the part that reads the fixed
 * one becomes a convolution of its own, to be made once, and is added to the other part where that is stored.
 *
 * @param changing names of the graph's inputs that change
 */
export function foldHead(graph: Graph, changing: readonly string[]): Graph {
  const changes = new Set(graph.inputs.filter(({ name }) => changing.includes(name)).map(({ id }) => id));
  const isChanging = (tensor: Tensor): boolean => changes.has(storedTensor(tensor).id);
  for (const { inputs, output } of graph.nodes) if (inputs.some(isChanging)) changes.add(output.id);

  const editor = new GraphEditor(graph);
  for (const { output } of graph.nodes) {
    const convolution = plainConvolution(editor, output);
    const [first, second] = editor.producer(convolution?.input, concat)?.inputs ?? [];
    if (!convolution || !first || !second || isChanging(first) === isChanging(second)) continue;
    const { attributes, weight } = convolution;
    const { bias: _, ...withoutBias } = attributes;
    const parts = [
      { tensor: first, weight: inputChannels(weight, 0, first.shape.channels) },
      { tensor: second, weight: inputChannels(weight, first.shape.channels, second.shape.channels) },
    ];
    const fixed = parts.find(({ tensor }) => !isChanging(tensor));
    const other = parts.find(({ tensor }) => isChanging(tensor));
    if (!fixed || !other) continue;
    const added = editor.add(`${output.name}.fixed`, conv2d, [fixed.tensor], { ...attributes, weight: fixed.weight });
    editor.replace(output, conv2d, [other.tensor, added], { ...withoutBias, weight: other.weight, residual: true });
  }
  return editor.finish();
}

/** The part of a convolution that reads `count` input channels from `first` on. */
function inputChannels(weight: Weight, first: number, count: number): Weight {
  const [outputs = 0, inputs = 0, ...kernel] = weight.shape;
  const taps = kernel.reduce((product, size) => product * size, 1);
  return derivedWeight(`inputs ${first} to ${first + count}`, [weight], [outputs, count, ...kernel], () => {
    const values = weight.data;
    const data = new Float64Array(outputs * count * taps);
    for (let o = 0; o < outputs; o++) data.set(values.subarray((o * inputs + first) * taps, (o * inputs + first + count) * taps), o * count * taps);
    return { rows: outputs, columns: count * taps, data };
  });
}
