import { type Graph, GraphBuilder, type Tensor } from "../../graph/graph.ts";
import type { Activation } from "../../kernels/activation.ts";
import { applyMatrix } from "../../kernels/apply-matrix/apply-matrix.ts";
import { channelAttentionWeights } from "../../kernels/channel-attention/channel-attention.ts";
import { concat } from "../../kernels/concat/concat.ts";
import { conv2d } from "../../kernels/conv2d/conv2d.ts";
import { depthwiseConv2d } from "../../kernels/depthwise-conv2d/depthwise-conv2d.ts";
import { elementwise } from "../../kernels/elementwise/elementwise.ts";
import { layerNorm } from "../../kernels/layer-norm/layer-norm.ts";
import type { Weight } from "../../kernels/weights.ts";

/** Sizes of the network. The published ones: 16, 2, 2, 8, 2, without biases. */
export interface ReFusionConfig {
  /** Channels of an encoder; the decoder has twice as many. */
  readonly dim: number;
  /** Transformer blocks of each of the two encoders. */
  readonly encoderBlocks: number;
  readonly decoderBlocks: number;
  /** Attention heads, the same everywhere. */
  readonly heads: number;
  /** Hidden channels of a feed-forward network over its input's. */
  readonly expansion: number;
  /** Whether convolutions have biases. */
  readonly bias: boolean;
}

/** Weights by the name they have in the official state dict. */
export type Weights = (name: string) => Weight;

const LAYER_NORM_EPSILON = 1e-5;
const LEAKY_RELU: Activation = { kind: "leakyRelu", slope: 0.01 };

/**
 * ReFusion's fusion network (Bai et al., IJCV 2024, section 3): a shallow transformer encoder for each source, fusion by
 * channel cross-attention and gated residuals, a transformer decoder. Layers follow each other as in the published code;
 * rewrites make the plan fast. Tensors are named by the module whose output they are.
 *
 * @param first luma of the first source in 0..1, batch × height × width × 1
 * @param second luma of the second source, likewise
 * @returns the fused luma in 0..1 before it is stretched, batch × height × width × 1
 */
export function reFusionNetwork(builder: GraphBuilder, weights: Weights, config: ReFusionConfig, first: Tensor, second: Tensor): Tensor {
  const net = new Layers(builder, weights, config);
  let x1 = net.convolution("project_in_1", first, 1);
  let x2 = net.convolution("project_in_2", second, 1);
  for (let i = 0; i < config.encoderBlocks; i++) x1 = net.transformerBlock(`encoder1.${i}`, x1);
  for (let i = 0; i < config.encoderBlocks; i++) x2 = net.transformerBlock(`encoder2.${i}`, x2);
  let fused = net.fusionModule("FM", x1, x2);
  for (let i = 0; i < config.decoderBlocks; i++) fused = net.transformerBlock(`decoder.${i}`, fused);
  const activated = net.activation("act", net.convolution("project_out_0", fused, 1), LEAKY_RELU);
  return net.activation("output", net.convolution("project_out_1", activated, 1), { kind: "sigmoid" });
}

/** The network alone, for its own inputs `first` and `second` and output `output`. */
export function reFusionGraph(
  weights: Weights,
  config: ReFusionConfig,
  size: { readonly batch: number; readonly height: number; readonly width: number },
  elementType: "f32" | "f16" = "f32",
  keep: readonly string[] = [],
): Graph {
  const builder = new GraphBuilder();
  const first = builder.input("first", { ...size, channels: 1 }, elementType);
  const second = builder.input("second", { ...size, channels: 1 }, elementType);
  builder.output(reFusionNetwork(builder, weights, config, first, second));
  const graph = builder.build();
  const named = graph.nodes.map(({ output }) => output).filter(({ name }) => keep.includes(name));
  return { ...graph, outputs: [...graph.outputs, ...named] };
}

class Layers {
  readonly #builder: GraphBuilder;
  readonly #weights: Weights;
  readonly #config: ReFusionConfig;

  constructor(builder: GraphBuilder, weights: Weights, config: ReFusionConfig) {
    this.#builder = builder;
    this.#weights = weights;
    this.#config = config;
  }

  #parameters(name: string): { weight: Weight; bias?: Weight } {
    return { weight: this.#weights(`${name}.weight`), ...(this.#config.bias && { bias: this.#weights(`${name}.bias`) }) };
  }

  /** The convolution that the checkpoint calls `name`; its output is called `output`. */
  convolution(name: string, input: Tensor, padding: number, output = name): Tensor {
    return this.#builder.add(output, conv2d, [input], { ...this.#parameters(name), stride: 1, padding, dilation: 1 });
  }

