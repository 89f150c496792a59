import { applyMatrix } from "../kernels/apply-matrix/apply-matrix.ts";
import { conv2d, isPointwise } from "../kernels/conv2d/conv2d.ts";
import { depthwiseConv2d, type DepthwiseConv2dAttributes } from "../kernels/depthwise-conv2d/depthwise-conv2d.ts";
import { elementwise } from "../kernels/elementwise/elementwise.ts";
import { groupNorm } from "../kernels/group-norm/group-norm.ts";
import { layerNorm } from "../kernels/layer-norm/layer-norm.ts";
import { formatShape } from "../kernels/tensor.ts";
import { lazyWeight, type Weight, weightLength } from "../kernels/weights.ts";
import { dropUnused, freshId, producers } from "./editor.ts";
import { countUses, type Graph, type Node, nodeOf, replaceNode, storedTensor, type Tensor } from "./graph.ts";

/** Graph → graph with the same outputs and less work. */
export type Rewrite = (graph: Graph) => Graph;

/** All rewrites, in the order in which they are applied. */
export const REWRITES = { foldLayerNorm, foldProjection, fuseGate, splitConvolution, fuseActivation, fuseResidual } satisfies Record<string, Rewrite>;

export const rewriteAll: Rewrite = (graph) => Object.values(REWRITES).reduce((rewritten, rewrite) => rewrite(rewritten), graph);

function sliceWeight(weight: Weight, first: number, count: number): Weight {
  const { name, shape } = weight;
  const size = weightLength(weight) / (shape[0] ?? 1);
  return lazyWeight(`${name}[${first}:${first + count}]`, [count, ...shape.slice(1)], () => weight.data.subarray(first * size, (first + count) * size));
}

/**
 * Layer norm before a 1×1 convolution: its scale and shift go into the convolution, W·diag(g) and W·b + bias, folded in float64
 * and rounded once, and the normalisation itself into the convolution's load.
 */
export function foldLayerNorm(graph: Graph): Graph {
  const producer = producers(graph);
  const nodes = graph.nodes.map((node) => {
    const convolution = nodeOf(node, conv2d);
    const [input, ...rest] = node.inputs;
    const norm = input && nodeOf(producer.get(input.id), layerNorm);
    if (!convolution || !norm || !isPointwise(convolution.attributes) || convolution.attributes.normalise) return node;
    const { weight, bias } = convolution.attributes;
    const { weight: scale, bias: shift, epsilon } = norm.attributes;
    const [outputs = 0, channels = 0] = weight.shape;
    const scaled = (): Float32Array => {
      const factors = scale.data;
      return weight.data.map((w, i) => w * (factors[i % channels] ?? 0));
    };
    const shifted = (): Float32Array => {
      const [values, shifts, biases] = [weight.data, shift.data, bias?.data];
      return Float32Array.from({ length: outputs }, (_, o) => shifts.reduce((sum, b, i) => sum + (values[o * channels + i] ?? 0) * b, biases?.[o] ?? 0));
    };
    return replaceNode(node, conv2d, [...norm.inputs, ...rest], {
      ...convolution.attributes,
      weight: lazyWeight(`${weight.name}·${scale.name}`, weight.shape, scaled),
      bias: lazyWeight(`${weight.name}·${shift.name}${bias ? `+${bias.name}` : ""}`, [outputs], shifted),
      normalise: { epsilon },
    });
  });
  return dropUnused({ ...graph, nodes });
}

/**
 * A 1×1 convolution W after a matrix M that was computed for the image: W (M v) = (W M) v. The convolution is applied to the
 * matrix, a few hundred numbers, instead of to every pixel, and the attention's result is never written.
 */
