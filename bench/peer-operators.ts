import type { Activation } from "../src/kernels/activation.ts";
import { type Graph, GraphBuilder, type Node, nodeOf, type Tensor } from "../src/graph/graph.ts";
import { rewriteAll } from "../src/graph/rewrites.ts";
import { applyMatrix } from "../src/kernels/apply-matrix/apply-matrix.ts";
import { attention } from "../src/kernels/attention/attention.ts";
import { channelAttentionWeights } from "../src/kernels/channel-attention/channel-attention.ts";
import { conv2d } from "../src/kernels/conv2d/conv2d.ts";
import { depthwiseConv2d } from "../src/kernels/depthwise-conv2d/depthwise-conv2d.ts";
import { elementwise } from "../src/kernels/elementwise/elementwise.ts";
import { groupNorm } from "../src/kernels/group-norm/group-norm.ts";
import { layerNorm } from "../src/kernels/layer-norm/layer-norm.ts";
import type { Shape } from "../src/kernels/tensor.ts";
import type { Weight } from "../src/kernels/weights.ts";
import { scatteredValues } from "./statistics.ts";
import { channelsLast } from "./workload.ts";

interface ScatteredWeight {
  readonly shape: readonly number[];
  readonly seed: number;
  readonly scale: number;
}

/** One operator as `bench/peers/export_onnx.py` exports it: what the published network has where Sinter runs one node. */
export interface PeerOperator {
  readonly kind: string;
  /** Shapes by name, in PyTorch's order: batch, channels, height, width. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly weights: Readonly<Record<string, ScatteredWeight>>;
  readonly options: Readonly<Record<string, unknown>>;
}

/** The same operator for both engines. */
export interface OperatorPair {
  readonly theirs: PeerOperator;
  /** Sinter's graph after rewrites, with inputs of the same names. */
  readonly ours: Graph;
  /** Values of an input as Sinter takes them, from those of the peer. */
  toOurs(name: string, values: Float32Array): Float32Array;
  /** Values of the output in Sinter's order, from those of the peer. */
  outputToOurs(values: Float32Array): Float32Array;
}

const EPSILON = 1e-5;

/**
 * The counterpart of a node of the rewritten graph; undefined for operators that have none here.
 *
 * @param heads attention heads of the network
 */
export function operatorPair(node: Node, heads: number): OperatorPair | undefined {
  const convolution = nodeOf(node, conv2d);
  if (convolution) return convolutionPair(convolution);
  const depthwise = nodeOf(node, depthwiseConv2d);
  if (depthwise) return depthwisePair(depthwise);
  const applied = nodeOf(node, applyMatrix);
  if (applied) return applyMatrixPair(applied, heads);
  const channelAttention = nodeOf(node, channelAttentionWeights);
  if (channelAttention) return channelAttentionPair(channelAttention);
  const norm = nodeOf(node, groupNorm);
  if (norm) return groupNormPair(norm);
  const attended = nodeOf(node, attention);
  return attended ? attentionPair(attended) : undefined;
}

/** Whether a node does only what its counterpart here knows: a fused extra that is not listed would make the comparison unfair. */
function knowsAll(attributes: object, known: readonly string[]): boolean {
  return Object.entries(attributes).every(([name, value]) => value === undefined || value === false || known.includes(name));
}

type NodeOf<Attributes> = Node & { readonly attributes: Attributes };
type AttributesOf<Operator> = Operator extends { outputShape(inputs: readonly Shape[], attributes: infer Attributes): Shape } ? Attributes : never;

const scattered = (shape: readonly number[], seed: number): ScatteredWeight => {
  const fanIn = shape.slice(1).reduce((product, size) => product * size, 1);
  return { shape, seed, scale: 1 / Math.sqrt(fanIn) };
};

const weightOf = (name: string, { shape, seed, scale }: ScatteredWeight): Weight => {
  const count = shape.reduce((product, size) => product * size, 1);
  return { name, shape, data: scatteredValues(count, seed, scale) };
};

const pictureShape = ({ batch, height, width, channels }: Shape): readonly number[] => [batch, channels, height, width];

function firstInput({ inputs, output }: Node): Tensor {
  return inputs[0] ?? output;
}

/** The graph of one operator: `make` adds its nodes. */
function graphOf(make: (builder: GraphBuilder) => Tensor): Graph {
  const builder = new GraphBuilder();
  builder.output(make(builder));
  return rewriteAll(builder.build());
}

/** A tensor through an activation, where there is one. */
const activated = (builder: GraphBuilder, tensor: Tensor, activation: Activation | undefined): Tensor =>
  activation ? builder.add("activated", elementwise, [tensor], { operation: "activation", activation }) : tensor;

/** What export_onnx.py is told about an activation; it has PyTorch's slope of 0.01. */
const activationOption = (activation: Activation | undefined): { readonly activation: string | null } => ({ activation: activation?.kind ?? null });

function convolutionPair(node: NodeOf<AttributesOf<typeof conv2d>>): OperatorPair | undefined {
  const { weight, bias, normalise, activation, residual, stride, padding, dilation } = node.attributes;
  if (!knowsAll(node.attributes, ["weight", "bias", "normalise", "activation", "residual", "stride", "padding", "dilation"]) || dilation !== 1) return undefined;
  const { shape } = firstInput(node);
  const weights = {
    weight: scattered(weight.shape, 1),
    ...(bias && { bias: scattered([weight.shape[0] ?? 1], 4) }),
    ...(normalise && { scale: scattered([shape.channels], 2), shift: scattered([shape.channels], 3) }),
  };
  const ours = graphOf((builder) => {
    let tensor = builder.input("input", shape);
    const added = residual ? builder.input("residual", node.output.shape) : undefined;
    if (weights.scale && weights.shift) {
      const attributes = { weight: weightOf("scale", weights.scale), bias: weightOf("shift", weights.shift), epsilon: EPSILON };
      tensor = builder.add("normalised", layerNorm, [tensor], attributes);
    }
    const attributes = { weight: weightOf("weight", weights.weight), ...(weights.bias && { bias: weightOf("bias", weights.bias) }), stride, padding, dilation };
    tensor = activated(builder, builder.add("convolved", conv2d, [tensor], attributes), activation);
    return added ? builder.add("output", elementwise, [tensor, added], { operation: "add" }) : tensor;
  });
  return {
    theirs: {
      kind: "conv2d",
      inputs: { input: pictureShape(shape), ...(residual && { residual: pictureShape(node.output.shape) }) },
      weights,
      options: { ...activationOption(activation), stride, padding },
    },
    ours,
    toOurs: (name, values) => channelsLast(values, name === "input" ? shape.channels : node.output.shape.channels),
    outputToOurs: (values) => channelsLast(values, node.output.shape.channels),
  };
}

function groupNormPair(node: NodeOf<AttributesOf<typeof groupNorm>>): OperatorPair | undefined {
  const { groups, activation } = node.attributes;
  if (!knowsAll(node.attributes, ["groups", "weight", "bias", "epsilon", "activation"])) return undefined;
  const { shape } = firstInput(node);
  const weights = { weight: scattered([shape.channels], 1), bias: scattered([shape.channels], 2) };
  const attributes = { groups, weight: weightOf("weight", weights.weight), bias: weightOf("bias", weights.bias), epsilon: EPSILON, ...(activation && { activation }) };
  return {
    theirs: { kind: "groupNorm", inputs: { input: pictureShape(shape) }, weights, options: { groups, ...activationOption(activation) } },
    ours: graphOf((builder) => builder.add("normalised", groupNorm, [builder.input("input", shape)], attributes)),
    toOurs: (_, values) => channelsLast(values, shape.channels),
    outputToOurs: (values) => channelsLast(values, shape.channels),
  };
}

function attentionPair(node: NodeOf<AttributesOf<typeof attention>>): OperatorPair | undefined {
  const { heads, scale } = node.attributes;
  const [query, key, value] = node.inputs;
  if (!knowsAll(node.attributes, ["heads", "scale"]) || heads !== 1 || !query || !key || !value) return undefined;
  const shapes: Readonly<Record<string, Shape>> = { query: query.shape, key: key.shape, value: value.shape };
  return {
    theirs: {
      kind: "attention",
      inputs: Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, pictureShape(shape)])),
      weights: {},
      options: { scale },
    },
    ours: graphOf((builder) => {
      const inputs = Object.entries(shapes).map(([name, shape]) => builder.input(name, shape));
      return builder.add("output", attention, inputs, { heads, scale });
    }),
    toOurs: (name, values) => channelsLast(values, shapes[name]?.channels ?? 1),
    outputToOurs: (values) => channelsLast(values, value.shape.channels),
  };
}

