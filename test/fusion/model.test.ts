import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readSafetensors, writeSafetensors } from "../../src/checkpoints/safetensors.ts";
import { elementCount, fromFloat32, toFloat32 } from "../../src/checkpoints/tensor.ts";
import { Engine } from "../../src/node.ts";
import type { FusedPicture, FuseOptions, Model } from "../../src/fusion/model.ts";
import type { Picture } from "../../src/fusion/picture.ts";
import type { Pair } from "../../src/fusion/prepare.ts";
import { shippedWeights } from "../../src/fusion/shipped.ts";
import { findGpu } from "../../src/platform/gpu.ts";
import { openDevice } from "../../src/runtime/device.ts";

// With shipped weights; golden.test.ts takes the published ones.
const WEIGHTS = `weights/${shippedWeights("refusion", "infrared-visible").file}`;

let engine: Engine;
let model: Model;
beforeAll(async () => {
  engine = await Engine.open();
  model = await engine.load("refusion");
});
afterAll(() => {
  model.dispose();
  engine.dispose();
});

/** A hot spot on a ramp, as an infrared camera sees it. */
function thermal(width: number, height: number): Picture {
  const data = Uint8Array.from({ length: width * height }, (_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    const hot = (x - width * 0.6) ** 2 + (y - height * 0.6) ** 2 < (Math.min(width, height) / 6) ** 2;
    return hot ? 245 : 30 + (60 * y) / height + (x % 3);
  });
  return { width, height, channels: 1, data };
}

/** A texture, tinted by `tint` (red, green and blue as factors); grey where they are equal. */
function scene(width: number, height: number, tint: readonly [number, number, number]): Picture {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    return (tint[i % 3] ?? 0) * (120 + 50 * Math.sin(x / 2) * Math.cos(y / 3) + ((x * y) % 7));
  });
  return { width, height, channels: 3, data };
}

const RED = [1.3, 0.7, 0.6] as const;
const GREY = [1, 1, 1] as const;

function firstChannel({ width, height, channels, data }: Picture): Picture {
  return { width, height, channels: 1, data: data.filter((_, i) => i % channels === 0) };
}

function largestDifference(a: Picture["data"], b: Picture["data"]): number {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (const [i, value] of a.entries()) most = Math.max(most, Math.abs(value - (b[i] ?? Number.NaN)));
  return most;
}

/** How far R − Y and B − Y of two colour pictures differ where the fused one was not clipped, and how many pixels that are. */
function hueDifference(fused: Picture, source: Picture): { most: number; pixels: number } {
  let [most, pixels] = [0, 0];
  for (let i = 0; i < fused.data.length; i += 3) {
    const chroma = ({ data }: Picture): [number, number] => {
      const [red = 0, green = 0, blue = 0] = data.slice(i, i + 3);
      const luma = 0.299 * red + 0.587 * green + 0.114 * blue;
      return [red - luma, blue - luma];
    };
    const values = fused.data.slice(i, i + 3);
    if (values.some((value) => value === 0 || value === 255)) continue;
    const [one, two] = [chroma(fused), chroma(source)];
    most = Math.max(most, Math.abs(one[0] - two[0]), Math.abs(one[1] - two[1]));
    pixels += 1;
  }
  return { most, pixels };
}

const summary = ({ width, height, channels }: Picture): object => ({ width, height, channels });

