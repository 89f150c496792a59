import { isCount, isRecord } from "./model-format.ts";
import type { ModelFormat, TensorShapes } from "./model-format.ts";

/** The sizes of a Mask-DiFuser network; its two condition encoders have fixed sizes. */
export interface MaskDifuserConfig {
  /** Timesteps of the noise schedule, the rows of the time table. */
  readonly timesteps: number;
  /** Channels of the first level of the U-Net. */
  readonly channels: number;
  /** Channels of each level over those of the first. */
  readonly multipliers: readonly number[];
  /** Levels, from 0, whose residual blocks have self-attention. */
  readonly attentionLevels: readonly number[];
  /** Residual blocks of each level on the way down; one more on the way up. */
  readonly residualBlocks: number;
}

const published: MaskDifuserConfig = {
  timesteps: 1000,
  channels: 128,
  multipliers: [1, 2, 3, 4],
  attentionLevels: [2],
  residualBlocks: 2,
};

/** Channels of the semantic features that every residual block attends to, and of the content encoder's widest level. */
const conditionChannels = 128;
/** Channels of the content features and of the projected noisy picture, side by side before the U-Net. */
const inputChannels = 64;
const semanticLayers = 4;
const feedForwardChannels = 2048;

/** What `detectModel` knows about Mask-DiFuser. The state dict holds `proj_in` a second time as `conbine` (sic). */
export const maskDifuserFormat: ModelFormat<"mask-difuser", MaskDifuserConfig> = {
  model: "mask-difuser",
  accepted: "Mask-DiFuser (the state dict of its U-Net)",
  published,
  canonicalName: (name) => name.replace(/^conbine\./, "proj_in."),
  inferConfig: inferMaskDifuserConfig,
  parseConfig: parseMaskDifuserConfig,
  expectedTensors: expectedMaskDifuserTensors,
};

/** Every tensor of a Mask-DiFuser network with its shape; names are the official state dict's. */
export function expectedMaskDifuserTensors(config: MaskDifuserConfig): Map<string, readonly number[]> {
  const { timesteps, channels, multipliers, attentionLevels, residualBlocks } = config;
  const timeChannels = 4 * channels;
  const tensors = new Map<string, readonly number[]>();
  const norm = (name: string, width: number): void => {
    tensors.set(`${name}.weight`, [width]);
    tensors.set(`${name}.bias`, [width]);
  };
  const linear = (name: string, outputs: number, inputs: number): void => {
    tensors.set(`${name}.weight`, [outputs, inputs]);
    tensors.set(`${name}.bias`, [outputs]);
  };
  const convolution = (name: string, outputs: number, inputs: number, size: 1 | 3): void => {
    tensors.set(`${name}.weight`, [outputs, inputs, size, size]);
    tensors.set(`${name}.bias`, [outputs]);
  };
  const transformerLayer = (name: string): void => {
    tensors.set(`${name}.self_attn.in_proj_weight`, [3 * conditionChannels, conditionChannels]);
    tensors.set(`${name}.self_attn.in_proj_bias`, [3 * conditionChannels]);
    linear(`${name}.self_attn.out_proj`, conditionChannels, conditionChannels);
    linear(`${name}.linear1`, feedForwardChannels, conditionChannels);
    linear(`${name}.linear2`, conditionChannels, feedForwardChannels);
    norm(`${name}.norm1`, conditionChannels);
    norm(`${name}.norm2`, conditionChannels);
  };
  const residualBlock = (name: string, inputs: number, outputs: number, hasAttention: boolean): void => {
    norm(`${name}.block1.0`, inputs);
    convolution(`${name}.block1.2`, outputs, inputs, 3);
    linear(`${name}.temb_proj.1`, outputs, timeChannels);
    norm(`${name}.block2.0`, outputs);
    convolution(`${name}.block2.3`, outputs, outputs, 3);
    if (inputs !== outputs) convolution(`${name}.shortcut`, outputs, inputs, 1);
    if (hasAttention) {
      norm(`${name}.attn.group_norm`, outputs);
      for (const part of ["proj_q", "proj_k", "proj_v", "proj"]) convolution(`${name}.attn.${part}`, outputs, outputs, 1);
    }
    norm(`${name}.cross_attention.norm_x`, outputs);
    norm(`${name}.cross_attention.norm_cond`, conditionChannels);
    convolution(`${name}.cross_attention.proj_q`, outputs, outputs, 1);
    convolution(`${name}.cross_attention.proj_k1`, outputs, conditionChannels, 1);
    convolution(`${name}.cross_attention.proj_v1`, outputs, conditionChannels, 1);
    convolution(`${name}.conbine.0`, outputs, 3 * outputs, 3);
    norm(`${name}.conbine.1`, outputs);
  };

  // Content encoder: each picture to 128 channels, fused, and back to 64.
  convolution("content_encoder.conv.0", 32, 3, 3);
  norm("content_encoder.conv.1", 32);
  convolution("content_encoder.conv.3", 64, 32, 3);
  norm("content_encoder.conv.4", 64);
  convolution("content_encoder.conv.6", conditionChannels, 64, 3);
  convolution("content_encoder.fusion.conv1", 2 * conditionChannels, 4 * conditionChannels, 1);
  norm("content_encoder.fusion.norm1", 2 * conditionChannels);
  convolution("content_encoder.fusion.conv2", conditionChannels, 2 * conditionChannels, 1);
  norm("content_encoder.fusion.norm2", conditionChannels);
  convolution("content_encoder.fusion.conv3", conditionChannels, 2 * conditionChannels, 1);
  norm("content_encoder.fusion.norm3", conditionChannels);
  convolution("content_encoder.fusion.conv4", conditionChannels, conditionChannels, 1);
  norm("content_encoder.fusion.norm4", conditionChannels);
  norm("content_encoder.enhance.0", conditionChannels);
  convolution("content_encoder.enhance.2", inputChannels, conditionChannels, 3);
  norm("content_encoder.enhance.3", inputChannels);
  convolution("content_encoder.enhance.5", inputChannels, inputChannels, 3);

  // Semantic encoder: convolutions to 1/16 of the size, then a transformer. The layer under `layers` is the prototype
  // that PyTorch copied the others from; checkpoints hold it, nothing uses it.
  convolution("encoder.conv.0", 32, 3, 3);
  norm("encoder.conv.1", 32);
  convolution("encoder.conv.3", 32, 32, 3);
  norm("encoder.conv.4", 32);
  convolution("encoder.conv.6", 64, 32, 3);
  norm("encoder.conv.7", 64);
  convolution("encoder.conv.9", conditionChannels, 64, 3);
  norm("encoder.conv.10", conditionChannels);
  convolution("encoder.conv.12", conditionChannels, conditionChannels, 3);
  transformerLayer("encoder.transformer_encoder.layers");
  for (let i = 0; i < semanticLayers; i++) {
    transformerLayer(`encoder.transformer_encoder.transformer_encoder.layers.${i}`);
  }

  tensors.set("time_embedding.timembedding.0.weight", [timesteps, channels]);
  linear("time_embedding.timembedding.1", timeChannels, channels);
  linear("time_embedding.timembedding.3", timeChannels, timeChannels);
  convolution("proj_in.0", inputChannels, 3, 3);
  norm("proj_in.1", inputChannels);
  convolution("head", channels, 2 * inputChannels, 3);

  const skips = [channels];
  let width = channels;
  let index = 0;
  for (const [level, multiplier] of multipliers.entries()) {
    for (let i = 0; i < residualBlocks; i++) {
      residualBlock(`downblocks.${index++}`, width, channels * multiplier, attentionLevels.includes(level));
      width = channels * multiplier;
      skips.push(width);
    }
    if (level < multipliers.length - 1) {
      convolution(`downblocks.${index++}.main`, width, width, 3);
      skips.push(width);
    }
  }
  residualBlock("middleblocks.0", width, width, true);
  residualBlock("middleblocks.1", width, width, false);
  index = 0;
  for (let level = multipliers.length - 1; level >= 0; level--) {
    const outputs = channels * (multipliers[level] ?? 1);
    for (let i = 0; i <= residualBlocks; i++) {
      const inputs = width + (skips.pop() ?? 0);
      residualBlock(`upblocks.${index++}`, inputs, outputs, attentionLevels.includes(level));
      width = outputs;
    }
    if (level > 0) convolution(`upblocks.${index++}.main`, width, width, 3);
  }
  norm("tail.0", width);
  convolution("tail.2", 3, width, 3);
  return tensors;
}

