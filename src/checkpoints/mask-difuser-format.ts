import { countBlocks, isCount, isRecord } from "./model-format.ts";
import type { ModelFormat, TensorShapes } from "./model-format.ts";

/** The sizes of a Mask-DiFuser network and what its output means, as `models/mask-difuser/network.ts` explains them field by field. */
export interface MaskDifuserConfig {
  readonly timesteps: number;
  readonly channels: number;
  readonly multipliers: readonly number[];
  readonly attentionLevels: readonly number[];
  readonly crossAttentionLevels: readonly number[];
  readonly residualBlocks: number;
  readonly groups: number;
  readonly contentChannels: number;
  readonly semanticChannels: number;
  readonly semanticLayers: number;
  readonly semanticHeads: number;
  readonly feedForwardChannels: number;
  readonly prediction: "epsilon" | "x0" | "v";
  readonly output: "direct" | "blend";
  readonly steps: number;
}

const published: MaskDifuserConfig = {
  timesteps: 1000,
  channels: 128,
  multipliers: [1, 2, 3, 4],
  attentionLevels: [2],
  crossAttentionLevels: [0, 1, 2, 3],
  residualBlocks: 2,
  groups: 32,
  contentChannels: 64,
  semanticChannels: 128,
  semanticLayers: 4,
  semanticHeads: 8,
  feedForwardChannels: 2048,
  prediction: "epsilon",
  output: "direct",
  steps: 5,
};

/** Weights of the transformer layer that PyTorch copied the others from: official checkpoints hold it, nothing uses it. */
const prototypeLayer = "encoder.transformer_encoder.layers";
const transformerLayers = "encoder.transformer_encoder.transformer_encoder.layers";

/** What `detectModel` knows about Mask-DiFuser. The state dict holds `proj_in` a second time as `conbine` (sic). */
export const maskDifuserFormat: ModelFormat<"mask-difuser", MaskDifuserConfig> = {
  model: "mask-difuser",
  accepted: "Mask-DiFuser (the state dict of its U-Net)",
  published,
  canonicalName: (name) => name.replace(/^conbine\./, "proj_in."),
  inferConfig: inferMaskDifuserConfig,
  parseConfig: parseMaskDifuserConfig,
  expectedTensors: expectedMaskDifuserTensors,
  isOptional: (name) => name.startsWith(`${prototypeLayer}.`),
};

