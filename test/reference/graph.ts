import { type Graph, type Node, nodeOf, storedTensor, type Tensor } from "../../src/graph/graph.ts";
import { attention } from "../../src/kernels/attention/attention.ts";
import { concat } from "../../src/kernels/concat/concat.ts";
import { conv2d } from "../../src/kernels/conv2d/conv2d.ts";
import { covariance } from "../../src/kernels/covariance/covariance.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";
import { fill } from "../../src/kernels/fill/fill.ts";
import { groupNorm } from "../../src/kernels/group-norm/group-norm.ts";
import { groupStatistics } from "../../src/kernels/group-statistics/group-statistics.ts";
import { projectedStatistics } from "../../src/kernels/projected-statistics/projected-statistics.ts";
import { scaleKeys } from "../../src/kernels/scale-keys/scale-keys.ts";
import { attention as attentionReference } from "./attention.ts";
import { concat as concatReference, split } from "./concat.ts";
import { type Conv2dWeight, conv2d as conv2dReference } from "./conv2d.ts";
import { add } from "./elementwise.ts";
import { groupNorm as groupNormReference } from "./group-norm.ts";
import { covariance as covarianceReference, groupStatistics as groupStatisticsReference, projectedStatistics as projectedStatisticsReference, scaleKeys as scaleKeysReference } from "./statistics.ts";
import { buildTensor, type ReferenceTensor } from "./tensor.ts";

/** Outputs of a graph in float64, for the operators of Mask-DiFuser's blocks without activations. */
export function evaluateGraph(graph: Graph, inputs: Readonly<Record<string, ReferenceTensor>>): Record<string, ReferenceTensor> {
  const values = new Map<number, ReferenceTensor>();
  const valueOf = (tensor: Tensor): ReferenceTensor => {
    const stored = values.get(storedTensor(tensor).id) ?? inputs[tensor.name];
    if (!stored) throw new Error(`${tensor.name} has no value`);
    if (!tensor.slice) return stored;
    const { firstChannel } = tensor.slice;
    const end = firstChannel + tensor.shape.channels;
    return split(stored, [firstChannel, tensor.shape.channels, stored.shape[3] - end])[1] ?? stored;
  };
  for (const node of graph.nodes) values.set(node.output.id, evaluate(node, node.inputs.map(valueOf)));
  return Object.fromEntries(graph.outputs.map((tensor) => [tensor.name, valueOf(tensor)]));
}

function evaluate(node: Node, inputs: readonly ReferenceTensor[]): ReferenceTensor {
  const [first, second, third, fourth] = inputs as [ReferenceTensor, ReferenceTensor, ReferenceTensor, ReferenceTensor?];
  const convolution = nodeOf(node, conv2d)?.attributes;
  if (convolution && !convolution.activation && !convolution.normalise) {
    const { weight, bias } = convolution;
    const result = conv2dReference(first, { shape: weight.shape as Conv2dWeight["shape"], data: weight.data }, bias?.data, convolution);
    return convolution.residual ? add(result, second) : result;
  }
  const norm = nodeOf(node, groupNorm)?.attributes;
  if (norm && !norm.activation) return groupNormReference(first, norm.groups, norm.weight.data, norm.bias.data, norm.epsilon);
  const attended = nodeOf(node, attention)?.attributes;
  if (attended) return attentionReference(...withBias(first, second, fourth), third, attended.heads, attended.scale);
  if (nodeOf(node, concat)) return concatReference(inputs);
  if (nodeOf(node, elementwise)?.attributes.operation === "add") return add(first, second);
  const statistics = nodeOf(node, groupStatistics)?.attributes;
  if (statistics) return groupStatisticsReference(first, statistics.groups, statistics.epsilon);
  if (nodeOf(node, covariance)) return covarianceReference(first);
  const projected = nodeOf(node, projectedStatistics)?.attributes;
  if (projected) return projectedStatisticsReference(first, projected.weight.data, projected.bias.data, projected.groups, projected.epsilon);
  if (nodeOf(node, scaleKeys)) return scaleKeysReference(first, second);
  const filled = nodeOf(node, fill)?.attributes;
  if (filled) return buildTensor([first.shape[0], first.shape[1], first.shape[2], filled.channels], () => filled.value);
  throw new Error(`no reference for ${node.operator.name}`);
}

/** A bias of the keys is a channel more, which is 1 in all queries. */
function withBias(query: ReferenceTensor, key: ReferenceTensor, bias?: ReferenceTensor): [ReferenceTensor, ReferenceTensor] {
  if (!bias) return [query, key];
  const [batch, height, width] = query.shape;
  return [concatReference([query, buildTensor([batch, height, width, 1], () => 1)]), concatReference([key, bias])];
}
