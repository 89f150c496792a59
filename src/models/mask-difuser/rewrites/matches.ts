import type { GraphEditor } from "../../../graph/editor.ts";
import type { Node, Tensor } from "../../../graph/graph.ts";
import { attention } from "../../../kernels/attention/attention.ts";
import { conv2d, type Conv2dAttributes, isPointwise } from "../../../kernels/conv2d/conv2d.ts";
import { groupNorm, type GroupNormAttributes } from "../../../kernels/group-norm/group-norm.ts";
import type { Weight } from "../../../kernels/weights.ts";

/** A convolution and nothing else: no activation, residual or norm in it. */
export interface PlainConvolution {
  readonly input: Tensor;
  readonly output: Tensor;
  readonly attributes: Conv2dAttributes;
  readonly weight: Weight;
  readonly bias: Weight | undefined;
}

export function plainConvolution(editor: GraphEditor, tensor: Tensor | undefined): PlainConvolution | undefined {
  const node = editor.producer(tensor, conv2d);
  const [input] = node?.inputs ?? [];
  if (!node || !input || node.attributes.activation || node.attributes.residual || node.attributes.normalise) return undefined;
  return { input, output: node.output, attributes: node.attributes, weight: node.attributes.weight, bias: node.attributes.bias };
}

export function pointwiseConvolution(editor: GraphEditor, tensor: Tensor | undefined): PlainConvolution | undefined {
  const convolution = plainConvolution(editor, tensor);
  return convolution && isPointwise(convolution.attributes) ? convolution : undefined;
}

/** Attention with one head whose queries, keys and values are 1×1 convolutions. */
export interface ProjectedAttention {
  readonly output: Tensor;
  readonly scale: number;
  readonly query: PlainConvolution;
  readonly key: PlainConvolution;
  readonly value: PlainConvolution;
}

export function projectedAttention(editor: GraphEditor, tensor: Tensor | undefined): ProjectedAttention | undefined {
  const node = editor.producer(tensor, attention);
  if (!node || node.attributes.heads !== 1 || node.inputs.length !== 3) return undefined;
  const [query, key, value] = node.inputs.map((input) => pointwiseConvolution(editor, input));
  return query && key && value ? { output: node.output, scale: node.attributes.scale, query, key, value } : undefined;
}

/** Group norm and nothing else. */
export interface PlainNorm {
  readonly input: Tensor;
  readonly output: Tensor;
  readonly attributes: GroupNormAttributes;
}

function plainNorm(editor: GraphEditor, tensor: Tensor): PlainNorm | undefined {
  const node: (Node & { readonly attributes: GroupNormAttributes }) | undefined = editor.producer(tensor, groupNorm);
  const [input] = node?.inputs ?? [];
  return node && input && !node.attributes.activation ? { input, output: node.output, attributes: node.attributes } : undefined;
}

/** Attention of normalised pixels to a normalised condition. */
export interface CrossAttention extends ProjectedAttention {
  readonly pixels: PlainNorm;
  readonly condition: PlainNorm;
}

export function crossAttention(editor: GraphEditor, tensor: Tensor | undefined): CrossAttention | undefined {
  const attended = projectedAttention(editor, tensor);
  const pixels = attended && plainNorm(editor, attended.query.input);
  const condition = attended && plainNorm(editor, attended.key.input);
  if (!attended || !pixels || !condition || attended.value.input !== condition.output || pixels.input === condition.input) return undefined;
  // Slices start at a multiple of four channels.
  if (pixels.input.shape.channels % 4 !== 0 || condition.input.shape.channels % 4 !== 0) return undefined;
  return { ...attended, pixels, condition };
}
