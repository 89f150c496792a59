import { assert, asyncProperty, constantFrom, integer, tuple } from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { blend } from "../../src/kernels/blend/blend.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { blend as reference } from "../reference/blend.ts";
import { randomTensor, type ReferenceTensor } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, runOperator, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const operands = (batch: number, height: number, width: number, elementType: "f32" | "f16" = "f32", scale = 3): [ReferenceTensor, ReferenceTensor, ReferenceTensor] => [
  randomTensor([batch, height, width, 5], 1, scale, elementType),
  randomTensor([batch, height, width, 3], 2, 1, elementType),
  randomTensor([batch, height, width, 3], 3, 1, elementType),
];

describe("blend", () => {
  it("of pictures of any size, in f32 and f16", async () => {
    const sizes = tuple(integer({ min: 1, max: 2 }), integer({ min: 1, max: 9 }), integer({ min: 1, max: 150 }));
    await assert(
      asyncProperty(sizes, constantFrom("f32" as const, "f16" as const), async (size, elementType) => {
        const inputs = operands(...size, elementType);
        await expectOperator(gpu, { operator: blend, attributes: {}, inputs, elementType }, reference(...inputs));
      }),
      { numRuns: 10, examples: [[[2, 5, 1], "f32"], [[1, 1, 1], "f16"]] },
    );
  });

  it("takes one picture alone where scores are large", async () => {
    const [network, first, second] = operands(1, 1, 3, "f32", 0);
    network.data.fill(1000, 3, 5).fill(-1000, 8, 10);
    const fused = await runOperator(gpu, { operator: blend, attributes: {}, inputs: [network, first, second] });
    fused.forEach((value, i) => {
      const [a = 0, b = 0] = [first.data[i], second.data[i]];
      expect(value).toBeCloseTo([a, b, (a + b) / 2][Math.floor(i / 3)] ?? 0, 6);
    });
  });

  it("makes the same bits in bands", async () => {
    await expectBandsEqualWhole(gpu, { operator: blend, attributes: {}, inputs: operands(2, 40, 7) }, storedBytes([2, 40, 7, 5]) / 2 - 1);
  });

  it("refuses shapes that do not fit", () => {
    const shape = { batch: 1, height: 2, width: 3, channels: 3 };
    expect(() => blend.outputShape([shape, shape, shape], {})).toThrow("blend: expected five channels, and two pictures of three of the same size; inputs: 1×2×3×3, 1×2×3×3, 1×2×3×3");
  });
});
