import { beforeAll, describe, expect, it } from "vitest";
import { normalNoise as reference, type NoiseRegion, normalQuantileTable } from "../../src/diffusion/normal-noise.ts";
import { philoxKey } from "../../src/diffusion/philox.ts";
import { GraphBuilder } from "../../src/graph/graph.ts";
import { noiseSettings, normalNoise } from "../../src/kernels/normal-noise/normal-noise.ts";
import { openTestGpu, runGraph, type TestGpu } from "../gpu.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const quantiles = normalQuantileTable();

async function noise({ seed, step, ...region }: NoiseRegion, maxBinding = gpu.device.traits.maxStorageBufferBindingSize): Promise<Float32Array> {
  const builder = new GraphBuilder();
  const settings = builder.input("settings", { batch: 1, height: 1, width: 1, channels: 8 });
  builder.output(builder.add("noise", normalNoise, [settings], { ...region, quantiles }));
  const traits = { ...gpu.device.traits, maxStorageBufferBindingSize: maxBinding };
  const outputs = await runGraph(gpu, builder.build(), { settings: noiseSettings(philoxKey(seed), step) }, traits);
  return outputs["noise"] ?? new Float32Array();
}

/** What the CPU makes, without the padding of the channels. */
function expected(region: NoiseRegion): Float32Array {
  const stride = Math.ceil(region.channels / 4) * 4;
  return reference(region).filter((_, i) => i % stride < region.channels);
}

describe("normalNoise", () => {
  it.each<[NoiseRegion]>([
    [{ seed: 1, step: 0, originX: 0, originY: 0, width: 37, height: 23, channels: 3 }],
    [{ seed: 3407, step: 70_000, originX: 639, originY: 479, width: 5, height: 3, channels: 6 }],
    [{ seed: Number.MAX_SAFE_INTEGER, step: 2, originX: 100_000, originY: 7, width: 70, height: 2, channels: 1 }],
  ])("makes the bits of the CPU, %j", async (region) => {
    expect(await noise(region)).toEqual(expected(region));
  });

  it("makes the same bits in bands", async () => {
    const region = { seed: 5, step: 1, originX: 0, originY: 3, width: 33, height: 50, channels: 3 };
    expect(await noise(region, 16384)).toEqual(expected(region));
  });

  it("wants its settings", () => {
    const attributes = { width: 1, height: 1, channels: 3, originX: 0, originY: 0, quantiles };
    expect(() => normalNoise.outputShape([], attributes)).toThrow("normalNoise: expected the settings");
  });
});
