import { type StoredTensor, toFloat32 } from "../checkpoints/tensor.ts";
import { type NoiseSchedule, noiseSchedule } from "../diffusion/noise-schedules.ts";
import { normalQuantileTable } from "../diffusion/normal-noise.ts";
import { philoxKey } from "../diffusion/philox.ts";
import { ddimSteps, ddpmSteps, dpmSolverSteps, type SamplerStep, x0ClipRange } from "../diffusion/samplers.ts";
import { maskDifuserTimesteps, trailingTimesteps } from "../diffusion/timesteps.ts";
import { SinterError } from "../errors.ts";
import { dropUnused } from "../graph/editor.ts";
import { type Graph, GraphBuilder, type Tensor } from "../graph/graph.ts";
import { rewriteAll } from "../graph/rewrites.ts";
import { splitGraph } from "../graph/split.ts";
import { convert } from "../kernels/convert/convert.ts";
import { minMax, stretch } from "../kernels/min-max/min-max.ts";
import { noiseSettings, normalNoise } from "../kernels/normal-noise/normal-noise.ts";
import { crop, padReflect } from "../kernels/pad/pad.ts";
import { SAMPLER_FACTORS, samplerEstimate, samplerNext } from "../kernels/sampler/sampler.ts";
import type { Shape } from "../kernels/tensor.ts";
import { type Conditions, maskDifuserConditions, type MaskDifuserConfig, maskDifuserStep, maskDifuserTimeBiases, maskDifuserTimeChannels, type Weights } from "../models/mask-difuser/network.ts";
import { foldCombine, foldMaskDifuser } from "../models/mask-difuser/rewrites.ts";
import { addPictures } from "./chroma.ts";
import { type FusionJob, pictureScale } from "./recipe.ts";
import { type SamplingJob, type SamplingOptions, type SamplingRecipe, stepRange, type TiledSamplingGraphs } from "./sampling.ts";

const DEFAULTS = { sampler: "ddim", eta: 1, seed: 1 } as const;

/**
 * Mask-DiFuser from two pictures to one (test.py of the authors' repository): both pictures in −1..1 with three channels, mirrored at the
 * right and bottom to a multiple of 2^levels; sampling from noise; the result stretched to the whole range over all channels together.
 *
 * With `--reference` the timesteps and ᾱ are those of the published program, which keeps a little noise in the result; else the steps are
 * spaced from the last timestep down and end without noise. x_0 is clipped by the task either way.
 */
export const maskDifuserRecipe = (weights: Weights, config: MaskDifuserConfig): SamplingRecipe => ({
  rounding: "half-even",
  sample: (job, options) => sampleJob(weights, config, job, { ...DEFAULTS, steps: config.steps, ...options }),
});

type Options = SamplingOptions & { readonly steps: number; readonly sampler: "ddim" | "ddpm" | "dpm++"; readonly eta: number; readonly seed: number };

/** The inputs of a step that change. */
const CHANGING = ["sample", "previous", "time", "factors", "noise", "noise settings"];

function sampleJob(weights: Weights, config: MaskDifuserConfig, job: FusionJob, options: Options): SamplingJob {
  const { noise, seed } = options;
  const padded = paddedShape(config, job);
  const steps = samplerSteps(config, job, options);
  const key = philoxKey(seed);
  return {
    graphs: () => {
      const { once, step } = splitGraph(rewriteAll(foldMaskDifuser(wholeGraph(weights, config, job, padded, noise !== undefined), CHANGING)), CHANGING);
      return { once, step, finish: finishGraph(job, padded, steps.length) };
    },
    tiles: () => tiledGraphs(weights, config, job, padded, noise !== undefined, finishGraph(job, padded, steps.length)),
    onceInputs: noise ? {} : { "start settings": noiseSettings(key, 0) },
    ...(noise && { start: importedNoise(noise, 0, padded) }),
    steps: steps.map((samplerStep, i) => ({
      time: maskDifuserTimeBiases(weights, config, samplerStep.timestep),
      factors: samplerFactors(samplerStep),
      ...(noise
        ? { noise: samplerStep.nextFromNoise === 0 ? new Float32Array(padded.height * padded.width * 3) : importedNoise(noise, i + 1, padded) }
        : { "noise settings": noiseSettings(key, i + 1) }),
    })),
  };
}