export function foldProjection(graph: Graph): Graph {
  const producer = producers(graph);
  const uses = countUses(graph);
  const nextId = freshId(graph);
  let added = 0;
  const nodes = graph.nodes.flatMap((node) => {
    const convolution = nodeOf(node, conv2d);
    const [input] = node.inputs;
    const applied = input && nodeOf(producer.get(input.id), applyMatrix);
    if (!convolution || !applied || uses.get(input.id) !== 1 || applied.attributes.residual) return [node];
    const { weight, bias, activation, residual, normalise } = convolution.attributes;
    const [value, matrix] = applied.inputs;
    if (!isPointwise(convolution.attributes) || bias || activation || residual || normalise || !value || !matrix) return [node];
    const projected: Tensor = {
      id: nextId + added++,
      name: `${node.output.name}.matrix`,
      shape: { ...matrix.shape, channels: weight.shape[0] ?? 0 },
      elementType: matrix.elementType,
    };
    const projection: Node = { operator: conv2d as Node["operator"], attributes: convolution.attributes, inputs: [matrix], output: projected };
    return [projection, replaceNode(node, applyMatrix, [value, projected], {})];
  });
  return dropUnused({ ...graph, nodes });
}

/**
 * gelu(a) × b of two depthwise convolutions (or slices of them) becomes one kernel that convolves both and stores the product.
 * A depthwise convolution acts on each channel alone, so a slice of its output needs only that slice of its input.
 */
export function fuseGate(graph: Graph): Graph {
  const producer = producers(graph);
  const slices: Tensor[] = [];
  const nextId = freshId(graph);
  const convolutionOf = (tensor: Tensor): { input: Tensor; attributes: DepthwiseConv2dAttributes } | undefined => {
    const node = nodeOf(producer.get(storedTensor(tensor).id), depthwiseConv2d);
    const [input] = node?.inputs ?? [];
    if (!node || !input || node.attributes.gated || node.attributes.activation) return undefined;
    const { weight, bias, stride, padding, dilation } = node.attributes;
    if (weight.shape[2] !== 3 || weight.shape[3] !== 3 || stride !== 1 || padding !== 1 || dilation !== 1) return undefined;
    if (!tensor.slice) return { input, attributes: node.attributes };
    if (input.slice) return undefined;
    const { firstChannel } = tensor.slice;
    const { channels } = tensor.shape;
    const slice: Tensor = {
      id: nextId + slices.length,
      name: `${input.name}[${firstChannel}:${firstChannel + channels}]`,
      shape: { ...input.shape, channels },
      elementType: input.elementType,
      slice: { of: input, firstChannel },
    };
    slices.push(slice);
    const attributes = { ...node.attributes, weight: sliceWeight(weight, firstChannel, channels), ...(bias && { bias: sliceWeight(bias, firstChannel, channels) }) };
    return { input: slice, attributes };
  };
  const nodes = graph.nodes.map((node) => {
    if (nodeOf(node, elementwise)?.attributes.operation !== "gatedGelu") return node;
    const [first, second] = node.inputs.map(convolutionOf);
    if (!first || !second) return node;
    const { weight, bias } = second.attributes;
    return replaceNode(node, depthwiseConv2d, [first.input, second.input], { ...first.attributes, gated: { weight, ...(bias && { bias }) } });
  });
  return dropUnused({ ...graph, nodes });
}

/**
 * A convolution whose readers each take one slice of its output becomes one convolution a slice, made just before its reader:
 * the parts are never in memory together.
 */
