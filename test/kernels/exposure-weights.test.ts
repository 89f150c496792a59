import { beforeAll, describe, expect, it } from "vitest";
import { exposureWeights } from "../../src/kernels/exposure-weights/exposure-weights.ts";
import { openNullGpu, openTestGpu, runGraph, type TestGpu } from "../gpu.ts";
import { exposureWeights as reference } from "../reference/exposure-fusion.ts";
import { buildTensor, mapTensor, randomTensor, type ReferenceShape, type ReferenceTensor } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, operatorGraph, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** Random values in 0..limit. */
const picture = (shape: ReferenceShape, seed: number, limit = 1): ReferenceTensor =>
  mapTensor(randomTensor(shape, seed), (value) => Math.fround(((value + 1) / 2) * limit));

describe("exposure weights", () => {
  it.each([
    [1, 1],
    [3, 3],
    [1, 3],
    [3, 1],
  ] as const)("of %i and %i channels", async (...channels) => {
    for (const size of [[1, 1, 1], [1, 1, 7], [1, 5, 1], [1, 2, 2], [2, 9, 67]] as const) {
      const inputs = channels.map((count, i) => picture([...size, count], i + 1)) as [ReferenceTensor, ReferenceTensor];
      await expectOperator(gpu, { operator: exposureWeights, attributes: { limit: 1 }, inputs }, reference(...inputs), { tolerance: 1e-4 });
    }
  });

  it("do not depend on the range", async () => {
    const inputs = [picture([1, 8, 8, 3], 1, 255), picture([1, 8, 8, 3], 2, 255)];
    const [first, second] = inputs.map((input) => mapTensor(input, (value) => value / 255)) as [ReferenceTensor, ReferenceTensor];
    await expectOperator(gpu, { operator: exposureWeights, attributes: { limit: 255 }, inputs }, reference(first, second), { tolerance: 1e-4 });
  });

  // In f32 a ramp of 8-bit numbers has a Laplacian near 1e-8 instead of 0, and equal channels a deviation.
  it("are equal where neither picture has contrast or colour", async () => {
    const ramp = (channels: number, step: number): ReferenceTensor =>
      buildTensor([1, 6, 40, channels], (_, row, column) => Math.fround(Math.fround(1 / 255) * (step * column + row)));
    for (const [channels, columns] of [[1, 38], [3, 38]] as const) {
      const inputs = [ramp(channels, 3), ramp(channels, 5)];
      const { out = [] } = await runGraph(
        gpu,
        operatorGraph({ operator: exposureWeights, attributes: { limit: 1 }, inputs }),
        Object.fromEntries(inputs.map((input, i) => [`input${i}`, Float32Array.from(input.data)])),
      );
      for (let row = 1; row < 5; row++) for (let column = 1; column <= columns; column++) expect(out[row * 40 + column]).toBe(0.5);
    }
    const texture = picture([1, 6, 40, 1], 1);
    const grey = buildTensor([1, 6, 40, 3], (_, row, column) => texture.data[row * 40 + column] ?? 0);
    const half = mapTensor(texture, () => 0.5);
    await expectOperator(gpu, { operator: exposureWeights, attributes: { limit: 1 }, inputs: [grey, grey] }, half, { tolerance: 0 });
  });

  it.each([1, 3])("in bands equal the whole, %i channels", async (channels) => {
    const inputs = [picture([1, 40, 20, channels], 1), picture([1, 40, 20, 3], 2)];
    await expectBandsEqualWhole(gpu, { operator: exposureWeights, attributes: { limit: 1 }, inputs }, storedBytes([1, 20, 20, 3]));
  });

  it("compile on the null backend", async () => {
    const inputs = [picture([1, 3, 3, 1], 1), picture([1, 3, 3, 3], 2)];
    await runGraph(await openNullGpu(), operatorGraph({ operator: exposureWeights, attributes: { limit: 1 }, inputs }), {});
  });

  it("refuse other channels and sizes", () => {
    const graph = (...inputs: ReferenceTensor[]): unknown => operatorGraph({ operator: exposureWeights, attributes: { limit: 1 }, inputs });
    expect(() => graph(picture([1, 3, 3, 2], 1), picture([1, 3, 3, 2], 1))).toThrow("exposureWeights: expected one or three channels");
    expect(() => graph(picture([1, 3, 3, 1], 1), picture([1, 3, 4, 1], 1))).toThrow("exposureWeights: expected equal sizes");
  });
});
