import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { pool2d, type Pool2dAttributes } from "../../src/kernels/pool2d/pool2d.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { averagePool, maxPool } from "../reference/pooling.ts";
import { randomTensor, type ReferenceShape } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

type Window = Omit<Pool2dAttributes, "operation">;

const OPERATIONS = ["mean", "maximum"] as const;

async function check(shape: ReferenceShape, operation: Pool2dAttributes["operation"], window: Window, elementType: ElementType): Promise<void> {
  const input = randomTensor(shape, 1, 1, elementType);
  const { kernelSize, stride, padding } = window;
  const expected = (operation === "mean" ? averagePool : maxPool)(input, kernelSize, { stride, padding });
  const options = operation === "maximum" ? { tolerance: 0 } : {};
  await expectOperator(gpu, { operator: pool2d, attributes: { operation, ...window }, inputs: [input], elementType }, expected, options);
}

describe.each(OPERATIONS)("pool2d, %s", (operation) => {
  it.each<[ReferenceShape, Window]>([
    [[1, 1, 1, 1], { kernelSize: 1, stride: 1, padding: 0 }],
    [[2, 7, 9, 5], { kernelSize: 3, stride: 2, padding: 1 }],
    [[1, 8, 1, 33], { kernelSize: 2, stride: 1, padding: 1 }],
    [[2, 11, 6, 3], { kernelSize: 2, stride: 2, padding: 0 }],
    [[1, 9, 20, 3], { kernelSize: 5, stride: 3, padding: 2 }],
  ])("of %j by %j", async (shape, window) => {
    for (const elementType of ["f32", "f16"] as const) await check(shape, operation, window, elementType);
  });

  it("for arbitrary shapes and windows", async () => {
    const arbitrary = fc.record({
      shape: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 9 })),
      window: fc.record({ kernelSize: fc.integer({ min: 1, max: 5 }), stride: fc.integer({ min: 1, max: 4 }), padding: fc.integer({ min: 0, max: 2 }) }),
    });
    const fits = ({ shape: [, height, width], window: { kernelSize, padding } }: { shape: ReferenceShape; window: Window }): boolean =>
      2 * padding <= kernelSize && Math.min(height, width) + 2 * padding >= kernelSize;
    await fc.assert(
      fc.asyncProperty(arbitrary.filter(fits), ({ shape, window }) => check(shape, operation, window, "f32")),
      { numRuns: 30, seed: 7, endOnFailure: true },
    );
  });

  it.each([
    { kernelSize: 3, stride: 2, padding: 1 },
    { kernelSize: 5, stride: 1, padding: 2 },
    { kernelSize: 2, stride: 3, padding: 0 },
  ])("makes the same bits in bands: %j", async (window) => {
    const shape = [2, 40, 7, 5] as const;
    const job = { operator: pool2d, attributes: { operation, ...window }, inputs: [randomTensor(shape, 1)] };
    await expectBandsEqualWhole(gpu, job, storedBytes(shape) / 2 - 1);
  });
});

describe("pool2d", () => {
  const shape = { batch: 1, height: 2, width: 5, channels: 3 };

  it("says what does not fit", () => {
    const attributes: Pool2dAttributes = { operation: "mean", kernelSize: 3, stride: 1, padding: 0 };
    expect(() => pool2d.outputShape([shape, shape], attributes)).toThrow("pool2d: expected one input; inputs: 1×2×5×3, 1×2×5×3");
    expect(() => pool2d.outputShape([shape], attributes)).toThrow("the 3×3 window does not fit");
    expect(() => pool2d.outputShape([shape], { ...attributes, padding: 2 })).toThrow("padding 2 is more than half of the kernel size 3");
  });
});
