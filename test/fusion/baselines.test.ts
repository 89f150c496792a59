import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BASELINES } from "../../src/fusion/baselines.ts";
import { Engine } from "../../src/fusion/engine.ts";
import type { FuseOptions } from "../../src/fusion/model.ts";
import type { Picture } from "../../src/fusion/picture.ts";
import { TASKS } from "../../src/fusion/tasks.ts";
import { compile } from "../../src/graph/plan.ts";
import { rewriteAll } from "../../src/graph/rewrites.ts";
import { findGpu } from "../../src/platform/gpu.ts";
import { PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openNullGpu, openTestGpu, runPlan } from "../gpu.ts";
import { rgbToYcrcb, ycrcbToRgb } from "../reference/colour.ts";
import { exposureFusion, toRgb } from "../reference/exposure-fusion.ts";
import { laplacianFusion, zip } from "../reference/pyramid.ts";
import { buildTensor, randomValues, type ReferenceTensor } from "../reference/tensor.ts";

const NAMES = Object.keys(BASELINES);

const SIZES = [[1, 1], [9, 1], [1, 6], [2, 2], [3, 17], [37, 29], [64, 48]] as const;

const SIDES = [[1, 1], [3, 3], [1, 3], [3, 1]] as const;

/** A scene of 8 bits: a ramp, a texture, a flat patch, a patch of full white and, in colour, a grey patch. */
function scene(width: number, height: number, channels: 1 | 3, seed: number): Picture {
  const noise = randomValues(width * height * 3, seed);
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => {
    const [pixel, channel] = [Math.floor(i / channels), i % channels];
    const [x, y] = [(pixel % width) / width, Math.floor(pixel / width) / height];
    if (x > 0.6 && y > 0.7) return 255;
    if (x < 0.2 && y > 0.6) return 40 + 60 * seed;
    if (x > 0.5 && y < 0.25) return 128 + 100 * (noise[pixel] ?? 0);
    return 110 + 60 * Math.sin(seed + 5 * x + channel) + 40 * y + 40 * (noise[pixel * 3 + channel] ?? 0);
  });
  // The patches must not make a small picture grey.
  if (channels === 3) data.set([10, 90, 200], 0);
  return { width, height, channels, data };
}

const tensorOf = ({ width, height, channels, data }: Picture): ReferenceTensor =>
  buildTensor([1, height, width, channels], (_, row, column, channel) => (data[(row * width + column) * channels + channel] ?? 0) / 255);

/** Both with the same number of channels. */
const alike = (first: ReferenceTensor, second: ReferenceTensor): [ReferenceTensor, ReferenceTensor] =>
  first.shape[3] === second.shape[3] ? [first, second] : [toRgb(first), toRgb(second)];

function laplacian(first: ReferenceTensor, second: ReferenceTensor): ReferenceTensor {
  const [, height, width] = first.shape;
  const split = (picture: ReferenceTensor): { luma: ReferenceTensor; chroma: ReferenceTensor[] } => {
    if (picture.shape[3] === 1) return { luma: picture, chroma: [] };
    const converted = rgbToYcrcb(picture, 0);
    return { luma: buildTensor([1, height, width, 1], (_, row, column) => converted.data[(row * width + column) * 3] ?? 0), chroma: [converted] };
  };
  const [a, b] = [split(first), split(second)];
  const luma = laplacianFusion(a.luma, b.luma, Math.min(4, Math.floor(Math.log2(Math.min(width, height)))));
  const [one, two] = [...a.chroma, ...b.chroma];
  if (!one) return luma;
  const chroma = two
    ? zip(one, two, (x, y) => (x * Math.abs(x) + y * Math.abs(y)) / (Math.abs(x) + Math.abs(y) + 1e-4))
    : one;
  return ycrcbToRgb(buildTensor(chroma.shape, (_, row, column, channel) => {
    const pixel = row * width + column;
    return (channel === 0 ? luma.data[pixel] : chroma.data[pixel * 3 + channel]) ?? 0;
  }), 0);
}

const REFERENCES: Readonly<Record<string, (first: ReferenceTensor, second: ReferenceTensor) => ReferenceTensor>> = {
  average: (first, second) => zip(...alike(first, second), (a, b) => (a + b) / 2),
  maximum: (first, second) => zip(...alike(first, second), (a, b) => Math.max(a, b)),
  laplacian,
  mertens: (first, second) => exposureFusion(first, second, Math.max(0, Math.floor(Math.log2(Math.min(first.shape[1], first.shape[2]))) - 1)),
};

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.open({ gpu: await findGpu() });
});
afterAll(() => engine.dispose());

