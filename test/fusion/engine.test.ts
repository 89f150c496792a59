import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { Engine } from "../../src/fusion/engine.ts";
import { SHIPPED_WEIGHTS, shippedWeights } from "../../src/fusion/shipped.ts";
import { TASKS } from "../../src/fusion/tasks.ts";
import { findGpu } from "../../src/platform/gpu.ts";

const picture = { width: 4, height: 4, channels: 1, data: new Uint8Array(16) } as const;
const pair = { first: picture, second: picture };

/** An engine that plans and never computes. */
async function openNull(readWeights: (file: string) => Promise<Uint8Array>): Promise<Engine> {
  return Engine.open({ gpu: await findGpu({ backend: "null" }), readWeights });
}

describe("Engine", () => {
  it("says when there is no WebGPU", async () => {
    // Node has none of its own.
    await expect(Engine.open()).rejects.toMatchObject({ code: "NO_WEBGPU", fix: expect.stringContaining("sinter/node") });
  });

  it("says when WebGPU is there and no GPU answers", async () => {
    const gpu = { requestAdapter: () => Promise.resolve(null) } as unknown as GPU;
    await expect(Engine.open({ gpu })).rejects.toMatchObject({ code: "NO_ADAPTER", fix: expect.stringContaining("driver") });
  });

  it("reads shipped weights when they are first needed, once, and again where that failed", async () => {
    const asked: string[] = [];
    const engine = await openNull(async (file) => {
      asked.push(file);
      if (asked.length === 1) throw new Error("the connection broke");
      return new Uint8Array(await readFile(`weights/${file}`));
    });
    const model = await engine.load("refusion");
    expect(asked).toEqual([]);
    await expect(model.plan(pair)).rejects.toThrow("the connection broke");
    const plan = await model.plan(pair);
    expect(plan.outputs.map(({ tensor }) => tensor.name)).toEqual(["stretched", "output", "range"]);
    await model.plan(pair);
    const { file } = shippedWeights("refusion", "infrared-visible");
    expect(asked).toEqual([file, file]);
    engine.dispose();
  });

  it("refuses f16 on a device without it, in words", async () => {
    const adapter = await (await findGpu({ backend: "null" })).requestAdapter();
    const device = await adapter?.requestDevice();
    if (!device) throw new Error("the null backend gave no device");
    const engine = await Engine.open({ device });
    await expect((await engine.load("average")).plan(pair, { precision: "f16" })).rejects.toMatchObject({ code: "NO_F16" });
    device.destroy();
  });
});

describe("what is shipped", () => {
  it("is what the registry says", async () => {
    for (const { file, bytes, sha256, task } of SHIPPED_WEIGHTS) {
      const content = new Uint8Array(await readFile(`weights/${file}`));
      expect(content.length, file).toBe(bytes);
      expect(Buffer.from(await crypto.subtle.digest("SHA-256", content)).toString("hex"), file).toBe(sha256);
      expect([...TASKS, "any"]).toContain(task);
    }
  });

  it("names the tasks of a model that has no weights for the one asked", () => {
    const message = "Sinter ships no weights of refusion for near-infrared, only for infrared-visible, medical, multi-exposure, multi-focus.";
    expect(() => shippedWeights("refusion", "near-infrared")).toThrow(expect.objectContaining({ code: "WEIGHTS_NOT_SHIPPED", message }));
    expect(shippedWeights("refusion-medical", "medical").file).toBe("refusion-medical.safetensors");
    expect(() => shippedWeights("refusion-medical", "multi-focus")).toThrow("Sinter ships no weights of refusion-medical for multi-focus, only for medical.");
  });

  it("names what there is where a model is not known", () => {
    const message = 'Sinter ships no weights of a model "nosuch".';
    const fix = expect.stringContaining("refusion");
    expect(() => shippedWeights("nosuch", "medical")).toThrow(expect.objectContaining({ code: "UNKNOWN_MODEL", message, fix }));
  });
});