function depthwisePair(node: NodeOf<AttributesOf<typeof depthwiseConv2d>>): OperatorPair {
  const { weight, gated, stride, padding, dilation } = node.attributes;
  const { channels } = node.output.shape;
  const inputChannels = gated ? 2 * channels : channels;
  const shape = { ...firstInput(node).shape, channels: inputChannels };
  const scatteredWeight = scattered([inputChannels, ...weight.shape.slice(1)], 1);
  const ours = graphOf((builder) => {
    const input = builder.input("input", shape);
    const attributes = { weight: weightOf("weight", scatteredWeight), stride, padding, dilation };
    const convolved = builder.add("convolved", depthwiseConv2d, [input], attributes);
    if (!gated) return convolved;
    const halves = [builder.slice("gate", convolved, 0, channels), builder.slice("value", convolved, channels, channels)];
    return builder.add("output", elementwise, halves, { operation: "gatedGelu" });
  });
  return {
    theirs: {
      kind: "depthwiseConv2d",
      inputs: { input: pictureShape(shape) },
      weights: { weight: scatteredWeight },
      options: { gated: gated !== undefined },
    },
    ours,
    toOurs: (_, values) => channelsLast(values, inputChannels),
    outputToOurs: (values) => channelsLast(values, channels),
  };
}

