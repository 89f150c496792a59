import { countUses, type Graph, type Node, nodeOf, replaceNode } from "../../graph/graph.ts";
import { concat } from "../../kernels/concat/concat.ts";
import { conv2d } from "../../kernels/conv2d/conv2d.ts";
import { elementwise } from "../../kernels/elementwise/elementwise.ts";
import type { Weight } from "../../kernels/weights.ts";

/**
 * A convolution of two tensors and their sum side by side: [Wa | Wb | Wc] on (a, b, a + b) is [Wa + Wc | Wb + Wc] on (a, b), a third
 * less work and less to read. Added in float64 and rounded once.
 */
export function foldCombine(graph: Graph): Graph {
  const producer = new Map(graph.nodes.map((node) => [node.output.id, node]));
  const nodes = graph.nodes.map((node): Node => {
    const convolution = nodeOf(node, conv2d);
    const [input, ...rest] = node.inputs;
    const joined = input && nodeOf(producer.get(input.id), concat);
    const [pair, sum] = joined?.inputs ?? [];
    const pairNode = pair && nodeOf(producer.get(pair.id), concat);
    const sumNode = sum && nodeOf(producer.get(sum.id), elementwise);
    const [a, b] = pairNode?.inputs ?? [];
    if (!convolution || convolution.attributes.normalise || !pair || !a || !b || sumNode?.attributes.operation !== "add") return node;
    const summands = sumNode.inputs.map(({ id }) => id);
    if (!summands.includes(a.id) || !summands.includes(b.id) || a.shape.channels !== b.shape.channels) return node;
    return replaceNode(node, conv2d, [pair, ...rest], { ...convolution.attributes, weight: foldThirds(convolution.attributes.weight) });
  });
  let current: Graph = { ...graph, nodes };
  for (;;) {
    const uses = countUses(current);
    const used = current.nodes.filter(({ output }) => uses.has(output.id));
    if (used.length === current.nodes.length) return current;
    current = { ...current, nodes: used };
  }
}

/** The last third of the input channels added to each of the other two. */
function foldThirds({ name, shape, data }: Weight): Weight {
  const [outputs = 0, inputs = 0, ...kernel] = shape;
  const taps = kernel.reduce((product, size) => product * size, 1);
  const third = inputs / 3;
  const folded = new Float32Array((data.length / 3) * 2);
  for (let o = 0, to = 0; o < outputs; o++) {
    for (let i = 0; i < 2 * third; i++) {
      for (let tap = 0; tap < taps; tap++) {
        folded[to++] = (data[(o * inputs + i) * taps + tap] ?? 0) + (data[(o * inputs + 2 * third + (i % third)) * taps + tap] ?? 0);
      }
    }
  }
  return { name: `${name} folded`, shape: [outputs, 2 * third, ...kernel], data: folded };
}
