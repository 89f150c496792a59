import { readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { detectModel } from "../src/checkpoints/detect.ts";
import { maskDifuserFormat } from "../src/checkpoints/mask-difuser-format.ts";
import { readCheckpoint } from "../src/checkpoints/read.ts";
import { toFloat32 } from "../src/checkpoints/tensor.ts";
import { SinterError } from "../src/errors.ts";
import { maskDifuserRecipe } from "../src/fusion/mask-difuser.ts";
import type { FusionJob } from "../src/fusion/recipe.ts";
import type { SamplingJob } from "../src/fusion/sampling.ts";
import { GraphBuilder } from "../src/graph/graph.ts";
import { rewriteAll } from "../src/graph/rewrites.ts";
import type { ElementType } from "../src/kernels/tensor.ts";
import { lazyWeight, type Weight } from "../src/kernels/weights.ts";
import { type MaskDifuserConfig, maskDifuserStep, maskDifuserTimeBiases, maskDifuserTimeChannels, type Weights } from "../src/models/mask-difuser/network.ts";
import { foldMaskDifuser } from "../src/models/mask-difuser/rewrites.ts";
import { ruleWeight } from "../test/weight-rule.ts";
import { scatteredValues } from "./statistics.ts";
import { cacheFolder, channelsFirst, channelsLast, type PeerNetwork, randomPicture, type Size, type Workload, writeWeights } from "./workload.ts";

/** Configurations whose weights follow the rule of test/weight-rule.ts: the published sizes, and a quarter of their channels. */
const CONFIGS = {
  c4: { ...maskDifuserFormat.published, channels: 32 },
  official: maskDifuserFormat.published,
} as const satisfies Readonly<Record<string, MaskDifuserConfig>>;

export type MaskDifuserName = keyof typeof CONFIGS;

const RULE = {
  seed: 1102,
  gain: 6,
  bits: 24,
  multipliers: [
    [".cross_attention.proj_q.weight", 2],
    [".cross_attention.proj_k1.weight", 2],
    [".conbine.1.weight", 0.25],
    [".conbine.1.bias", 0.25],
  ],
} as const;
const TIME_TABLE = "time_embedding.timembedding.0.weight";
const STEPS = 5;
/** Of the step that the peers run. */
const PEER_TIMESTEP = 200;

/** The network of a checkpoint. */
export function maskDifuserFromFile(file: string, elementType: ElementType): Workload {
  const detected = detectModel(readCheckpoint(readFileSync(file), file), file);
  if (detected.model !== "mask-difuser") {
    throw new SinterError("UNKNOWN_MODEL", `${file} holds weights of ${detected.model}, not of mask-difuser`, { where: file });
  }
  const weights: Weights = (name) => {
    const tensor = detected.tensors.get(name);
    if (!tensor) throw new SinterError("WEIGHTS_MISMATCH", `${file} has no tensor ${name}`, { where: file });
    return lazyWeight(name, tensor.shape, () => toFloat32(tensor));
  };
  return { ...workload(basename(file), basename(file), detected.config, weights, elementType), weightsFile: resolve(file) };
}

/** A configuration with weights by the rule. */
export function maskDifuserByRule(name: MaskDifuserName, elementType: ElementType): Workload {
  return workload(name, "by the rule of test/weight-rule.ts", CONFIGS[name], ruleWeights(CONFIGS[name]), elementType);
}

/** Weights by the rule, each made when it is asked for; the time table is PyTorch's sines and cosines. */
export function ruleWeights(config: MaskDifuserConfig): Weights {
  const shapes = maskDifuserFormat.expectedTensors(config);
  // The state dict holds proj_in a second time as conbine, which the rule counts too.
  const aliases = [...shapes.keys()].filter((name) => name.startsWith("proj_in.")).map((name) => name.replace("proj_in.", "conbine."));
  const positions = new Map([...shapes.keys(), ...aliases].toSorted((a, b) => (a < b ? -1 : 1)).map((name, i) => [name, i]));
  return cached((name) => {
    const shape = shapes.get(name);
    if (!shape) throw new SinterError("WEIGHTS_MISMATCH", `Mask-DiFuser has no tensor ${name}`, { where: name });
    return { name, shape, data: name === TIME_TABLE ? timeTable(config) : ruleWeight(RULE, name, positions.get(name) ?? 0, shape) };
  });
}

function timeTable({ timesteps, channels }: MaskDifuserConfig): Float32Array {
  return Float32Array.from({ length: timesteps * channels }, (_, i) => {
    const angle = Math.floor(i / channels) * Math.exp(-(Math.floor((i % channels) / 2) * 2 * Math.log(10000)) / channels);
    return i % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
  });
}

function cached(load: (name: string) => Weight): Weights {
  const known = new Map<string, Weight>();
  return (name) => {
    const weight = known.get(name) ?? load(name);
    known.set(name, weight);
    return weight;
  };
}

function workload(name: string, weightsName: string, config: MaskDifuserConfig, weights: Weights, elementType: ElementType): Workload {
  const recipe = maskDifuserRecipe(weights, config);
  const sampling = (size: Size): SamplingJob => {
    const job: FusionJob = { ...size, firstColoured: false, secondColoured: true, elementType, reference: false };
    return recipe.sample(job, { task: "infrared-visible", steps: STEPS });
  };
  const { channels, multipliers, attentionLevels, residualBlocks } = config;
  return {
    network: "mask-difuser",
    title: `Mask-DiFuser ${name} (${channels} channels × ${multipliers.join("-")}, ${residualBlocks} blocks, attention at level ${attentionLevels.join(", ")})`,
    weightsName,
    elementType,
    multiple: 2 ** multipliers.length,
    parts: (size) => {
      const { once, step } = sampling(size).graphs();
      return [
        { name: "once", graph: once },
        { name: "step", graph: step },
      ];
    },
    sampling,
    pictures: ({ width, height }) => ({ first: randomPicture(width * height, 1), second: randomPicture(width * height * 3, 2) }),
    // A blended output is Sinter's own; the exported step ends with the last convolution.
    ...(config.output === "direct" && { peer: (size: Size) => peerStep(name, config, weights, size) }),
  };
}

/** One step from its conditions, as the peers run it: keys and values are computed in it on both sides. */
function peerStep(name: string, config: MaskDifuserConfig, weights: Weights, { width, height }: Size): PeerNetwork {
  const { graph, shapes } = stepGraph(config, weights, { width, height });
  const inputs = Object.fromEntries(
    Object.entries(shapes).map(([key, shape], i) => [key, scatteredValues(shape.height * shape.width * shape.channels, 10 + i)]),
  );
  const theirInputs = Object.fromEntries(
    Object.entries(shapes).map(([key, shape]) => [key, { data: channelsFirst(inputs[key] ?? new Float32Array(), shape.channels), dims: [1, shape.channels, shape.height, shape.width] }]),
  );
  const weightsFile = join(cacheFolder(), `mask-difuser-${name}.safetensors`);
  writeWeights(weightsFile, [...maskDifuserFormat.expectedTensors(config).keys()].filter(isUsed).map(weights));
  return {
    name: `Mask-DiFuser ${name}, one step ${width}×${height}`,
    file: `mask-difuser-${name}-${width}x${height}.onnx`,
    exportArguments: ["--network", "mask-difuser", "--weights", weightsFile, "--size", `${width}x${height}`, "--config", JSON.stringify(config)],
    graph: rewriteAll(foldMaskDifuser(graph, CHANGING)),
    plainGraph: graph,
    inputs: { ...inputs, time: maskDifuserTimeBiases(weights, config, PEER_TIMESTEP) },
    theirInputs: { ...theirInputs, timestep: { data: Float32Array.of(PEER_TIMESTEP), dims: [1] } },
    outputToOurs: (values) => channelsLast(values, 3),
    heads: 1,
  };
}

/** Inputs of a step that change from step to step, which decides how the rewrites divide the work. */
const CHANGING = ["sample", "time"];

/** The encoders' weights are not part of a step. */
const isUsed = (name: string): boolean => !name.startsWith("encoder.") && !name.startsWith("content_encoder.");

function stepGraph(config: MaskDifuserConfig, weights: Weights, { width, height }: Size) {
  const builder = new GraphBuilder();
  const features = { batch: 1, height: Math.ceil(height / 16), width: Math.ceil(width / 16), channels: config.semanticChannels };
  const shapes = {
    fa: features,
    fb: features,
    content: { ...features, width, height, channels: config.contentChannels },
    sample: { ...features, width, height, channels: 3 },
  };
  const [first, second, content, sample] = [builder.input("fa", shapes.fa), builder.input("fb", shapes.fb), builder.input("content", shapes.content), builder.input("sample", shapes.sample)];
  const time = builder.input("time", { batch: 1, height: 1, width: 1, channels: maskDifuserTimeChannels(config) });
  builder.output(maskDifuserStep(builder, weights, config, { first, second, content, pictures: [sample, sample] }, sample, time));
  return { graph: builder.build(), shapes };
}
