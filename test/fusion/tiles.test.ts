import { existsSync, readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { detectModel } from "../../src/checkpoints/detect.ts";
import { readCheckpoint } from "../../src/checkpoints/read.ts";
import { toFloat32 } from "../../src/checkpoints/tensor.ts";
import { compileTiles, fadeWeights, type OpenSession, openTiles, prepareTiles, runTiles, type TiledNetwork, type TileHooks, tileSpans } from "../../src/fusion/tiles.ts";
import type { Graph } from "../../src/graph/graph.ts";
import { compile, type Plan } from "../../src/graph/plan.ts";
import { ConstantStore, Session } from "../../src/graph/session.ts";
import type { Progress } from "../../src/fusion/model.ts";
import type { Picture } from "../../src/fusion/picture.ts";
import { Engine } from "../../src/node.ts";
import { maskDifuserRecipe } from "../../src/fusion/mask-difuser.ts";
import { compileSampling, compileTiledSampling, joinPlans, joinTiledPlans, prepareSteps, prepareTiledSteps, runSteps, type TiledStep } from "../../src/fusion/sampling.ts";
import { reFusionGraph, type ReFusionConfig, type Weights } from "../../src/models/refusion/network.ts";
import type { MaskDifuserConfig } from "../../src/models/mask-difuser/network.ts";
import { PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openNullGpu, openTestGpu, rewriteAll, runGraph, runPlan, type TestGpu } from "../gpu.ts";

const MINUTES = 600_000;

describe("tiles along a side", () => {
  it.each([
    [64, 96, 16],
    [192, 96, 16],
    [176, 64, 16],
    [200, 96, 1],
    [2048, 512, 16],
    [97, 96, 1],
  ])("of %i pixels, %i long, in steps of %i, share it and fade into each other", (size, tile, multiple) => {
    const spans = tileSpans(size, tile, multiple);
    const length = Math.min(size, tile);
    expect(spans.map(({ inner }) => inner[0])).toEqual([0, ...spans.slice(0, -1).map(({ inner }) => inner[1])]);
    const sums = new Float64Array(size);
    for (const span of spans) {
      expect(span.start % multiple).toBe(0);
      expect(span.start).toBeGreaterThanOrEqual(0);
      expect(span.start + length).toBeLessThanOrEqual(size);
      for (const [i, weight] of fadeWeights(span, size, length).entries()) sums[span.start + i] = (sums[span.start + i] ?? 0) + weight;
    }
    for (const sum of sums) expect(sum).toBeCloseTo(1, 6);
    if (size > tile) for (const span of spans) expect(fadeWeights(span, size, length)[span.start === 0 ? length - 1 : 0]).toBe(0);
  });
});

/** Two lumas: smooth waves, and where asked for fine texture in parts of each, noise in one and a grating in the other. */
function scene(kind: "smooth" | "texture", height: number, width: number): readonly [Float32Array, Float32Array] {
  const first = new Float32Array(height * width);
  const second = new Float32Array(height * width);
  let state = 1;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const wave = 0.8 * Math.sin(y / 40) * Math.cos(x / 55);
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const noise = 0.35 * ((state / 2 ** 32) * 2 - 1);
      const grating = 0.25 * Math.sign(Math.sin(1.3 * x) + Math.sin(0.9 * y));
      first[i] = 0.5 + 0.5 * (kind === "texture" && x < width / 2 ? noise : wave);
      second[i] = 0.5 + 0.5 * (kind === "texture" ? (y < height / 2 ? grating : -wave) : 0.2 - wave / 2);
    }
  }
  return [first, second];
}

/** The q-th quantile of the differences of two tensors whose smallest and largest value the second has at 0 and 255. */
function greyLevels(actual: Float32Array, expected: Float32Array, quantile: number): number {
  const low = expected.reduce((a, b) => Math.min(a, b));
  const high = expected.reduce((a, b) => Math.max(a, b));
  const differences = expected.map((value, i) => (Math.abs((actual[i] ?? 0) - value) / (high - low)) * 255).toSorted();
  return differences[Math.min(differences.length - 1, Math.floor(quantile * differences.length))] ?? 0;
}

