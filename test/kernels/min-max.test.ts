import { beforeAll, describe, expect, it } from "vitest";
import { minMax, stretch } from "../../src/kernels/min-max/min-max.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { minimumMaximum } from "../reference/minimum-maximum.ts";
import { at, buildTensor, mapTensor, randomTensor, type ReferenceShape, type ReferenceTensor } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, runOperator, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** Smallest, largest, number of values that are not finite of each image. */
function rangeOf(input: ReferenceTensor): ReferenceTensor {
  const { minimum, maximum } = minimumMaximum(input);
  return buildTensor([input.shape[0], 1, 1, 3], (batch, _r, _c, channel) => [at(minimum, batch), at(maximum, batch), 0][channel] ?? NaN);
}

/** All values below or above zero: a zero of the padding must not count. */
const CASES: [ReferenceShape, number][] = [
  [[2, 3, 7, 3], 2],
  [[2, 5, 1, 5], -2],
  [[1, 1, 1, 1], 2],
  [[1, 2, 70, 33], 0],
  [[2, 130, 129, 1], -2],
];

describe("minMax", () => {
  describe.each(["f32", "f16"] as const)("in %s", (type) => {
    it.each(type === "f16" ? CASES.slice(0, 2) : CASES)("%j around %d", async (shape, offset) => {
      const input = mapTensor(randomTensor(shape, 1), (value) => Math.round(value * 64) / 64 + offset);
      await expectOperator(gpu, { operator: minMax, attributes: {}, inputs: [input], elementType: type }, rangeOf(input), { tolerance: 0 });
    });

    it("counts NaN and infinity and leaves them out of the range", async () => {
      const data = Float64Array.of(0.5, NaN, -0.25, Infinity, 0.75, -Infinity, 0.25, 0.125, NaN, NaN);
      const input: ReferenceTensor = { shape: [2, 1, 5, 1], data };
      const range = await runOperator(gpu, { operator: minMax, attributes: {}, inputs: [input], elementType: type });
      expect([...range]).toEqual([-0.25, 0.75, 2, 0.125, 0.25, 3]);
    });
  });

  it("makes the same bits in bands", async () => {
    const shape: ReferenceShape = [2, 601, 64, 1];
    const job = { operator: minMax, attributes: {}, inputs: [randomTensor(shape, 1)] };
    await expectBandsEqualWhole(gpu, job, storedBytes([1, 600, 64, 1]));
  });
});

describe("stretch", () => {
  describe.each(["f32", "f16"] as const)("in %s", (type) => {
    it.each<[ReferenceShape, number]>([
      [[1, 1, 7, 1], 1],
      [[2, 5, 3, 3], 255],
      [[1, 3, 1, 5], 255],
    ])("%j to 0…%d", async (shape, scale) => {
      const input = randomTensor(shape, 1, 1, type);
      const { minimum, maximum } = minimumMaximum(input);
      const expected = buildTensor(shape, (batch, row, column, channel) => {
        const value = at(input.data, ((batch * shape[1] + row) * shape[2] + column) * shape[3] + channel);
        return ((value - at(minimum, batch)) / (at(maximum, batch) - at(minimum, batch))) * scale;
      });
      // The result is stored in f32 in either case.
      const job = { operator: stretch, attributes: { scale }, inputs: [input, rangeOf(input)], elementType: [type, "f32"] as const };
      await expectOperator(gpu, job, expected, { tolerance: 1e-6 });
    });
  });

  it("makes 0 of an image that is constant", async () => {
    const input = buildTensor([1, 2, 3, 1], () => 0.5);
    expect([...(await runOperator(gpu, { operator: stretch, attributes: { scale: 255 }, inputs: [input, rangeOf(input)] }))]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it("makes the same bits in bands", async () => {
    const shape: ReferenceShape = [2, 40, 7, 5];
    const input = randomTensor(shape, 1);
    await expectBandsEqualWhole(gpu, { operator: stretch, attributes: { scale: 1 }, inputs: [input, rangeOf(input)] }, storedBytes(shape) / 2 - 1);
  });

  it("refuses a range of another batch", () => {
    const shape = { batch: 2, height: 1, width: 2, channels: 1 };
    const range = { batch: 1, height: 1, width: 1, channels: 3 };
    expect(() => stretch.outputShape([shape, range], { scale: 1 })).toThrow("stretch: expected a tensor and the result of minMax; inputs: 2×1×2×1, 1×1×1×3");
  });
});