function inferMaskDifuserConfig(shapes: TensorShapes): MaskDifuserConfig {
  const channels = shapes.get("head.weight")?.[0] ?? published.channels;
  const multipliers: number[] = [];
  const attentionLevels: number[] = [];
  let level = 0;
  let residualBlocks = 0;
  for (let index = 0; ; index++) {
    const block = `downblocks.${index}`;
    const outputs = shapes.get(`${block}.block1.2.weight`)?.[0];
    if (outputs !== undefined) {
      if (level === 0) residualBlocks++;
      multipliers[level] = outputs / channels;
      if (shapes.has(`${block}.attn.proj.weight`) && !attentionLevels.includes(level)) attentionLevels.push(level);
    } else if (shapes.has(`${block}.main.weight`)) {
      level++;
    } else {
      break;
    }
  }
  return {
    timesteps: shapes.get("time_embedding.timembedding.0.weight")?.[0] ?? published.timesteps,
    channels,
    multipliers,
    attentionLevels,
    residualBlocks,
  };
}

function parseMaskDifuserConfig(value: unknown): MaskDifuserConfig | undefined {
  if (!isRecord(value)) return undefined;
  const { timesteps, channels, multipliers, attentionLevels, residualBlocks } = value;
  if (!isCount(timesteps, 100_000) || !isCount(channels, 4096) || !isCount(residualBlocks, 16)) return undefined;
  if (!Array.isArray(multipliers) || multipliers.length === 0 || multipliers.length > 8) return undefined;
  if (!multipliers.every((multiplier) => isCount(multiplier, 64))) return undefined;
  if (!Array.isArray(attentionLevels)) return undefined;
  const levels: number = multipliers.length;
  if (!attentionLevels.every((level) => level === 0 || isCount(level, levels - 1))) return undefined;
  return { timesteps, channels, multipliers, attentionLevels, residualBlocks };
}