describe("what is fused", () => {
  it("two grey pictures to one channel over the whole range, the same bytes every time", async () => {
    const pair = { first: thermal(33, 21), second: firstChannel(scene(33, 21, GREY)) };
    const fused = await model.fuse(pair);
    expect(summary(fused)).toEqual({ width: 33, height: 21, channels: 1 });
    expect(fused.data).toBeInstanceOf(Uint8Array);
    expect([Math.min(...fused.data), Math.max(...fused.data)]).toEqual([0, 255]);
    expect(fused.raw).toHaveLength(33 * 21);
    expect(fused.report.dispatches).toBeGreaterThan(50);
    expect((await model.fuse(pair)).data).toEqual(fused.data);
    const again = await engine.load("refusion");
    expect((await again.fuse(pair)).data).toEqual(fused.data);
    again.dispose();
    // Both sides count, and which is which.
    const swapped = await model.fuse({ first: pair.second, second: pair.first });
    expect(largestDifference(swapped.data, fused.data)).toBeGreaterThan(10);
  });

  it("three equal channels as grey, and a coloured side with its hue", async () => {
    const grey = await model.fuse({ first: thermal(33, 21), second: firstChannel(scene(33, 21, GREY)) });
    const equal = await model.fuse({ first: thermal(33, 21), second: scene(33, 21, GREY) });
    expect(equal.channels).toBe(1);
    expect(equal.data).toEqual(grey.data);

    const red = scene(33, 21, RED);
    for (const pair of [{ first: thermal(33, 21), second: red }, { first: red, second: thermal(33, 21) }]) {
      const fused = await model.fuse(pair);
      expect(summary(fused)).toEqual({ width: 33, height: 21, channels: 3 });
      const { most, pixels } = hueDifference(fused, red);
      expect(pixels).toBeGreaterThan(200);
      expect(most).toBeLessThanOrEqual(1);
    }
  });

  it("two coloured sides: each pixel has the hue of the side that has colour there", async () => {
    // The first side is red in its left half, the second in its right half.
    const [red, grey] = [scene(33, 21, RED), scene(33, 21, GREY)];
    const beside = (left: Picture, right: Picture): Picture => {
      const data = left.data.map((value, i) => (Math.floor(i / 3) % 33 < 16 ? value : (right.data[i] ?? 0)));
      return { ...left, data };
    };
    const pair = { first: beside(red, grey), second: beside(grey, red) };
    for (const reference of [false, true]) {
      const { most, pixels } = hueDifference(await model.fuse(pair, { reference }), red);
      expect(pixels).toBeGreaterThan(200);
      expect(most).toBeLessThanOrEqual(1);
    }
  });

  it("pictures from one pixel up, at several sizes with one model", async () => {
    const pairOf = (width: number, height: number): Pair => ({ first: thermal(width, height), second: scene(width, height, RED) });
    const before = await model.fuse(pairOf(17, 9));
    for (const [width, height] of [[1, 1], [17, 1], [1, 17], [8, 8]] as const) {
      const fused = await model.fuse(pairOf(width, height));
      expect(summary(fused)).toEqual({ width, height, channels: 3 });
      expect(fused.data).toHaveLength(width * height * 3);
      expect(fused.raw?.every((value) => value >= 0 && value <= 1)).toBe(true);
    }
    expect((await model.fuse(pairOf(17, 9))).data).toEqual(before.data);
  });
});