/** The schedule of the published program: β from 10⁻⁴ to 0.02. */
const schedule = ({ timesteps }: MaskDifuserConfig): NoiseSchedule => noiseSchedule({ name: "linear-float32", steps: timesteps, start: 1e-4, end: 0.02 });

function samplerSteps(config: MaskDifuserConfig, { reference }: FusionJob, { task, steps, sampler, eta }: Options): SamplerStep[] {
  const points = reference ? maskDifuserTimesteps(schedule(config), steps) : trailingTimesteps(schedule(config), steps);
  // The published wider ranges of some tasks are for an x_0 that is computed from the noise; one that is predicted was trained within −1..1.
  const clip = config.prediction === "x0" ? ([-1, 1] as const) : x0ClipRange(task);
  const options = { prediction: config.prediction, clip };
  if (sampler === "ddim") return ddimSteps(points, { ...options, eta, reference });
  return sampler === "ddpm" ? ddpmSteps(points, options) : dpmSolverSteps(points, options);
}

/** A step's numbers in the order that the sampler's kernels take them. */
function samplerFactors(step: SamplerStep): Float32Array {
  const [clipLow, clipHigh] = step.clip;
  const values: Readonly<Record<string, number>> = { ...step, clip: 0, clipLow, clipHigh };
  return Float32Array.from(SAMPLER_FACTORS, (name) => values[name] ?? 0);
}

/** Sizes are padded to it. */
const multipleOf = ({ multipliers }: MaskDifuserConfig): number => 2 ** multipliers.length;

function paddedShape(config: MaskDifuserConfig, { width, height }: FusionJob): Shape {
  const multiple = multipleOf(config);
  const up = (size: number): number => Math.ceil(size / multiple) * multiple;
  return { batch: 1, height: up(height), width: up(width), channels: 3 };
}

/** Everything from the pictures to one step, to be split. */
function wholeGraph(weights: Weights, config: MaskDifuserConfig, job: FusionJob, padded: Shape, noiseIsImported: boolean): Graph {
  const builder = new GraphBuilder();
  const [first, second] = addPaddedPictures(builder, job, padded);
  const sample = builder.input("sample", padded);
  const conditions = maskDifuserConditions(builder, weights, config, first, second);
  const output = addNetwork(builder, weights, config, job, conditions, sample);
  addSampler(builder, sample, output, noiseIsImported);
  if (!noiseIsImported) builder.output(addNoise(builder, padded, "start", "start settings"));
  return builder.build();
}

/** Both pictures in −1..1, with three channels, of the padded size. */
function addPaddedPictures(builder: GraphBuilder, job: FusionJob, { height, width }: Shape): [Tensor, Tensor] {
  return addPictures(builder, job).map((picture) => {
    const attributes = { scale: 2 / pictureScale(job), offset: -1, channels: 3, elementType: job.elementType } as const;
    const centred = builder.add(`${picture.name} centred`, convert, [picture], attributes);
    return builder.add(paddedName(picture.name), padReflect, [centred], { height, width });
  }) as [Tensor, Tensor];
}

const paddedName = (side: string): string => `${side} padded`;

/** The network's output for a sample, in whose element type it comes. */
function addNetwork(builder: GraphBuilder, weights: Weights, config: MaskDifuserConfig, { elementType }: FusionJob, conditions: Conditions, sample: Tensor): Tensor {
  const time = builder.input("time", { batch: 1, height: 1, width: 1, channels: maskDifuserTimeChannels(config) }, elementType);
  const stored = elementType === "f32" ? sample : builder.add("sample stored", convert, [sample], { scale: 1, offset: 0, channels: 3, elementType });
  return maskDifuserStep(builder, weights, config, conditions, stored, time);
}

function addNoise(builder: GraphBuilder, { height, width, channels }: Shape, name: string, settingsName: string): Tensor {
  const settings = builder.input(settingsName, { batch: 1, height: 1, width: 1, channels: 8 });
  return builder.add(name, normalNoise, [settings], { height, width, channels, originX: 0, originY: 0, quantiles: normalQuantileTable() });
}

