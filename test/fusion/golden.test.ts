import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readSafetensors } from "../../src/checkpoints/safetensors.ts";
import { toFloat32 } from "../../src/checkpoints/tensor.ts";
import { Engine, readImage } from "../../src/node.ts";

// Pictures and network outputs of the authors' program with the published weights; they are not part of this repository.
const GOLDEN = "../shared/golden/refusion";
const missing = !existsSync(GOLDEN);
if (missing) console.warn(`The pictures of the published program are skipped: there is no folder ${GOLDEN}.`);

let engine: Engine;
beforeAll(async () => {
  if (!missing) engine = await Engine.open();
});
afterAll(() => {
  if (!missing) engine.dispose();
});

/** Every `step`-th value of every `step`-th row. */
function everyNth(values: Float32Array, width: number, step: number): Float32Array {
  return values.filter((_, i) => (i % width) % step === 0 && Math.floor(i / width) % step === 0);
}

describe.skipIf(missing)("--reference is the published program", () => {
  it.each([
    ["IVIF", "infrared-visible"],
    ["MIF", "medical"],
    ["MFIF", "multi-focus"],
    ["MEIF", "multi-exposure"],
  ] as const)("%s, whole picture and network output", { timeout: 400_000 }, async (name, task) => {
    const file = (ending: string): string => join(GOLDEN, `${name}_${ending}`);
    const weights = join(GOLDEN, "weights", `ReFusion_${name}.pth`);
    const model = await engine.load({ name: weights, bytes: await readFile(weights) });
    const [first, second] = [await readImage(file("input1.png")), await readImage(file("input2.png"))];
    const expected = await readImage(file("fused_rgb.png"));
    const fused = await model.fuse({ first, second }, { task, reference: true });
    model.dispose();

    expect([fused.width, fused.height, fused.channels]).toEqual([expected.width, expected.height, expected.channels]);
    let [different, most] = [0, 0];
    for (const [i, value] of fused.data.entries()) {
      const distance = Math.abs(value - (expected.data[i] ?? Number.NaN));
      if (distance !== 0) different += 1;
      most = Math.max(most, distance);
    }
    expect(most).toBeLessThanOrEqual(1);
    expect(different).toBeLessThanOrEqual(fused.data.length / 1000);

    const { raw = new Float32Array() } = fused;
    const golden = readSafetensors(await readFile(file("full.safetensors")), file("full.safetensors"));
    const tensor = (key: string): Float32Array | undefined => {
      const stored = golden.tensors.get(key);
      return stored && toFloat32(stored);
    };
    const low = raw.reduce((a, b) => Math.min(a, b), 2);
    const high = raw.reduce((a, b) => Math.max(a, b), -1);
    expect(Math.abs(low - (tensor("raw_min")?.[0] ?? Number.NaN))).toBeLessThan(1e-4);
    expect(Math.abs(high - (tensor("raw_max")?.[0] ?? Number.NaN))).toBeLessThan(1e-4);
    const [step, values] = ([[1, "raw"], [2, "raw_every_2nd"], [4, "raw_every_4th"]] as const)
      .map(([nth, key]) => [nth, tensor(key)] as const)
      .find(([, found]) => found) ?? [1, undefined];
    const own = everyNth(raw, fused.width, step);
    expect(own.length).toBe(values?.length);
    expect(own.reduce((max, value, i) => Math.max(max, Math.abs(value - (values?.[i] ?? Number.NaN))), 0)).toBeLessThan(1e-4);
  });
});