  #depthwise(name: string, input: Tensor): Tensor {
    return this.#builder.add(name, depthwiseConv2d, [input], { ...this.#parameters(name), stride: 1, padding: 1, dilation: 1 });
  }

  activation(name: string, input: Tensor, activation: Activation): Tensor {
    return this.#builder.add(name, elementwise, [input], { operation: "activation", activation });
  }

  #add(name: string, first: Tensor, second: Tensor): Tensor {
    return this.#builder.add(name, elementwise, [first, second], { operation: "add" });
  }

  #gate(name: string, first: Tensor, second: Tensor): Tensor {
    return this.#builder.add(name, elementwise, [first, second], { operation: "gatedGelu" });
  }

  #layerNorm(name: string, input: Tensor): Tensor {
    const weight = this.#weights(`${name}.body.weight`);
    const bias = this.#weights(`${name}.body.bias`);
    return this.#builder.add(name, layerNorm, [input], { weight, bias, epsilon: LAYER_NORM_EPSILON });
  }

  /** Equal parts of a tensor's channels. */
  #chunk(input: Tensor, names: readonly string[]): Tensor[] {
    const channels = input.shape.channels / names.length;
    return names.map((name, i) => this.#builder.slice(name, input, i * channels, channels));
  }

  transformerBlock(name: string, input: Tensor): Tensor {
    const attention = this.#attention(`${name}.attn`, this.#layerNorm(`${name}.norm1`, input));
    const attended = this.#add(`${name}.residual`, input, attention);
    const forward = this.#feedForward(`${name}.ffn`, this.#layerNorm(`${name}.norm2`, attended));
    return this.#add(name, attended, forward);
  }

  /** Multi-head transposed self-attention (Restormer's MDTA): attention between channels instead of pixels. */
  #attention(name: string, input: Tensor): Tensor {
    const qkv = this.#depthwise(`${name}.qkv_dwconv`, this.convolution(`${name}.qkv`, input, 0));
    const [query, key, value] = this.#chunk(qkv, [`${name}.q`, `${name}.k`, `${name}.v`]) as [Tensor, Tensor, Tensor];
    const attended = this.#attend(name, query, key, value, `${name}.temperature`);
    return this.convolution(`${name}.project_out`, attended, 0, name);
  }

  #attend(name: string, query: Tensor, key: Tensor, value: Tensor, temperature: string): Tensor {
    const attributes = { heads: this.#config.heads, temperature: this.#weights(temperature) };
    const matrix = this.#builder.add(`${name}.attention`, channelAttentionWeights, [query, key], attributes);
    return this.#builder.add(`${name}.attended`, applyMatrix, [value, matrix], {});
  }

  /** Gated feed-forward network with depthwise convolutions (Restormer's GDFN). */
  #feedForward(name: string, input: Tensor): Tensor {
    const hidden = this.#depthwise(`${name}.dwconv`, this.convolution(`${name}.project_in`, input, 0));
    const [gate, value] = this.#chunk(hidden, [`${name}.gate`, `${name}.value`]) as [Tensor, Tensor];
    const gated = this.#gate(`${name}.gated`, gate, value);
    return this.convolution(`${name}.project_out`, gated, 0, name);
  }

  /** Attention fusion: each source attends with the other's queries, then both gate a joint residual. */
  fusionModule(name: string, first: Tensor, second: Tensor): Tensor {
    const parts = (side: 1 | 2, input: Tensor): [Tensor, Tensor, Tensor] => {
      const qkv = this.#depthwise(`${name}.qkv${side}_dwconv`, this.convolution(`${name}.qkv${side}`, input, 0));
      return this.#chunk(qkv, [`${name}.q${side}`, `${name}.k${side}`, `${name}.v${side}`]) as [Tensor, Tensor, Tensor];
    };
    const [q1, k1, v1] = parts(1, first);
    const [q2, k2, v2] = parts(2, second);
    const cross1 = this.#attend(`${name}.cross1`, q2, k1, v1, `${name}.temperature1`);
    const cross2 = this.#attend(`${name}.cross2`, q1, k2, v2, `${name}.temperature2`);
    const x1 = this.#add(`${name}.x1`, first, this.convolution(`${name}.project_mid1`, cross1, 0));
    const x2 = this.#add(`${name}.x2`, second, this.convolution(`${name}.project_mid2`, cross2, 0));
    const joint = this.#builder.add(`${name}.joint`, concat, [x1, x2], {});

    const gates = this.#depthwise(`${name}.project_E_d`, this.convolution(`${name}.project_E`, joint, 0));
    const [gate1, gate2] = this.#chunk(gates, [`${name}.gate1`, `${name}.gate2`]) as [Tensor, Tensor];
    const gated = (side: 1 | 2, gate: Tensor, input: Tensor): Tensor => {
      const value = this.#depthwise(`${name}.project_E${side}_d`, this.convolution(`${name}.project_E${side}`, input, 0));
      return this.convolution(`${name}.project_out${side}`, this.#gate(`${name}.gated${side}`, gate, value), 0);
    };
    const half = this.#add(`${name}.half`, joint, gated(1, gate1, x1));
    return this.#add(name, half, gated(2, gate2, x2));
  }
}
