import type { GraphBuilder, Tensor } from "../../graph/graph.ts";
import type { Activation } from "../../kernels/activation.ts";
import { attention } from "../../kernels/attention/attention.ts";
import { blend } from "../../kernels/blend/blend.ts";
import { concat } from "../../kernels/concat/concat.ts";
import { conv2d } from "../../kernels/conv2d/conv2d.ts";
import { elementwise } from "../../kernels/elementwise/elementwise.ts";
import { globalPool } from "../../kernels/global-pool/global-pool.ts";
import { groupNorm } from "../../kernels/group-norm/group-norm.ts";
import { layerNorm } from "../../kernels/layer-norm/layer-norm.ts";
import { mix } from "../../kernels/mix/mix.ts";
import { resize } from "../../kernels/resize/resize.ts";
import { lazyWeight, type Weight } from "../../kernels/weights.ts";

/**
 * Sizes of the network and what its output means; published values in brackets. `checkpoints/mask-difuser-format.ts` declares the same
 * fields, because neither folder may import the other.
 */
export interface MaskDifuserConfig {
  /** Timesteps of the noise schedule, the rows of the time table [1000]. */
  readonly timesteps: number;
  /** Channels of the first level of the U-Net [128], a multiple of 4; all widths are multiples of `groups`. */
  readonly channels: number;
  /** Channels of each level over those of the first [1, 2, 3, 4]. */
  readonly multipliers: readonly number[];
  /** Levels, from 0, whose residual blocks have self-attention [2]; so has the first of the two middle blocks. */
  readonly attentionLevels: readonly number[];
  /** Levels, from 0, whose residual blocks attend to both pictures' semantic features [all]; so do the two middle blocks. */
  readonly crossAttentionLevels: readonly number[];
  /** Residual blocks of each level on the way down; one more on the way up [2]. */
  readonly residualBlocks: number;
  /** Groups of all group norms [32]. */
  readonly groups: number;
  /** Channels of the content features and of the projected noisy picture [64]; the content encoder has half, one and two times as many. */
  readonly contentChannels: number;
  /** Channels of the semantic features [128]; their encoder starts with a quarter. */
  readonly semanticChannels: number;
  /** Transformer layers of the semantic encoder [4], their heads of a multiple of 4 channels [8], and the width of their inner layer [2048]. */
  readonly semanticLayers: number;
  readonly semanticHeads: number;
  readonly feedForwardChannels: number;
  /** What the output means to the sampler ["epsilon"], see `Prediction` in src/diffusion. */
  readonly prediction: "epsilon" | "x0" | "v";
  /** Whether the last convolution makes the output itself, or weights with which the two pictures are blended ["direct"]. */
  readonly output: "direct" | "blend";
  /** Steps of the sampler where none are asked for [5]. */
  readonly steps: number;
}

/** Weights by the name they have in the official state dict. */
export type Weights = (name: string) => Weight;

/** What the network knows about a pair of pictures, the same in every step. */
export interface Conditions {
  /** Semantic features of each picture: batch × ⌈height / 16⌉ × ⌈width / 16⌉ × `semanticChannels`. */
  readonly first: Tensor;
  readonly second: Tensor;
  /** Content features of both: batch × height × width × `contentChannels`. */
  readonly content: Tensor;
  /** The pictures themselves, which a network with a blend output mixes; others do without. */
  readonly pictures?: readonly [first: Tensor, second: Tensor];
}

const SILU: Activation = { kind: "silu" };
const RELU: Activation = { kind: "relu" };
const EPSILON = 1e-5;

/**
 * The content encoder and, for each picture, the semantic encoder of Mask-DiFuser (Tang et al.; layers as in the authors' repository).
 * Tensors are named by the module whose output they are, those of the semantic encoder with the picture in brackets.
 *
 * @param first infrared, functional, under-exposed or near side in −1..1, batch × height × width × 3
 * @param second the other side, likewise
 */
