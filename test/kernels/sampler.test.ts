import { beforeAll, describe, expect, it } from "vitest";
import { SAMPLER_FACTORS, samplerEstimate, samplerNext } from "../../src/kernels/sampler/sampler.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { buildTensor, mapTensor, randomTensor, type ReferenceTensor } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

type Name = (typeof SAMPLER_FACTORS)[number];

const factorTensor = (values: Partial<Record<Name, number>>): ReferenceTensor =>
  buildTensor([1, 1, 1, SAMPLER_FACTORS.length], (_b, _y, _x, channel) => Math.fround(values[SAMPLER_FACTORS[channel] ?? "unused 1"] ?? 0));

const shape = [2, 3, 7, 3] as const;
const [sample, network, estimate, noise, previous] = [1, 2, 3, 4, 5].map((seed) => randomTensor(shape, seed, 1, "f16")) as [
  ReferenceTensor,
  ReferenceTensor,
  ReferenceTensor,
  ReferenceTensor,
  ReferenceTensor,
];
const nothing = mapTensor(noise, () => NaN);
const sum = (...terms: (readonly [number, ReferenceTensor])[]): ReferenceTensor => ({
  shape,
  data: sample.data.map((_, i) => terms.reduce((total, [factor, { data }]) => total + factor * (data[i] ?? NaN), 0)),
});

describe.each(["f32", "f16"] as const)("with the network in %s", (type) => {
  it("estimates x_0 and clips it", async () => {
    const factors = factorTensor({ x0FromSample: 1.5, x0FromOutput: -0.75, clipLow: -1, clipHigh: 0.5 });
    const job = { operator: samplerEstimate, attributes: {}, inputs: [sample, network, factors], elementType: ["f32", type, "f32"] as const };
    await expectOperator(gpu, job, mapTensor(sum([1.5, sample], [-0.75, network]), (value) => Math.min(Math.max(value, -1), 0.5)), { tolerance: 1e-5 });
  });

  it("adds up everything a sampler may need, and looks at nothing else", async () => {
    const elementType = ["f32", type, "f32", "f32", "f32", "f32"] as const;
    const all = factorTensor({ nextFromX0: 0.5, nextFromSample: -1.25, nextFromOutput: 2, nextFromNoise: 0.25, nextFromPreviousX0: -0.5 });
    const expected = sum([0.5, estimate], [-1.25, sample], [2, network], [0.25, noise], [-0.5, previous]);
    await expectOperator(gpu, { operator: samplerNext, attributes: {}, inputs: [sample, network, estimate, noise, previous, all], elementType }, expected, { tolerance: 1e-5 });
    const some = factorTensor({ nextFromX0: 0.5, nextFromOutput: 2 });
    const inputs = [nothing, network, estimate, nothing, nothing, some];
    await expectOperator(gpu, { operator: samplerNext, attributes: {}, inputs, elementType }, sum([0.5, estimate], [2, network]), { tolerance: 1e-5 });
  });
});

it("makes the same bits in bands", async () => {
  const tall = [1, 2, 3, 4, 5].map((seed) => randomTensor([1, 60, 7, 3], seed));
  const factors = factorTensor({ nextFromX0: 0.5, nextFromSample: -1.25, nextFromOutput: 2, nextFromNoise: 0.25, nextFromPreviousX0: -0.5 });
  await expectBandsEqualWhole(gpu, { operator: samplerNext, attributes: {}, inputs: [...tall, factors] }, storedBytes([1, 60, 7, 3]) / 2);
});

it("refuses unequal shapes and a wrong number of factors", () => {
  const picture = { batch: 1, height: 2, width: 3, channels: 3 };
  const factors = { batch: 1, height: 1, width: 1, channels: 12 };
  expect(() => samplerEstimate.outputShape([picture, { ...picture, width: 4 }, factors], {})).toThrow("samplerEstimate: expected equal shapes");
  expect(() => samplerEstimate.outputShape([picture, picture, picture], {})).toThrow("samplerEstimate: expected 12 factors");
  expect(() => samplerNext.outputShape([picture, factors], {})).toThrow("samplerNext: expected 6 inputs");
});