/** Runs a network in tiles. */
async function runTiled(gpu: TestGpu, network: TiledNetwork, edge: number, pictures: Readonly<Record<string, Float32Array>>): Promise<Float32Array> {
  const constants = new ConstantStore(gpu.device);
  const open: OpenSession = (plan) => Session.create(plan, gpu.device, gpu.pipelines, constants);
  const plans = compileTiles(network, edge, (graph) => compile(graph, gpu.device.traits));
  gpu.device.gpu.pushErrorScope("validation");
  const tiles = await openTiles(plans, open);
  for (const [name, data] of Object.entries(pictures)) tiles.source.write(name, data);
  const hooks: TileHooks = { open, run: async (session) => session.run() };
  await prepareTiles(plans, tiles, hooks);
  await runTiles(plans, tiles, hooks);
  const output = await tiles.canvas.read("output");
  const invalid = await gpu.device.gpu.popErrorScope();
  tiles.dispose();
  constants.dispose();
  if (invalid) throw new Error(invalid.message);
  return output;
}

/**
 * The largest step of the differences from one row or column to the next, averaged along it, in grey levels as in `greyLevels`: what shows where
 * tiles meet, however small, because it runs along a line.
 */
function seam(actual: Float32Array, expected: Float32Array, height: number, width: number): number {
  const channels = expected.length / (height * width);
  const low = expected.reduce((a, b) => Math.min(a, b));
  const scale = 255 / (expected.reduce((a, b) => Math.max(a, b)) - low);
  const rows = new Float64Array(height);
  const columns = new Float64Array(width);
  for (const [i, value] of expected.entries()) {
    const pixel = Math.floor(i / channels);
    const difference = ((actual[i] ?? 0) - value) * scale;
    const [y, x] = [Math.floor(pixel / width), pixel % width];
    rows[y] = (rows[y] ?? 0) + difference / (width * channels);
    columns[x] = (columns[x] ?? 0) + difference / (height * channels);
  }
  return Math.max(...[rows, columns].flatMap((line) => Array.from(line.slice(1), (value, i) => Math.abs(value - (line[i] ?? 0)))));
}

function readMaskDifuser(file: string): { readonly config: MaskDifuserConfig; readonly weights: Weights } {
  const detected = detectModel(readCheckpoint(Uint8Array.from(readFileSync(file)), file), file);
  if (detected.model !== "mask-difuser") throw new Error(`found ${detected.model}`);
  const { tensors, config } = detected;
  const weights: Weights = (name) => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(name);
    return { name, shape: tensor.shape, data: toFloat32(tensor) };
  };
  return { config, weights };
}

/** Samples with Mask-DiFuser, whole and twice in tiles. */
async function runMaskDifuser(gpu: TestGpu, file: string, edge: number, [first, second]: readonly [Float32Array, Float32Array], size: { readonly height: number; readonly width: number }, steps: number) {
  const { config, weights } = readMaskDifuser(file);
  const constants = new ConstantStore(gpu.device);
  const open: OpenSession = (plan) => Session.create(plan, gpu.device, gpu.pipelines, constants);
  const job = maskDifuserRecipe(weights, config).sample({ ...size, firstColoured: false, secondColoured: false, elementType: "f32", reference: false }, { task: "infrared-visible", steps });
  const build = (graph: Graph): Plan => compile(graph, gpu.device.traits);
  const run = async (step: Session | TiledStep, finishPlan: Plan): Promise<Float32Array> => {
    const finish = await open(finishPlan);
    await runSteps(step, finish, job);
    const output = await finish.read("output");
    finish.dispose();
    step.dispose();
    return output;
  };
  const whole = compileSampling(job.graphs(), build);
  const tiled = compileTiledSampling(job.tiles(), edge, build);
  const runTiledSampling = async (): Promise<Float32Array> => run(await prepareTiledSteps(open, tiled, job, { first, second }), tiled.finish);
  const expected = await run(await prepareSteps(open, whole, job, { first, second }), whole.finish);
  const results = { expected, actual: await runTiledSampling(), again: await runTiledSampling(), tiles: tiled.tiles.tiles.length };
  constants.dispose();
  return { ...results, peakBytes: { whole: joinPlans(whole, steps).peakBytes, tiled: joinTiledPlans(tiled, steps).peakBytes } };
}