/** Every tensor of a Mask-DiFuser network with its shape; names are the official state dict's. */
export function expectedMaskDifuserTensors(config: MaskDifuserConfig): Map<string, readonly number[]> {
  const { timesteps, channels, multipliers, attentionLevels, crossAttentionLevels, residualBlocks, contentChannels, semanticChannels, feedForwardChannels } = config;
  const mixedChannels = 2 * contentChannels;
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
    tensors.set(`${name}.self_attn.in_proj_weight`, [3 * semanticChannels, semanticChannels]);
    tensors.set(`${name}.self_attn.in_proj_bias`, [3 * semanticChannels]);
    linear(`${name}.self_attn.out_proj`, semanticChannels, semanticChannels);
    linear(`${name}.linear1`, feedForwardChannels, semanticChannels);
    linear(`${name}.linear2`, semanticChannels, feedForwardChannels);
    norm(`${name}.norm1`, semanticChannels);
    norm(`${name}.norm2`, semanticChannels);
  };
  const residualBlock = (name: string, inputs: number, outputs: number, hasAttention: boolean, hasCrossAttention: boolean): void => {
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
    if (!hasCrossAttention) return;
    norm(`${name}.cross_attention.norm_x`, outputs);
    norm(`${name}.cross_attention.norm_cond`, semanticChannels);
    convolution(`${name}.cross_attention.proj_q`, outputs, outputs, 1);
    convolution(`${name}.cross_attention.proj_k1`, outputs, semanticChannels, 1);
    convolution(`${name}.cross_attention.proj_v1`, outputs, semanticChannels, 1);
    convolution(`${name}.conbine.0`, outputs, 3 * outputs, 3);
    norm(`${name}.conbine.1`, outputs);
  };

  // Content encoder: each picture to twice the channels of the features, fused, and back.
  convolution("content_encoder.conv.0", contentChannels / 2, 3, 3);
  norm("content_encoder.conv.1", contentChannels / 2);
  convolution("content_encoder.conv.3", contentChannels, contentChannels / 2, 3);
  norm("content_encoder.conv.4", contentChannels);
  convolution("content_encoder.conv.6", mixedChannels, contentChannels, 3);
  convolution("content_encoder.fusion.conv1", 2 * mixedChannels, 4 * mixedChannels, 1);
  norm("content_encoder.fusion.norm1", 2 * mixedChannels);
  convolution("content_encoder.fusion.conv2", mixedChannels, 2 * mixedChannels, 1);
  norm("content_encoder.fusion.norm2", mixedChannels);
  convolution("content_encoder.fusion.conv3", mixedChannels, 2 * mixedChannels, 1);
  norm("content_encoder.fusion.norm3", mixedChannels);
  convolution("content_encoder.fusion.conv4", mixedChannels, mixedChannels, 1);
  norm("content_encoder.fusion.norm4", mixedChannels);
  norm("content_encoder.enhance.0", mixedChannels);
  convolution("content_encoder.enhance.2", contentChannels, mixedChannels, 3);
  norm("content_encoder.enhance.3", contentChannels);
  convolution("content_encoder.enhance.5", contentChannels, contentChannels, 3);

  // Semantic encoder: convolutions to 1/16 of the size, then a transformer.
  const semanticWidths = [semanticChannels / 4, semanticChannels / 4, semanticChannels / 2, semanticChannels, semanticChannels];
  for (const [i, width] of semanticWidths.entries()) {
    convolution(`encoder.conv.${3 * i}`, width, semanticWidths[i - 1] ?? 3, 3);
    if (i < semanticWidths.length - 1) norm(`encoder.conv.${3 * i + 1}`, width);
  }
  transformerLayer(prototypeLayer);
  for (let i = 0; i < config.semanticLayers; i++) transformerLayer(`${transformerLayers}.${i}`);

  tensors.set("time_embedding.timembedding.0.weight", [timesteps, channels]);
  linear("time_embedding.timembedding.1", timeChannels, channels);
  linear("time_embedding.timembedding.3", timeChannels, timeChannels);
  convolution("proj_in.0", contentChannels, 3, 3);
  norm("proj_in.1", contentChannels);
  convolution("head", channels, 2 * contentChannels, 3);

  const skips = [channels];
  let width = channels;
  let index = 0;
  for (const [level, multiplier] of multipliers.entries()) {
    for (let i = 0; i < residualBlocks; i++) {
      residualBlock(`downblocks.${index++}`, width, channels * multiplier, attentionLevels.includes(level), crossAttentionLevels.includes(level));
      width = channels * multiplier;
      skips.push(width);
    }
    if (level < multipliers.length - 1) {
      convolution(`downblocks.${index++}.main`, width, width, 3);
      skips.push(width);
    }
  }
  residualBlock("middleblocks.0", width, width, true, true);
  residualBlock("middleblocks.1", width, width, false, true);
  index = 0;
  for (let level = multipliers.length - 1; level >= 0; level--) {
    const outputs = channels * (multipliers[level] ?? 1);
    for (let i = 0; i <= residualBlocks; i++) {
      const inputs = width + (skips.pop() ?? 0);
      residualBlock(`upblocks.${index++}`, inputs, outputs, attentionLevels.includes(level), crossAttentionLevels.includes(level));
      width = outputs;
    }
    if (level > 0) convolution(`upblocks.${index++}.main`, width, width, 3);
  }
  norm("tail.0", width);
  convolution("tail.2", config.output === "blend" ? 5 : 3, width, 3);
  return tensors;
}

