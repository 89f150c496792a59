import { beforeAll, describe, expect, it } from "vitest";
import { resize } from "../../src/kernels/resize/resize.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { resizeBilinear } from "../reference/resize.ts";
import { randomTensor, type ReferenceShape } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const CASES: [ReferenceShape, readonly [number, number]][] = [
  [[1, 1, 1, 1], [3, 2]],
  [[2, 3, 5, 5], [6, 10]],
  [[1, 7, 9, 3], [5, 31]],
  [[2, 5, 4, 33], [1, 1]],
  [[1, 13, 6, 4], [13, 6]],
];

describe("resize", () => {
  describe.each([false, true])("align corners %j", (alignCorners) => {
    it.each(CASES)("%j to %j", async (shape, [height, width]) => {
      for (const elementType of ["f32", "f16"] as const) {
        const input = randomTensor(shape, 1, 1, elementType);
        const job = { operator: resize, attributes: { height, width, alignCorners }, inputs: [input], elementType };
        await expectOperator(gpu, job, resizeBilinear(input, [height, width], alignCorners));
      }
    });

    it.each([
      [40, 10],
      [11, 60],
    ])("makes the same bits in bands, from %i to %i rows", async (from, height) => {
      const inputs = [randomTensor([2, from, 7, 5], 1)];
      const job = { operator: resize, attributes: { height, width: 9, alignCorners }, inputs };
      await expectBandsEqualWhole(gpu, job, storedBytes([1, Math.max(from, height), 9, 5]) - 1);
    });
  });

  it("refuses a size below one pixel", () => {
    const shape = { batch: 1, height: 2, width: 3, channels: 4 };
    expect(() => resize.outputShape([shape], { height: 0, width: 1, alignCorners: false })).toThrow("resize: cannot resize to 0×1; inputs: 1×2×3×4");
  });
});