export function maskDifuserConditions(builder: GraphBuilder, weights: Weights, config: MaskDifuserConfig, first: Tensor, second: Tensor): Conditions {
  const net = new Layers(builder, weights, config);
  return {
    pictures: [first, second],
    content: net.contentEncoder(first, second),
    first: net.semanticEncoder("first", first),
    second: net.semanticEncoder("second", second),
  };
}

/**
 * One step of Mask-DiFuser's U-Net: the network's output for a noisy picture.
 *
 * @param sample x_t, batch × height × width × 3; height and width are multiples of 2^(levels − 1)
 * @param timeBiases what `maskDifuserTimeBiases` gives for the timestep, batch × 1 × 1 × `maskDifuserTimeChannels`
 * @returns what the network predicts (`prediction`), of the sample's shape
 */
export function maskDifuserStep(builder: GraphBuilder, weights: Weights, config: MaskDifuserConfig, conditions: Conditions, sample: Tensor, timeBiases: Tensor): Tensor {
  const net = new Layers(builder, weights, config);
  const projected = net.norm("proj_in", "proj_in.1", net.convolution("proj_in.0", sample), SILU);
  let x = net.convolution("head", net.concat("head.input", conditions.content, projected));
  const skips = [x];
  let timeChannel = 0;
  for (const layer of unetLayers(config)) {
    if (layer.kind === "residual") {
      const skip = layer.joinsSkip ? skips.pop() : undefined;
      const input = skip ? net.concat(`${layer.name}.input`, x, skip) : x;
      const bias = builder.slice(`${layer.name}.temb_proj`, timeBiases, timeChannel, layer.outputs);
      timeChannel += layer.outputs;
      x = net.residualBlock(layer, input, bias, conditions);
    } else if (layer.kind === "down") {
      x = net.convolution(`${layer.name}.main`, x, { stride: 2, output: layer.name });
    } else {
      const { height, width } = x.shape;
      const larger = builder.add(`${layer.name}.resized`, resize, [x], { height: 2 * height, width: 2 * width, alignCorners: false });
      x = net.convolution(`${layer.name}.main`, larger, { output: layer.name });
    }
    if (layer.savesSkip) skips.push(x);
  }
  const tail = net.convolution("tail.2", net.norm("tail.0", "tail.0", x, SILU), { output: "tail" });
  return config.output === "blend" ? builder.add("blended", blend, [tail, ...(conditions.pictures ?? [])], {}) : tail;
}

/** How many numbers the timestep adds in all residual blocks together. */
export const maskDifuserTimeChannels = (config: MaskDifuserConfig): number =>
  residualBlocks(config).reduce((sum, { outputs }) => sum + outputs, 0);

/** The time embedding: the table's row through two linear layers with SiLU between; in float64. */
export function maskDifuserTimeEmbedding(weights: Weights, config: MaskDifuserConfig, timestep: number): Float64Array {
  const { channels } = config;
  const table = weights("time_embedding.timembedding.0.weight");
  const row = Float64Array.from(table.data.subarray(timestep * channels, (timestep + 1) * channels));
  return linear(weights, "time_embedding.timembedding.3", linear(weights, "time_embedding.timembedding.1", row).map(silu));
}

/**
 * What the timestep adds to each channel after the first convolution of every residual block, block after block: the embedding through
 * SiLU and the block's linear layer. It depends on nothing else, so it is computed once a step on the CPU, in float64.
 */
export function maskDifuserTimeBiases(weights: Weights, config: MaskDifuserConfig, timestep: number): Float32Array {
  const activated = maskDifuserTimeEmbedding(weights, config, timestep).map(silu);
  return Float32Array.from(residualBlocks(config).flatMap(({ name }) => [...linear(weights, `${name}.temb_proj.1`, activated)]));
}

const silu = (x: number): number => x / (1 + Math.exp(-x));

function linear(weights: Weights, name: string, input: Float64Array): Float64Array {
  const { data } = weights(`${name}.weight`);
  return Float64Array.from(weights(`${name}.bias`).data, (bias, o) => input.reduce((sum, x, i) => sum + x * (data[o * input.length + i] ?? 0), bias));
}

