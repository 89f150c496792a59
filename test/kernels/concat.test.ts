import { beforeAll, describe, expect, it } from "vitest";
import { concat } from "../../src/kernels/concat/concat.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { concat as reference } from "../reference/concat.ts";
import { randomTensor } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** The inputs of the graph keep memory of their own, so that here the kernel runs; test/graph/plan.test.ts has the case without a copy. */
describe("concat", () => {
  describe.each(["f32", "f16"] as const)("in %s", (type) => {
    it.each([
      [1, 1],
      [3, 5],
      [5, 33],
      [33, 3],
      [4, 5],
      [8, 8],
    ])("%i and %i channels", async (first, second) => {
      const inputs = [randomTensor([2, 3, 7, first], 1, 1, type), randomTensor([2, 3, 7, second], 2, 1, type)];
      await expectOperator(gpu, { operator: concat, attributes: {}, inputs, elementType: type }, reference(inputs), { tolerance: 0 });
    });
  });

  it("makes the same bits in bands", async () => {
    const inputs = [randomTensor([2, 40, 7, 3], 1), randomTensor([2, 40, 7, 6], 2)];
    await expectBandsEqualWhole(gpu, { operator: concat, attributes: {}, inputs }, storedBytes([1, 40, 7, 9]) - 1);
  });

  it("refuses tensors that differ in more than channels", () => {
    const shape = { batch: 1, height: 1, width: 2, channels: 4 };
    expect(() => concat.outputShape([shape, { ...shape, width: 3 }], {})).toThrow("concat: expected two tensors that differ in channels at most; inputs: 1×1×2×4, 1×1×3×4");
  });
});