function shippedReFusion(): { weights: Weights; config: ReFusionConfig } {
  const file = "weights/refusion-multi-focus.safetensors";
  const detected = detectModel(readCheckpoint(Uint8Array.from(readFileSync(file)), file), file);
  if (detected.model !== "refusion") throw new Error(`found ${detected.model}`);
  const { tensors, config } = detected;
  return {
    config,
    weights: (name) => {
      const tensor = tensors.get(name);
      if (!tensor) throw new Error(name);
      return { name, shape: tensor.shape, data: toFloat32(tensor) };
    },
  };
}

describe("ReFusion in tiles", () => {
  let gpu: TestGpu;
  beforeAll(async () => {
    gpu = await openTestGpu();
  });

  it.each(["smooth", "texture"] as const)("is the whole, %s scene", { timeout: MINUTES }, async (kind) => {
    const { weights, config } = shippedReFusion();
    const [height, width] = [150, 203];
    const [first, second] = scene(kind, height, width);
    const graph = (h: number, w: number): Graph => rewriteAll(reFusionGraph(weights, config, { batch: 1, height: h, width: w }));
    const { output: expected } = await runGraph(gpu, graph(height, width), { first, second });
    if (!expected) throw new Error("no output");
    const actual = await runTiled(gpu, { height, width, graph, pictures: ["first", "second"], changing: [], multiple: 1 }, 96, { first, second });
    expect(greyLevels(actual, expected, 1)).toBeLessThanOrEqual(0.01);
    expect(seam(actual, expected, height, width)).toBeLessThanOrEqual(0.01);
  });
});

const MASK_DIFUSER = "weights/mask-difuser-small.safetensors";
if (!existsSync(MASK_DIFUSER)) console.warn(`Tiles are not compared with the whole for Mask-DiFuser: there is no ${MASK_DIFUSER}.`);

describe("Mask-DiFuser in tiles", () => {
  let gpu: TestGpu;
  beforeAll(async () => {
    gpu = await openTestGpu();
  });

  it("is the whole where one tile is enough", { timeout: MINUTES }, async () => {
    const size = { height: 50, width: 64 };
    const { expected, actual, again, tiles } = await runMaskDifuser(gpu, "test/fixtures/mask-difuser-small.safetensors", 64, scene("texture", 50, 64), size, 2);
    expect(tiles).toBe(1);
    expect(greyLevels(actual, expected, 1)).toBeLessThanOrEqual(0.05);
    expect(again).toEqual(actual);
  });

  it.each(["f32", "f16"] as const)("passes Dawn's null backend with WebGPU's default limits, %s", { timeout: MINUTES }, async (elementType) => {
    const file = "test/fixtures/mask-difuser-small.safetensors";
    const { config, weights } = readMaskDifuser(file);
    const size = { width: 100, height: 70, firstColoured: true, secondColoured: false };
    const job = maskDifuserRecipe(weights, config).sample({ ...size, elementType, reference: false }, { task: "infrared-visible", steps: 1 });
    const { once, tiles, update, finish } = compileTiledSampling(job.tiles(), 64, (graph) => compile(graph, { ...PORTABLE_TRAITS, f16: true }));
    const plans = [once, tiles.source, tiles.given, tiles.known, ...tiles.levels, tiles.estimate, tiles.collect, tiles.tile, tiles.canvas, update, finish];
    expect(tiles.levels.length).toBeGreaterThan(3);
    const nullGpu = await openNullGpu();
    for (const plan of plans) if (plan) await runPlan(nullGpu, plan, {});
  });

  it.skipIf(!existsSync(MASK_DIFUSER)).each(["smooth", "texture"] as const)("is within two grey levels of the whole and shows no seam, %s scene", { timeout: MINUTES }, async (kind) => {
    // Smaller tiles are further off on fine texture (96 pixels: 5 levels), since self-attention sees a tile alone.
    const size = { height: 208, width: 176 };
    const { expected, actual, again, tiles, peakBytes } = await runMaskDifuser(gpu, MASK_DIFUSER, 128, scene(kind, size.height, size.width), size, 2);
    expect(tiles).toBe(4);
    expect(peakBytes.tiled).toBeLessThan(peakBytes.whole);
    expect(greyLevels(actual, expected, 0.999)).toBeLessThanOrEqual(2);
    expect(seam(actual, expected, size.height, size.width)).toBeLessThanOrEqual(0.3);
    expect(again).toEqual(actual);
  });
});