interface ResidualBlock {
  readonly kind: "residual";
  readonly name: string;
  readonly outputs: number;
  readonly selfAttention: boolean;
  readonly crossAttention: boolean;
  /** Whether its input is joined by that of the same size from the way down. */
  readonly joinsSkip: boolean;
  readonly savesSkip: boolean;
}

/** A convolution that halves or doubles the size. */
interface SizeChange {
  readonly kind: "down" | "up";
  readonly name: string;
  readonly savesSkip: boolean;
}

type UnetLayer = ResidualBlock | SizeChange;

/** The layers of the U-Net between head and tail, in order. */
function unetLayers({ channels, multipliers, attentionLevels, crossAttentionLevels, residualBlocks: count }: MaskDifuserConfig): UnetLayer[] {
  const layers: UnetLayer[] = [];
  const attends = (level: number) => ({ selfAttention: attentionLevels.includes(level), crossAttention: crossAttentionLevels.includes(level) });
  const widths = multipliers.map((multiplier) => channels * multiplier);
  const last = widths.length - 1;
  let index = 0;
  for (const [level, outputs] of widths.entries()) {
    for (let i = 0; i < count; i++) {
      layers.push({ kind: "residual", name: `downblocks.${index++}`, outputs, ...attends(level), joinsSkip: false, savesSkip: true });
    }
    if (level < last) layers.push({ kind: "down", name: `downblocks.${index++}`, savesSkip: true });
  }
  for (const [i, selfAttention] of [true, false].entries()) {
    layers.push({ kind: "residual", name: `middleblocks.${i}`, outputs: widths[last] ?? channels, selfAttention, crossAttention: true, joinsSkip: false, savesSkip: false });
  }
  index = 0;
  for (const [level, outputs] of [...widths.entries()].toReversed()) {
    for (let i = 0; i <= count; i++) {
      layers.push({ kind: "residual", name: `upblocks.${index++}`, outputs, ...attends(level), joinsSkip: true, savesSkip: false });
    }
    if (level > 0) layers.push({ kind: "up", name: `upblocks.${index++}`, savesSkip: false });
  }
  return layers;
}

const residualBlocks = (config: MaskDifuserConfig): ResidualBlock[] => unetLayers(config).filter((layer) => layer.kind === "residual");

class Layers {
  readonly #builder: GraphBuilder;
  readonly #weights: Weights;
  readonly #config: MaskDifuserConfig;

  constructor(builder: GraphBuilder, weights: Weights, config: MaskDifuserConfig) {
    this.#builder = builder;
    this.#weights = weights;
    this.#config = config;
  }

  /** The convolution that the checkpoint calls `name`, 3×3 with a border of one; its output is called `output`. */
  convolution(name: string, input: Tensor, { output = name, stride = 1 }: { readonly output?: string; readonly stride?: number } = {}): Tensor {
    const [weight, bias] = [this.#weights(`${name}.weight`), this.#weights(`${name}.bias`)];
    return this.#builder.add(output, conv2d, [input], { weight, bias, stride, padding: 1, dilation: 1 });
  }

  /** A 1×1 convolution, or a linear layer, whose weight has no sizes of a kernel. */
  #pointwise(name: string, input: Tensor, output = name, activation?: Activation, names = [`${name}.weight`, `${name}.bias`]): Tensor {
    const [weight, bias] = names.map((key) => this.#weights(key)) as [Weight, Weight];
    const [outputs = 0, inputs = 0] = weight.shape;
    const matrix = lazyWeight(weight.name, [outputs, inputs, 1, 1], () => weight.data);
    return this.#builder.add(output, conv2d, [input], { weight: matrix, bias, stride: 1, padding: 0, dilation: 1, ...(activation && { activation }) });
  }

  norm(output: string, name: string, input: Tensor, activation?: Activation): Tensor {
    const [weight, bias] = [this.#weights(`${name}.weight`), this.#weights(`${name}.bias`)];
    return this.#builder.add(output, groupNorm, [input], { groups: this.#config.groups, weight, bias, epsilon: EPSILON, ...(activation && { activation }) });
  }

  concat(name: string, first: Tensor, second: Tensor): Tensor {
    return this.#builder.add(name, concat, [first, second], {});
  }

  #add(name: string, first: Tensor, second: Tensor): Tensor {
    return this.#builder.add(name, elementwise, [first, second], { operation: "add" });
  }

  #attend(name: string, query: Tensor, key: Tensor, value: Tensor, heads = 1): Tensor {
    const scale = 1 / Math.sqrt(query.shape.channels / heads);
    return this.#builder.add(name, attention, [query, key, value], { heads, scale });
  }

