import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { resize, type ResizeAttributes } from "../../src/kernels/resize/resize.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { resizeBicubic, resizeBilinear, resizeNearest } from "../reference/resize.ts";
import { randomTensor, type ReferenceShape, type ReferenceTensor } from "../reference/tensor.ts";
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

type Mode = { readonly mode: "nearest" } | { readonly mode?: "bilinear" | "bicubic"; readonly alignCorners: boolean };

const MODES: Mode[] = [
  { mode: "nearest" },
  { alignCorners: false },
  { mode: "bilinear", alignCorners: true },
  { mode: "bicubic", alignCorners: false },
  { mode: "bicubic", alignCorners: true },
];

function reference(input: ReferenceTensor, size: readonly [number, number], attributes: Mode): ReferenceTensor {
  if (attributes.mode === "nearest") return resizeNearest(input, size);
  return (attributes.mode === "bicubic" ? resizeBicubic : resizeBilinear)(input, size, attributes.alignCorners);
}

async function check(shape: ReferenceShape, [height, width]: readonly [number, number], mode: Mode, elementType: ElementType): Promise<void> {
  const input = randomTensor(shape, 1, 1, elementType);
  const attributes: ResizeAttributes = { height, width, ...mode };
  const options = mode.mode === "nearest" ? { tolerance: 0 } : {};
  await expectOperator(gpu, { operator: resize, attributes, inputs: [input], elementType }, reference(input, [height, width], mode), options);
}

describe("resize", () => {
  describe.each(MODES)("%j", (mode) => {
    it.each(CASES)("%j to %j", async (shape, size) => {
      for (const elementType of ["f32", "f16"] as const) await check(shape, size, mode, elementType);
    });

    it("for arbitrary sizes", async () => {
      const size = fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }));
      await fc.assert(
        fc.asyncProperty(size, size, fc.integer({ min: 1, max: 9 }), (from, to, channels) => check([1, ...from, channels], to, mode, "f32")),
        { numRuns: 20, seed: 7, endOnFailure: true },
      );
    });

    it("to a size far from the input's, where positions need many digits", async () => {
      await check([1, 3, 1999, 1], [2, 2003], mode, "f32");
    });

    it.each([
      [40, 10],
      [11, 60],
      [37, 38],
    ])("makes the same bits in bands, from %i to %i rows", async (from, height) => {
      const inputs = [randomTensor([2, from, 7, 5], 1)];
      const job = { operator: resize, attributes: { height, width: 9, ...mode }, inputs };
      await expectBandsEqualWhole(gpu, job, storedBytes([1, Math.max(from, height), 9, 5]) - 1);
    });
  });

  it("refuses a size below one pixel", () => {
    const shape = { batch: 1, height: 2, width: 3, channels: 4 };
    expect(() => resize.outputShape([shape], { height: 0, width: 1, alignCorners: false })).toThrow("resize: cannot resize to 0×1; inputs: 1×2×3×4");
  });
});
