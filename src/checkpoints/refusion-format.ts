import { countBlocks, isCount, isRecord } from "./model-format.ts";
import type { ModelFormat, TensorShapes } from "./model-format.ts";

/**
 * The sizes of a ReFusion fusion network (Bai et al., "ReFusion: Learning Image Fusion from Reconstruction with
 * Learnable Loss via Meta-Learning").
 */
export interface RefusionConfig {
  /** Channels of each encoder; the decoder has twice as many. */
  readonly dim: number;
  /** Transformer blocks of each of the two encoders. */
  readonly encoderBlocks: number;
  readonly decoderBlocks: number;
  /** Attention heads, the same everywhere. */
  readonly heads: number;
  /** Feed-forward width over block width; the width itself is rounded down. */
  readonly expansion: number;
  /** Whether convolutions have a bias (layer norms always do). */
  readonly bias: boolean;
}

/** The configuration of the four official checkpoints. */
const published: RefusionConfig = { dim: 16, encoderBlocks: 2, decoderBlocks: 2, heads: 8, expansion: 2, bias: false };

/** What `detectModel` knows about ReFusion. The state dict holds each convolution as `X.weight` and `X.conv.weight`. */
export const refusionFormat: ModelFormat<"refusion", RefusionConfig> = {
  model: "refusion",
  accepted: "ReFusion (ReFusion_IVIF.pth, ReFusion_MIF.pth, ReFusion_MFIF.pth, ReFusion_MEIF.pth, or files of that shape)",
  published,
  canonicalName: (name) => name.replace(/\.conv\.(weight|bias)$/, ".$1"),
  inferConfig: inferRefusionConfig,
  parseConfig: parseRefusionConfig,
  expectedTensors: expectedRefusionTensors,
};

/**
 * Every tensor of a ReFusion network with its shape, in the order of the state dict. Convolution weights are
 * [output channels, input channels per group, height, width].
 */
export function expectedRefusionTensors(config: RefusionConfig): Map<string, readonly number[]> {
  const { dim, encoderBlocks, decoderBlocks, heads, expansion, bias } = config;
  const tensors = new Map<string, readonly number[]>();
  const convolution = (name: string, outputs: number, inputs: number, size: 1 | 3): void => {
    tensors.set(`${name}.weight`, [outputs, inputs, size, size]);
    if (bias) tensors.set(`${name}.bias`, [outputs]);
  };
  const layerNorm = (name: string, channels: number): void => {
    tensors.set(`${name}.body.weight`, [channels]);
    tensors.set(`${name}.body.bias`, [channels]);
  };
  const transformerBlock = (name: string, channels: number): void => {
    const hidden = Math.floor(channels * expansion);
    layerNorm(`${name}.norm1`, channels);
    tensors.set(`${name}.attn.temperature`, [heads, 1, 1]);
    convolution(`${name}.attn.qkv`, 3 * channels, channels, 1);
    convolution(`${name}.attn.qkv_dwconv`, 3 * channels, 1, 3);
    convolution(`${name}.attn.project_out`, channels, channels, 1);
    layerNorm(`${name}.norm2`, channels);
    convolution(`${name}.ffn.project_in`, 2 * hidden, channels, 1);
    convolution(`${name}.ffn.dwconv`, 2 * hidden, 1, 3);
    convolution(`${name}.ffn.project_out`, channels, hidden, 1);
  };

  convolution("project_in_1", dim, 1, 3);
  convolution("project_in_2", dim, 1, 3);
  for (const encoder of ["encoder1", "encoder2"]) {
    for (let i = 0; i < encoderBlocks; i++) transformerBlock(`${encoder}.${i}`, dim);
  }

  // The fusion module: its widths do not follow the expansion.
  tensors.set("FM.temperature1", [heads, 1, 1]);
  tensors.set("FM.temperature2", [heads, 1, 1]);
  for (const side of ["1", "2"]) {
    convolution(`FM.qkv${side}`, 3 * dim, dim, 1);
    convolution(`FM.qkv${side}_dwconv`, 3 * dim, 1, 3);
  }
  for (const side of ["1", "2"]) convolution(`FM.project_mid${side}`, dim, dim, 1);
  convolution("FM.project_E", 8 * dim, 2 * dim, 1);
  convolution("FM.project_E_d", 8 * dim, 1, 3);
  for (const side of ["1", "2"]) {
    convolution(`FM.project_E${side}`, 4 * dim, dim, 1);
    convolution(`FM.project_E${side}_d`, 4 * dim, 1, 3);
  }
  for (const side of ["1", "2"]) convolution(`FM.project_out${side}`, 2 * dim, 4 * dim, 1);

  for (let i = 0; i < decoderBlocks; i++) transformerBlock(`decoder.${i}`, 2 * dim);
  convolution("project_out_0", dim, 2 * dim, 3);
  convolution("project_out_1", 1, dim, 3);
  return tensors;
}

function inferRefusionConfig(shapes: TensorShapes): RefusionConfig {
  const dim = shapes.get("project_in_1.weight")?.[0] ?? published.dim;
  // From the decoder, the wider one: of a fractional expansion the rounded width tells more there.
  const twiceHidden = shapes.get("decoder.0.ffn.project_in.weight")?.[0];
  return {
    dim,
    encoderBlocks: countBlocks(shapes, "encoder1") || published.encoderBlocks,
    decoderBlocks: countBlocks(shapes, "decoder") || published.decoderBlocks,
    heads: shapes.get("encoder1.0.attn.temperature")?.[0] ?? published.heads,
    expansion: twiceHidden === undefined ? published.expansion : twiceHidden / (4 * dim),
    bias: shapes.has("project_in_1.bias"),
  };
}

function parseRefusionConfig(value: unknown): RefusionConfig | undefined {
  if (!isRecord(value)) return undefined;
  const { dim, encoderBlocks, decoderBlocks, heads, expansion, bias } = value;
  if (!isCount(dim, 4096) || !isCount(encoderBlocks, 64) || !isCount(decoderBlocks, 64)) return undefined;
  if (!isCount(heads, dim) || dim % heads !== 0) return undefined;
  if (typeof expansion !== "number" || !(expansion > 0 && expansion <= 64) || typeof bias !== "boolean") return undefined;
  return { dim, encoderBlocks, decoderBlocks, heads, expansion, bias };
}
