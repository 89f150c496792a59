import { beforeAll, describe, expect, it } from "vitest";
import { globalPool } from "../../src/kernels/global-pool/global-pool.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { globalAveragePool, globalMaxPool } from "../reference/pooling.ts";
import { mapTensor, randomTensor } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

describe.each([
  ["mean", globalAveragePool],
  ["maximum", globalMaxPool],
] as const)("globalPool, %s", (operation, reference) => {
  it.each([
    [1, 1, 1, 1],
    [2, 3, 7, 5],
    [1, 5, 1, 33],
    [2, 5, 4, 96],
  ] as const)("of %i×%i×%i×%i", async (...shape) => {
    for (const elementType of ["f32", "f16"] as const) {
      // All below zero, so that a maximum of zero would be found out.
      const input = mapTensor(randomTensor(shape, 1, 1, elementType), (value) => value - 2);
      const rounded = { ...input, data: Float64Array.from(input.data, (value) => Math.round(value * 1024) / 1024) };
      await expectOperator(gpu, { operator: globalPool, attributes: { operation }, inputs: [rounded], elementType }, reference(rounded));
    }
  });

  it("makes the same bits in bands of several chunks", async () => {
    const shape = [2, 300, 101, 3] as const;
    await expectBandsEqualWhole(gpu, { operator: globalPool, attributes: { operation }, inputs: [randomTensor(shape, 1)] }, storedBytes(shape) / 4);
  });
});

it("wants one input", () => {
  expect(() => globalPool.outputShape([], { operation: "mean" })).toThrow("globalPool: expected one input");
});