describe("formats and options", () => {
  const eight = { first: thermal(24, 18), second: scene(24, 18, RED) };
  const sixteenBit = (picture: Picture): Picture => ({ ...picture, data: Uint16Array.from(picture.data, (value) => value * 257) });
  const floats = (picture: Picture): Picture => ({ ...picture, data: Float32Array.from(picture.data, (value) => value / 255) });
  let fused: FusedPicture;
  beforeAll(async () => {
    fused = await model.fuse(eight);
  });

  it("16 bit where either side is, floats where either side is, and the same picture", async () => {
    const sixteen = await model.fuse({ first: eight.first, second: sixteenBit(eight.second) });
    expect(sixteen.data).toBeInstanceOf(Uint16Array);
    const levels = Float32Array.from(sixteen.data, (value) => value / 257);
    expect(largestDifference(levels, Float32Array.from(fused.data))).toBeLessThanOrEqual(0.51);
    expect(sixteen.data.some((value) => value % 257 !== 0)).toBe(true);

    const float = await model.fuse({ first: floats(eight.first), second: sixteenBit(eight.second) });
    expect(float.data).toBeInstanceOf(Float32Array);
    expect(float.data.every((value) => value >= 0 && value <= 1)).toBe(true);
    expect(largestDifference(float.data.map((value) => value * 65535), Float32Array.from(sixteen.data))).toBeLessThanOrEqual(0.51);
  });

  it("reference: 8 bit whatever comes in, and the default's picture within one level", async () => {
    const { first, second } = eight;
    const blue = scene(24, 18, [0.6, 0.9, 1.3]);
    // Both coloured sides too: chroma is weighted by its distance from grey in the published program as well.
    for (const pair of [{ first, second: firstChannel(second) }, { first, second }, { first: blue, second }]) {
      const reference = await model.fuse({ first: sixteenBit(pair.first), second: pair.second }, { reference: true });
      expect(reference.data).toBeInstanceOf(Uint8Array);
      expect(largestDifference(reference.data, (await model.fuse(pair)).data)).toBeLessThanOrEqual(1);
    }
  });

  it("f16 within two levels of f32", async () => {
    const half = await model.fuse(eight, { precision: "f16" });
    expect(half.data).not.toEqual(fused.data);
    expect(largestDifference(half.data, fused.data)).toBeLessThanOrEqual(2);
  });

  it("tells its progress, phase by phase", async () => {
    const phases: string[] = [];
    const fresh = await engine.load("refusion");
    await fresh.fuse(eight, { onProgress: ({ phase, done, total }) => phases.push(`${phase} ${done}/${total}`) });
    fresh.dispose();
    const compiled = phases.filter((phase) => phase.startsWith("compile"));
    expect(compiled.length).toBeGreaterThan(3);
    expect(compiled.at(-1)).toBe(`compile ${compiled.length}/${compiled.length}`);
    expect(phases.slice(compiled.length)).toEqual(["run 0/1", "run 1/1"]);
  });
});

describe("what cannot be fused", () => {
  it("sizes that differ, and data that is not as long as the size says", async () => {
    const message = "The pictures must have the same size: the first is 8×8, the second 8×9.";
    const sizes = { first: thermal(8, 8), second: thermal(8, 9) };
    await expect(model.fuse(sizes)).rejects.toMatchObject({ code: "SIZE_MISMATCH", message });
    await expect(model.plan(sizes)).rejects.toMatchObject({ code: "SIZE_MISMATCH" });
    const short = { ...thermal(8, 8), data: new Uint8Array(63) };
    await expect(model.fuse({ first: thermal(8, 8), second: short })).rejects.toMatchObject({ code: "EMPTY_PICTURE" });
  });

  it("refuses to sample with a model that does not", async () => {
    const pair = { first: thermal(8, 8), second: thermal(8, 8) };
    const wrong = { code: "NOT_A_DIFFUSION_MODEL", message: expect.stringContaining("steps, seed") as string };
    await expect(model.fuse(pair, { steps: 5, seed: 2 })).rejects.toMatchObject(wrong);
    await expect(model.plan(pair, { eta: 0 })).rejects.toMatchObject({ code: "NOT_A_DIFFUSION_MODEL" });
  });

  it("weights with NaN: an error, not a black picture", async () => {
    const shipped = readSafetensors(await readFile(WEIGHTS), WEIGHTS);
    const tensors = new Map(shipped.tensors);
    const [name = "", tensor] = [...tensors].find(([, { shape }]) => shape.length === 4) ?? [];
    if (!tensor) throw new Error(`${WEIGHTS} has no convolution`);
    const values = toFloat32(tensor);
    values[Math.floor(elementCount(tensor.shape) / 2)] = Number.NaN;
    tensors.set(name, fromFloat32(values, tensor.shape, "F32"));
    const damaged = await engine.load({ name: "damaged.safetensors", bytes: writeSafetensors({ ...shipped, tensors }) });
    const pair = { first: thermal(12, 10), second: thermal(12, 10) };
    await expect(damaged.fuse(pair)).rejects.toMatchObject({
      code: "NOT_FINITE",
      where: "damaged.safetensors",
      message: expect.stringMatching(/^\d+ of 120 values of the result are not finite\.$/),
    });
    damaged.dispose();
  });

  it("models that are not shipped", async () => {
    await expect(engine.load("nosuch")).rejects.toMatchObject({ code: "UNKNOWN_MODEL" });
  });

  it("an aborted fusion: before it starts and between compiling and running; the model goes on", async () => {
    const pair = { first: thermal(11, 7), second: thermal(11, 7) };
    const aborted = AbortSignal.abort(new Error("not now"));
    await expect(model.fuse(pair, { signal: aborted })).rejects.toThrow("not now");
    const stop = new AbortController();
    const phases: string[] = [];
    const onProgress: FuseOptions["onProgress"] = ({ phase }) => {
      phases.push(phase);
      stop.abort(new Error("enough"));
    };
    await expect(model.fuse(pair, { signal: stop.signal, onProgress })).rejects.toThrow("enough");
    expect(phases).not.toContain("run");
    expect((await model.fuse(pair)).data).toHaveLength(77);
  });
});