/** What the sampler makes of the network's output: `next`, `x0` and `output range`. */
function addSampler(builder: GraphBuilder, sample: Tensor, output: Tensor, noiseIsImported: boolean): void {
  const previous = builder.input("previous", sample.shape);
  const factors = builder.input("factors", { batch: 1, height: 1, width: 1, channels: SAMPLER_FACTORS.length });
  const x0 = builder.add("x0", samplerEstimate, [sample, output, factors], {});
  const noise = noiseIsImported ? builder.input("noise", sample.shape) : addNoise(builder, sample.shape, "noise", "noise settings");
  builder.output(builder.add("next", samplerNext, [sample, output, x0, noise, previous, factors], {}));
  builder.output(x0);
  builder.output(builder.add("output range", minMax, [output], {}));
}

/** The same in tiles: semantic features of the whole picture, everything else of a network in tiles, one sampler's update for all. */
function tiledGraphs(weights: Weights, config: MaskDifuserConfig, job: FusionJob, padded: Shape, noiseIsImported: boolean, finish: Graph): TiledSamplingGraphs {
  const once = new GraphBuilder();
  const [first, second] = addPaddedPictures(once, job, padded);
  const features = maskDifuserConditions(once, weights, config, first, second);
  for (const tensor of [first, second, features.first, features.second]) once.output(tensor);
  if (!noiseIsImported) once.output(addNoise(once, padded, "start", "start settings"));
  const update = new GraphBuilder();
  const sample = update.input("sample", padded);
  update.output(sample);
  addSampler(update, sample, update.input("output", padded), noiseIsImported);
  const pictures = [...["first", "second"].map(paddedName), "sample"];
  const graph = (height: number, width: number): Graph => {
    const builder = new GraphBuilder();
    const size = { ...padded, height, width };
    const [one, two] = [builder.input(paddedName("first"), size, job.elementType), builder.input(paddedName("second"), size, job.elementType)];
    const noisy = builder.input("sample", size);
    const { content } = maskDifuserConditions(builder, weights, config, one, two);
    const given = [features.first, features.second].map(({ name, shape, elementType }) => builder.input(`${name} of the whole picture`, shape, elementType)) as [Tensor, Tensor];
    const conditions = { content, first: given[0], second: given[1], pictures: [one, two] as const };
    builder.output(addNetwork(builder, weights, config, job, conditions, noisy));
    return dropUnused(foldCombine(rewriteAll(builder.build())));
  };
  return {
    once: dropUnused(rewriteAll(once.build())),
    given: Object.fromEntries([features.first, features.second].map(({ name }) => [name, `${name} of the whole picture`])),
    network: { height: padded.height, width: padded.width, graph, pictures, changing: ["sample"], multiple: multipleOf(config) },
    update: update.build(),
    finish,
  };
}

function finishGraph(job: FusionJob, padded: Shape, steps: number): Graph {
  const builder = new GraphBuilder();
  const cropped = builder.add("output", crop, [builder.input("sample", padded)], { height: job.height, width: job.width });
  const range = builder.add("range", minMax, [cropped], {});
  builder.output(builder.add("fused", stretch, [cropped, range], { scale: pictureScale(job) }));
  builder.output(range);
  builder.output(cropped);
  for (let k = 1; k <= steps; k++) builder.output(builder.input(stepRange(k), { batch: 1, height: 1, width: 1, channels: 3 }));
  return builder.build();
}

/** A tensor of imported noise with channels last. */
function importedNoise(noise: ReadonlyMap<string, StoredTensor>, k: number, { height, width }: Shape): Float32Array {
  const name = `noise.${k}`;
  const tensor = noise.get(name);
  const expected = `1×3×${height}×${width}`;
  if (tensor?.shape.join("×") !== expected) {
    throw new SinterError("NOISE_MISMATCH", `The imported noise has ${tensor ? `${name} of ${tensor.shape.join("×")}` : `no ${name}`}; expected ${name} of ${expected}.`, {
      where: name,
      fix: "Give noise of the padded size: noise.0 for the start and noise.1, noise.2, … for each step that adds noise.",
    });
  }
  const planes = toFloat32(tensor);
  const pixels = height * width;
  return Float32Array.from({ length: 3 * pixels }, (_, i) => planes[(i % 3) * pixels + Math.floor(i / 3)] ?? 0);
}