function inferMaskDifuserConfig(shapes: TensorShapes): MaskDifuserConfig {
  const channels = shapes.get("head.weight")?.[0] ?? published.channels;
  const multipliers: number[] = [];
  const attentionLevels: number[] = [];
  const crossAttentionLevels: number[] = [];
  let level = 0;
  let residualBlocks = 0;
  for (let index = 0; ; index++) {
    const block = `downblocks.${index}`;
    const outputs = shapes.get(`${block}.block1.2.weight`)?.[0];
    if (outputs !== undefined) {
      if (level === 0) residualBlocks++;
      multipliers[level] = outputs / channels;
      if (shapes.has(`${block}.attn.proj.weight`) && !attentionLevels.includes(level)) attentionLevels.push(level);
      if (shapes.has(`${block}.cross_attention.proj_q.weight`) && !crossAttentionLevels.includes(level)) crossAttentionLevels.push(level);
    } else if (shapes.has(`${block}.main.weight`)) {
      level++;
    } else {
      break;
    }
  }
  const outputs = (name: string): number | undefined => shapes.get(`${name}.weight`)?.[0];
  return {
    ...published,
    timesteps: outputs("time_embedding.timembedding.0") ?? published.timesteps,
    channels,
    multipliers,
    attentionLevels,
    crossAttentionLevels,
    residualBlocks,
    contentChannels: outputs("content_encoder.conv.3") ?? published.contentChannels,
    semanticChannels: outputs("encoder.conv.12") ?? published.semanticChannels,
    semanticLayers: countBlocks(shapes, transformerLayers) || published.semanticLayers,
    feedForwardChannels: outputs(`${transformerLayers}.0.linear1`) ?? published.feedForwardChannels,
    output: outputs("tail.2") === 5 ? "blend" : "direct",
  };
}

/** Files that an earlier version of Sinter wrote state only what is not published; every level has cross-attention in them. */
function parseMaskDifuserConfig(value: unknown): MaskDifuserConfig | undefined {
  if (!isRecord(value)) return undefined;
  const { timesteps, channels, multipliers, attentionLevels, residualBlocks } = value;
  const { groups, contentChannels, semanticChannels, semanticLayers, semanticHeads, feedForwardChannels, prediction, output, steps } = { ...published, ...value };
  if (!isCount(timesteps, 100_000) || !isCount(steps, timesteps) || !isCount(residualBlocks, 16)) return undefined;
  if (!Array.isArray(multipliers) || multipliers.length === 0 || multipliers.length > 8) return undefined;
  if (!multipliers.every((multiplier) => isCount(multiplier, 64))) return undefined;
  const levels: readonly number[] = multipliers.map((_, level) => level);
  const crossAttentionLevels = value["crossAttentionLevels"] ?? levels;
  const areLevels = (list: unknown): list is readonly number[] => Array.isArray(list) && list.every((level) => levels.includes(level as number));
  if (!areLevels(attentionLevels) || !areLevels(crossAttentionLevels)) return undefined;
  if (!isCount(groups, 4096)) return undefined;
  const isWidth = (width: unknown): width is number => isCount(width, 65536) && width % groups === 0;
  if (!isWidth(channels) || channels % 4 !== 0) return undefined;
  if (!isWidth(contentChannels) || !isWidth(contentChannels / 2)) return undefined;
  if (!isWidth(semanticChannels) || !isWidth(semanticChannels / 4)) return undefined;
  if (!isCount(semanticLayers, 64) || !isCount(semanticHeads, semanticChannels) || semanticChannels % (4 * semanticHeads) !== 0) return undefined;
  if (!isCount(feedForwardChannels, 65536)) return undefined;
  if (prediction !== "epsilon" && prediction !== "x0" && prediction !== "v") return undefined;
  if (output !== "direct" && output !== "blend") return undefined;
  return {
    timesteps,
    channels,
    multipliers,
    attentionLevels,
    crossAttentionLevels,
    residualBlocks,
    groups,
    contentChannels,
    semanticChannels,
    semanticLayers,
    semanticHeads,
    feedForwardChannels,
    prediction,
    output,
    steps,
  };
}