describe("a lost device", () => {
  const pair = { first: thermal(14, 9), second: scene(14, 9, RED) };

  it("is replaced, and the picture is the same: ReFusion between two fusions", async () => {
    const before = await model.fuse(pair);
    const lost = engine.context.device;
    lost.gpu.destroy();
    expect((await model.fuse(pair)).data).toEqual(before.data);
    expect(engine.context.device).not.toBe(lost);
  });

  it("is replaced, and the picture is the same: before the first fusion, and while its kernels compile", async () => {
    const expected = await (await engine.load("laplacian")).fuse(pair);
    for (const when of ["before", "compiling"]) {
      const other = await Engine.open();
      const baseline = await other.load("laplacian");
      const first = other.context.device.gpu;
      const onProgress: FuseOptions["onProgress"] = ({ phase, done }) => {
        if (phase === "compile" && done === 1) first.destroy();
      };
      if (when === "before") first.destroy();
      const fused = await baseline.fuse(pair, when === "before" ? {} : { onProgress });
      expect(fused.data, when).toEqual(expected.data);
      other.dispose();
    }
  });

  it("of the caller is not replaced: an error", async () => {
    const { gpu } = await openDevice(await findGpu());
    const own = await Engine.open({ device: gpu });
    const baseline = await own.load("average");
    expect((await baseline.fuse(pair)).channels).toBe(3);
    gpu.destroy();
    await expect(baseline.fuse(pair)).rejects.toMatchObject({ code: "DEVICE_LOST", fix: expect.any(String) });
    await expect((await own.load("maximum")).fuse(pair)).rejects.toMatchObject({ code: "DEVICE_LOST" });
  });

  it("of the caller stays open when the engine is disposed of", async () => {
    const { gpu } = await openDevice(await findGpu());
    const own = await Engine.open({ device: gpu });
    own.dispose();
    const after = await Engine.open({ device: gpu });
    expect((await (await after.load("average")).fuse(pair)).channels).toBe(3);
    gpu.destroy();
  });
});

describe("memory", () => {
  const blank = (width: number, height: number, channels: 1 | 3): Picture => {
    const data = new Uint8Array(width * height * channels);
    data[0] = 1;
    return { width, height, channels, data };
  };

  it.each([
    [640, 480, "f32", 400e6],
    [640, 480, "f16", 220e6],
    [1280, 1024, "f32", 1700e6],
  ] as const)("%i×%i in %s: a plan within %i bytes, no binding over 128 MiB", async (width, height, precision, limit) => {
    const plan = await model.plan({ first: blank(width, height, 1), second: blank(width, height, 3) }, { precision });
    expect(plan.peakBytes).toBeLessThan(limit);
    expect(plan.buffers.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(plan.peakBytes);
    const sizes = plan.dispatches.flatMap(({ places }) => Object.values(places).map((place) => ("size" in place ? place.size : 0)));
    expect(Math.max(...sizes)).toBeGreaterThan(0);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(128 * 1024 * 1024);
  });
});