  contentEncoder(first: Tensor, second: Tensor): Tensor {
    const name = "content_encoder";
    const encode = (side: string, picture: Tensor): Tensor => {
      const layer = (index: number): string => `${name}.conv.${index}`;
      let x = this.convolution(layer(0), picture, { output: `${layer(0)}(${side})` });
      x = this.convolution(layer(3), this.norm(`${layer(1)}(${side})`, layer(1), x, SILU), { output: `${layer(3)}(${side})` });
      return this.convolution(layer(6), this.norm(`${layer(4)}(${side})`, layer(4), x, SILU), { output: `${layer(6)}(${side})` });
    };
    const fused = this.#mixer(`${name}.fusion`, encode("first", first), encode("second", second));
    const half = this.convolution(`${name}.enhance.2`, this.norm(`${name}.enhance.0`, `${name}.enhance.0`, fused, SILU));
    return this.convolution(`${name}.enhance.5`, this.norm(`${name}.enhance.3`, `${name}.enhance.3`, half, SILU), { output: name });
  }

  /** Attention-parallel feature mixer: weights from the pooled channels and from every pixel mix the two sides. */
  #mixer(name: string, first: Tensor, second: Tensor): Tensor {
    const both = this.concat(`${name}.both`, first, second);
    const mean = this.#builder.add(`${name}.global_avg_pool`, globalPool, [both], { operation: "mean" });
    const maximum = this.#builder.add(`${name}.global_max_pool`, globalPool, [both], { operation: "maximum" });
    const pooled = this.#pointwise(`${name}.conv1`, this.concat(`${name}.pooled`, mean, maximum));
    const channel = this.#pointwise(`${name}.conv2`, this.norm(`${name}.norm1`, `${name}.norm1`, pooled, SILU));
    const spatial = this.#pointwise(`${name}.conv4`, this.norm(`${name}.norm3`, `${name}.norm3`, this.#pointwise(`${name}.conv3`, both), SILU));
    const branches = [this.norm(`${name}.norm2`, `${name}.norm2`, channel), this.norm(`${name}.norm4`, `${name}.norm4`, spatial)];
    return this.#builder.add(name, mix, [first, second, ...branches], {});
  }

  semanticEncoder(side: string, picture: Tensor): Tensor {
    let x = this.convolution("encoder.conv.0", picture, { output: `encoder.conv.0(${side})` });
    for (const index of [3, 6, 9, 12]) {
      const normed = this.norm(`encoder.conv.${index - 2}(${side})`, `encoder.conv.${index - 2}`, x, SILU);
      x = this.convolution(`encoder.conv.${index}`, normed, { stride: 2, output: index === 12 ? `encoder.conv(${side})` : `encoder.conv.${index}(${side})` });
    }
    for (let i = 0; i < this.#config.semanticLayers; i++) x = this.#transformerLayer(`encoder.transformer_encoder.transformer_encoder.layers.${i}`, `encoder.layer${i}(${side})`, x);
    return x;
  }

  /** A layer of PyTorch's TransformerEncoder: norms after the additions, ReLU; tokens are pixels. */
  #transformerLayer(name: string, output: string, input: Tensor): Tensor {
    const { semanticChannels, semanticHeads } = this.#config;
    const part = (of: string): string => `${output}.${of}`;
    const projected = this.#pointwise(`${name}.self_attn`, input, part("qkv"), undefined, [`${name}.self_attn.in_proj_weight`, `${name}.self_attn.in_proj_bias`]);
    const [query, key, value] = ["q", "k", "v"].map((of, i) => this.#builder.slice(part(of), projected, i * semanticChannels, semanticChannels)) as [Tensor, Tensor, Tensor];
    const attended = this.#pointwise(`${name}.self_attn.out_proj`, this.#attend(part("attended"), query, key, value, semanticHeads), part("self_attn"));
    const middle = this.#layerNorm(`${name}.norm1`, part("norm1"), this.#add(part("residual1"), input, attended));
    const hidden = this.#pointwise(`${name}.linear1`, middle, part("linear1"), RELU);
    const forward = this.#pointwise(`${name}.linear2`, hidden, part("linear2"));
    return this.#layerNorm(`${name}.norm2`, output, this.#add(part("residual2"), middle, forward));
  }

  #layerNorm(name: string, output: string, input: Tensor): Tensor {
    const [weight, bias] = [this.#weights(`${name}.weight`), this.#weights(`${name}.bias`)];
    return this.#builder.add(output, layerNorm, [input], { weight, bias, epsilon: EPSILON });
  }

  residualBlock({ name, outputs, selfAttention, crossAttention }: ResidualBlock, input: Tensor, timeBias: Tensor, conditions: Conditions): Tensor {
    const first = this.convolution(`${name}.block1.2`, this.norm(`${name}.block1.0`, `${name}.block1.0`, input, SILU), { output: `${name}.block1` });
    const timed = this.#add(`${name}.timed`, first, timeBias);
    const second = this.convolution(`${name}.block2.3`, this.norm(`${name}.block2.0`, `${name}.block2.0`, timed, SILU), { output: `${name}.block2` });
    const shortcut = input.shape.channels === outputs ? input : this.#pointwise(`${name}.shortcut`, input);
    const residual = this.#add(selfAttention || crossAttention ? `${name}.residual` : name, second, shortcut);
    const h = selfAttention ? this.#selfAttention(`${name}.attn`, residual) : residual;
    if (!crossAttention) return h;

    const cross = this.#crossAttention(`${name}.cross_attention`, conditions);
    const z1 = cross(1, cross(0, h, "first"), "second");
    const z2 = cross(3, cross(2, h, "second"), "first");
    const joined = this.concat(`${name}.conbine.input`, this.concat(`${name}.conbine.pair`, z1, z2), this.#add(`${name}.conbine.sum`, z1, z2));
    const combined = this.norm(`${name}.conbine`, `${name}.conbine.1`, this.convolution(`${name}.conbine.0`, joined), SILU);
    return this.#add(name, combined, h);
  }

  #selfAttention(name: string, input: Tensor): Tensor {
    const normed = this.norm(`${name}.group_norm`, `${name}.group_norm`, input);
    const [query, key, value] = ["q", "k", "v"].map((part) => this.#pointwise(`${name}.proj_${part}`, normed)) as [Tensor, Tensor, Tensor];
    return this.#add(name, input, this.#pointwise(`${name}.proj`, this.#attend(`${name}.attended`, query, key, value)));
  }

  /** Attention of a tensor to one side's semantic features; the four calls of a block share its weights, keys and values. */
  #crossAttention(name: string, conditions: Conditions): (call: number, input: Tensor, side: "first" | "second") => Tensor {
    const sides = { first: this.#keys(name, "first", conditions.first), second: this.#keys(name, "second", conditions.second) };
    const queries = new Map<Tensor, Tensor>();
    return (call, input, side) => {
      const known = queries.get(input);
      const query = known ?? this.#pointwise(`${name}.proj_q`, this.norm(`${name}.norm_x#${call}`, `${name}.norm_x`, input), `${name}.proj_q#${call}`);
      queries.set(input, query);
      return this.#attend(`${name}#${call}`, query, sides[side].key, sides[side].value);
    };
  }

  #keys(name: string, side: string, features: Tensor): { readonly key: Tensor; readonly value: Tensor } {
    const normed = this.norm(`${name}.norm_cond(${side})`, `${name}.norm_cond`, features);
    const [key, value] = ["proj_k1", "proj_v1"].map((part) => this.#pointwise(`${name}.${part}`, normed, `${name}.${part}(${side})`)) as [Tensor, Tensor];
    return { key, value };
  }
}
