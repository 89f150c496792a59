import { beforeAll, describe, expect, it } from "vitest";
import { clip } from "../../src/kernels/clip/clip.ts";
import { combine, type CombineAttributes } from "../../src/kernels/combine/combine.ts";
import { openNullGpu, openTestGpu, runGraph, type TestGpu } from "../gpu.ts";
import { buildTensor, mapTensor, randomTensor, type ReferenceTensor, valueAt } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, operatorGraph, storedBytes } from "./operators.ts";

type Operation = CombineAttributes["operation"];

const RULES: Readonly<Record<Operation, (a: number, b: number, weight: number) => number>> = {
  mean: (a, b) => (a + b) / 2,
  maximum: (a, b) => Math.max(a, b),
  largerMagnitude: (a, b) => (Math.abs(a) >= Math.abs(b) ? a : b),
  weightedMean: (a, b, weight) => weight * a + (1 - weight) * b,
};
const OPERATIONS = Object.keys(RULES) as Operation[];

function reference(operation: Operation, first: ReferenceTensor, second: ReferenceTensor, weights?: ReferenceTensor): ReferenceTensor {
  const [batch, height, width] = first.shape;
  const channels = Math.max(first.shape[3], second.shape[3]);
  return buildTensor([batch, height, width, channels], (n, row, column, channel) => {
    const value = (tensor: ReferenceTensor): number => valueAt(tensor, n, row, column, tensor.shape[3] === 1 ? 0 : channel);
    return RULES[operation](value(first), value(second), weights ? value(weights) : 0);
  });
}

function inputsFor(operation: Operation, size: readonly [number, number, number], channels: readonly [number, number]): ReferenceTensor[] {
  const pair = channels.map((count, i) => randomTensor([...size, count], i + 1, 1, "f16"));
  return operation === "weightedMean" ? [...pair, randomTensor([...size, 1], 3, 1, "f16")] : pair;
}

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

describe.each(OPERATIONS)("%s", (operation) => {
  it.each([
    [1, 1],
    [3, 3],
    [1, 3],
    [3, 1],
    [5, 5],
    [1, 33],
  ] as const)("of %i and %i channels", async (...channels) => {
    for (const elementType of ["f32", "f16"] as const) {
      const inputs = inputsFor(operation, [2, 3, 35], channels);
      const [first, second, weights] = inputs as [ReferenceTensor, ReferenceTensor, ReferenceTensor?];
      await expectOperator(gpu, { operator: combine, attributes: { operation }, inputs, elementType }, reference(operation, first, second, weights));
    }
  });

  it("in bands equals the whole, of one pixel too", async () => {
    const inputs = inputsFor(operation, [1, 40, 20], [1, 3]);
    await expectBandsEqualWhole(gpu, { operator: combine, attributes: { operation }, inputs }, storedBytes([1, 20, 20, 3]));
    const pixel = inputsFor(operation, [1, 1, 1], [3, 1]);
    const [first, second, weights] = pixel as [ReferenceTensor, ReferenceTensor, ReferenceTensor?];
    await expectOperator(gpu, { operator: combine, attributes: { operation }, inputs: pixel }, reference(operation, first, second, weights));
  });

  it("compiles on the null backend", async () => {
    const graph = operatorGraph({ operator: combine, attributes: { operation }, inputs: inputsFor(operation, [1, 2, 2], [3, 1]) });
    await runGraph(await openNullGpu(), graph, {});
  });
});

it("takes the first of equal magnitudes", async () => {
  const first = randomTensor([1, 2, 9, 3], 1);
  const second = mapTensor(first, (value) => -value);
  await expectOperator(gpu, { operator: combine, attributes: { operation: "largerMagnitude" }, inputs: [first, second] }, first, { tolerance: 0 });
});

it("refuses shapes that do not fit", () => {
  const graph = (operation: Operation, ...inputs: ReferenceTensor[]): unknown =>
    operatorGraph({ operator: combine, attributes: { operation }, inputs });
  const [rgb, two] = [randomTensor([1, 4, 4, 3], 1), randomTensor([1, 4, 4, 2], 2)];
  expect(() => graph("mean", rgb, two)).toThrow("mean: expected equal shapes, or one tensor of one channel; inputs: 1×4×4×3, 1×4×4×2");
  expect(() => graph("maximum", rgb, randomTensor([1, 4, 5, 3], 1))).toThrow("maximum: expected equal shapes");
  expect(() => graph("weightedMean", rgb, rgb)).toThrow("weightedMean: expected 3 inputs");
  expect(() => graph("weightedMean", rgb, rgb, rgb)).toThrow("weightedMean: expected weights of 1×4×4×1");
});

describe("clip", () => {
  it.each(["f32", "f16"] as const)("clips to 0..limit in %s, in bands too", async (elementType) => {
    const input = randomTensor([2, 40, 20, 5], 1, 2, elementType);
    const job = { operator: clip, attributes: { limit: 1.5 }, inputs: [input], elementType };
    await expectOperator(gpu, job, mapTensor(input, (value) => Math.min(1.5, Math.max(0, value))), { tolerance: 0 });
    await expectBandsEqualWhole(gpu, job, storedBytes([1, 20, 20, 5], elementType));
  });

  it("compiles on the null backend", async () => {
    await runGraph(await openNullGpu(), operatorGraph({ operator: clip, attributes: { limit: 1 }, inputs: [randomTensor([1, 2, 2, 3], 1)] }), {});
  });
});