/** [head][output channel][input channel] → [input channel][output channel], zero between heads. */
function blockDiagonal(values: Float32Array, channels: number, heads: number): Float32Array {
  const size = channels / heads;
  const matrix = new Float32Array(channels * channels);
  for (let head = 0; head < heads; head++) {
    for (let o = 0; o < size; o++) {
      for (let i = 0; i < size; i++) {
        matrix[(head * size + i) * channels + head * size + o] = values[(head * size + o) * size + i] ?? 0;
      }
    }
  }
  return matrix;
}

function applyMatrixPair(node: NodeOf<AttributesOf<typeof applyMatrix>>, heads: number): OperatorPair {
  const { shape } = firstInput(node);
  const { channels } = shape;
  const { residual } = node.attributes;
  const weights = { weight: scattered([node.output.shape.channels, channels, 1, 1], 1) };
  const ours = graphOf((builder) => {
    const input = builder.input("input", shape);
    const matrix = builder.input("matrix", { batch: 1, height: 1, width: channels, channels });
    const added = residual ? builder.input("residual", node.output.shape) : undefined;
    const attended = builder.add("attended", applyMatrix, [input, matrix], {});
    const attributes = { weight: weightOf("weight", weights.weight), stride: 1, padding: 0, dilation: 1 };
    const projected = builder.add("projected", conv2d, [attended], attributes);
    return added ? builder.add("output", elementwise, [projected, added], { operation: "add" }) : projected;
  });
  return {
    theirs: {
      kind: "applyMatrix",
      inputs: {
        input: pictureShape(shape),
        matrix: [1, heads, channels / heads, channels / heads],
        ...(residual && { residual: pictureShape(node.output.shape) }),
      },
      weights,
      options: {},
    },
    ours,
    toOurs: (name, values) => {
      if (name === "matrix") return blockDiagonal(values, channels, heads);
      return channelsLast(values, name === "input" ? channels : node.output.shape.channels);
    },
    outputToOurs: (values) => channelsLast(values, node.output.shape.channels),
  };
}

function channelAttentionPair(node: NodeOf<AttributesOf<typeof channelAttentionWeights>>): OperatorPair {
  const { shape } = firstInput(node);
  const { heads } = node.attributes;
  const temperature = { shape: [heads, 1, 1], seed: 1, scale: 1 };
  return {
    theirs: {
      kind: "channelAttentionWeights",
      inputs: { query: pictureShape(shape), key: pictureShape(shape) },
      weights: { temperature },
      options: {},
    },
    ours: graphOf((builder) => {
      const inputs = [builder.input("query", shape), builder.input("key", shape)];
      return builder.add("output", channelAttentionWeights, inputs, { heads, temperature: weightOf("temperature", temperature) });
    }),
    toOurs: (_, values) => channelsLast(values, shape.channels),
    outputToOurs: (values) => blockDiagonal(values, shape.channels, heads),
  };
}