export function splitConvolution(graph: Graph): Graph {
  const nodes: Node[] = [];
  // Stored tensor → its parts by their channels, each to be placed before the first node that reads it.
  const parts = new Map<number, Map<string, Node>>();
  const channelsOf = ({ shape, slice }: Tensor): string => `${slice?.firstChannel}+${shape.channels}`;
  const nextId = freshId(graph);
  let added = 0;
  for (const node of graph.nodes) {
    const convolution = nodeOf(node, conv2d);
    const reads = graph.nodes.flatMap((reader) => {
      const slices = reader.inputs.filter((input) => storedTensor(input) === node.output);
      return slices.length > 0 ? [slices] : [];
    });
    const kept = graph.outputs.some((output) => storedTensor(output) === node.output);
    const apart = reads.length > 1 && reads.every((slices) => slices.length === 1 && slices[0]?.slice);
    const inputs = node.inputs.map((input) => {
      const part = input.slice && parts.get(input.slice.of.id)?.get(channelsOf(input));
      if (!part) return input;
      if (!nodes.includes(part)) nodes.push(part);
      return part.output;
    });
    if (convolution && apart && !kept && !convolution.attributes.residual) {
      const byChannels = new Map<string, Node>();
      for (const tensor of reads.flat()) {
        const { shape, slice } = tensor;
        if (!slice || byChannels.has(channelsOf(tensor))) continue;
        const { weight, bias } = convolution.attributes;
        byChannels.set(channelsOf(tensor), {
          ...node,
          inputs,
          attributes: {
            ...convolution.attributes,
            weight: sliceWeight(weight, slice.firstChannel, shape.channels),
            ...(bias && { bias: sliceWeight(bias, slice.firstChannel, shape.channels) }),
          },
          output: { id: nextId + added++, name: `${node.output.name}[${slice.firstChannel}:${slice.firstChannel + shape.channels}]`, shape, elementType: node.output.elementType },
        });
      }
      parts.set(node.output.id, byChannels);
      continue;
    }
    nodes.push({ ...node, inputs });
  }
  return { ...graph, nodes };
}

/** An activation that alone reads the result of a convolution is applied before that result is stored. */
export function fuseActivation(graph: Graph): Graph {
  const producer = producers(graph);
  const uses = countUses(graph);
  const nodes = graph.nodes.map((node) => {
    const attributes = nodeOf(node, elementwise)?.attributes;
    const [input] = node.inputs;
    if (attributes?.operation !== "activation" || !input || uses.get(input.id) !== 1) return node;
    const { activation } = attributes;
    const before = producer.get(input.id);
    const dense = nodeOf(before, conv2d);
    if (dense && !dense.attributes.activation && !dense.attributes.residual) return replaceNode(node, conv2d, dense.inputs, { ...dense.attributes, activation });
    const depthwise = nodeOf(before, depthwiseConv2d);
    if (depthwise && !depthwise.attributes.activation && !depthwise.attributes.gated) {
      return replaceNode(node, depthwiseConv2d, depthwise.inputs, { ...depthwise.attributes, activation });
    }
    return node;
  });
  return dropUnused({ ...graph, nodes });
}

/** A sum of a result that nothing else reads with a tensor, or after a convolution with one number a channel, is made where that result is stored. */
export function fuseResidual(graph: Graph): Graph {
  const producer = producers(graph);
  const uses = countUses(graph);
  const nodes = graph.nodes.map((node) => {
    if (nodeOf(node, elementwise)?.attributes.operation !== "add") return node;
    const [a, b] = node.inputs;
    if (!a || !b || a.elementType !== b.elementType) return node;
    const same = formatShape(a.shape) === formatShape(b.shape);
    if (!same && a.shape.batch !== 1) return node;
    for (const [result, residual] of [[b, a], [a, b]] as const) {
      const before = producer.get(result.id);
      if (uses.get(result.id) !== 1 || formatShape(result.shape) !== formatShape(node.output.shape)) continue;
      const dense = nodeOf(before, conv2d);
      if (dense && !dense.attributes.residual) return replaceNode(node, conv2d, [...dense.inputs, residual], { ...dense.attributes, residual: true });
      const norm = nodeOf(before, groupNorm);
      if (norm && same && !norm.attributes.residual) return replaceNode(node, groupNorm, [...norm.inputs, residual], { ...norm.attributes, residual: true });
      const applied = nodeOf(before, applyMatrix);
      if (applied && same && !applied.attributes.residual) return replaceNode(node, applyMatrix, [...applied.inputs, residual], { residual: true });
    }
    return node;
  });
  return dropUnused({ ...graph, nodes });
}