describe("Model.fuse", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await Engine.open();
  });
  afterEach(() => vi.restoreAllMocks());
  afterAll(() => engine.dispose());

  const [width, height] = [110, 90];
  const [one, two] = scene("texture", height, width).map((luma) => Uint8Array.from(luma, (value) => Math.round(255 * value))) as [Uint8Array, Uint8Array];
  const first: Picture = { width, height, channels: 1, data: one };
  const second: Picture = { width, height, channels: 3, data: Uint8Array.from({ length: 3 * height * width }, (_, i) => ((two[Math.floor(i / 3)] ?? 0) * (2 + (i % 3))) / 4) };

  const largestDifference = (a: Picture, b: Picture): number => Math.max(...a.data.map((value, i) => Math.abs(value - (b.data[i] ?? 0))));

  it("fuses in tiles where told to, with colour as in the whole", { timeout: MINUTES }, async () => {
    const model = await engine.load("refusion");
    const whole = await model.fuse({ first, second });
    const steps: Progress[] = [];
    const tiled = await model.fuse({ first, second }, { tile: 64, onProgress: (progress) => steps.push(progress) });
    expect(whole.report.tile).toBeUndefined();
    expect(tiled.report.tile).toBe(64);
    expect(largestDifference(tiled, whole)).toBeLessThanOrEqual(1);
    const runs = steps.filter(({ phase }) => phase === "run");
    expect(runs[0]?.done).toBe(0);
    expect(runs.at(-1)).toEqual({ phase: "run", done: runs.at(-1)?.total, total: runs.at(-1)?.total });
    const plan = await model.plan({ first, second }, { tile: 64 });
    expect(plan.peakBytes).toBe(tiled.report.peakBytes);
    expect(plan.peakBytes).toBeLessThan(whole.report.peakBytes);
    model.dispose();
  });

  it("fuses in the longest tiles that fit where the whole does not", { timeout: MINUTES }, async () => {
    const model = await engine.load("refusion");
    const whole = await model.fuse({ first, second });
    const { context } = engine;
    const places = (await model.plan({ first, second })).dispatches.flatMap((dispatch) => Object.values(dispatch.places));
    const largest = places.reduce((most, place) => Math.max(most, "size" in place ? place.size : 0), 0);
    // Room for 0.7 of the whole picture: of the sides tried, 80 × 80 is the longest that has it.
    const traits = { ...context.device.traits, maxBufferSize: Math.floor(0.7 * largest) };
    vi.spyOn(engine, "context", "get").mockReturnValue({ ...context, device: { ...context.device, traits } });
    model.dispose();
    const tiled = await model.fuse({ first, second });
    expect(tiled.report.tile).toBe(80);
    expect(largestDifference(tiled, whole)).toBeLessThanOrEqual(1);
    expect((await model.plan({ first, second })).peakBytes).toBe(tiled.report.peakBytes);
    model.dispose();
  });

  it("samples in tiles, the same bytes from the same seed, and stops between tiles", { timeout: MINUTES }, async () => {
    const file = "test/fixtures/mask-difuser-small.safetensors";
    const model = await engine.load({ name: file, bytes: Uint8Array.from(readFileSync(file)) });
    const options = { steps: 1, tile: 64 };
    const fused = await model.fuse({ first, second }, options);
    expect(fused.report.tile).toBe(64);
    expect((await model.fuse({ first, second }, options)).data).toEqual(fused.data);
    expect((await model.fuse({ first, second }, { ...options, seed: 2 })).data).not.toEqual(fused.data);
    const stop = new AbortController();
    const onProgress = ({ phase }: Progress): void => {
      if (phase === "run") stop.abort(new Error("enough"));
    };
    await expect(model.fuse({ first, second }, { ...options, signal: stop.signal, onProgress })).rejects.toThrow("enough");
    model.dispose();
  });

  it("refuses tiles that are too small, and tiles of a formula", async () => {
    const model = await engine.load("refusion");
    await expect(model.fuse({ first, second }, { tile: 63 })).rejects.toMatchObject({ code: "TILE_SIZE", where: "--tile" });
    const average = await engine.load("average");
    await expect(average.fuse({ first, second }, { tile: 64 })).rejects.toMatchObject({ code: "NO_TILES", where: "--tile" });
    model.dispose();
    average.dispose();
  });
});