async function fuse(name: string, first: Picture, second: Picture, options: FuseOptions = {}): Promise<Picture> {
  const model = await engine.load(name);
  try {
    return await model.fuse({ first, second }, options);
  } finally {
    model.dispose();
  }
}

/** Largest distance in grey levels of 8 bits from values in 0..1, which are clipped. */
function distance({ data }: Picture, expected: ReferenceTensor): number {
  expect(data.length).toBe(expected.data.length);
  const distances = Array.from(data, (value, i) => Math.abs(value - 255 * Math.min(1, Math.max(0, expected.data[i] ?? NaN))));
  return distances.reduce((a, b) => Math.max(a, b));
}

describe.each(NAMES)("%s", (name) => {
  it.each(SIZES)("agrees with float64 on %i×%i, grey and colour", async (width, height) => {
    for (const [one, two] of SIDES) {
      const [first, second] = [scene(width, height, one, 1), scene(width, height, two, 2)];
      const fused = await fuse(name, first, second);
      expect(fused.channels).toBe(Math.max(one, two));
      const expected = REFERENCES[name]?.(tensorOf(first), tensorOf(second));
      // Half a level is what rounding to 8 bits costs.
      expect(distance(fused, expected ?? tensorOf(first))).toBeLessThan(0.51);
    }
  });

  it("gives back a picture fused with itself", async () => {
    for (const channels of [1, 3] as const) {
      const picture = scene(45, 31, channels, 1);
      const fused = await fuse(name, picture, picture);
      // OpenCV's colour constants undo each other to three digits.
      expect(distance(fused, tensorOf(picture))).toBeLessThanOrEqual(name === "laplacian" && channels === 3 ? 1 : 0.01);
    }
  });

  it("is the same for every task, and in 0..255 with the rounding of published programs", async () => {
    const [first, second] = [scene(21, 18, 3, 1), scene(21, 18, 3, 2)];
    const fused = await fuse(name, first, second);
    for (const task of TASKS) expect((await fuse(name, first, second, { task })).data).toEqual(fused.data);
    const published = await fuse(name, first, second, { reference: true });
    expect(distance(published, tensorOf(fused))).toBeLessThanOrEqual(1);
  });

  it("keeps float pictures inside 0..1 and reports values that are not finite", async () => {
    const float = (picture: Picture): Picture => ({ ...picture, data: Float32Array.from(picture.data, (value) => (value > 127 ? 1 : 0)) });
    const [first, second] = [float(scene(33, 20, 1, 1)), float(scene(33, 20, 1, 2))];
    const { data } = await fuse(name, first, second);
    expect(Math.min(...data)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...data)).toBeLessThanOrEqual(1);
    const infinite = { ...first, data: Float32Array.from(first.data).fill(Infinity) };
    await expect(fuse(name, infinite, infinite)).rejects.toMatchObject({ code: "NOT_FINITE" });
  });

  it("in bands equals the whole, and its plan holds on the null backend", async () => {
    const [width, height] = [64, 401];
    const graph = BASELINES[name]?.graph({ width, height, firstColoured: true, secondColoured: false, elementType: "f32", reference: false });
    if (!graph) throw new Error(`no graph of ${name}`);
    const gpu = await openTestGpu();
    const values = (channels: 1 | 3): Float32Array => Float32Array.from(tensorOf(scene(width, height, channels, channels)).data);
    const inputs = { first: values(3), second: values(1) };
    const whole = compile(rewriteAll(graph), PORTABLE_TRAITS);
    const banded = compile(rewriteAll(graph), { ...PORTABLE_TRAITS, maxStorageBufferBindingSize: width * 16 * 160 });
    expect(banded.dispatches.length).toBeGreaterThan(whole.dispatches.length);
    expect(await runPlan(gpu, banded, inputs)).toEqual(await runPlan(gpu, whole, inputs));
    await runPlan(await openNullGpu(), banded, inputs);
  });
});

it("knows no model by the name of an object's property", async () => {
  await expect(engine.load("constructor")).rejects.toMatchObject({ code: "UNKNOWN_MODEL" });
});
