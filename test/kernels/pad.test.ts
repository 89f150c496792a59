import { beforeAll, describe, expect, it } from "vitest";
import { crop, padReflect } from "../../src/kernels/pad/pad.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { padReflect as reference } from "../reference/padding.ts";
import { buildTensor, randomTensor, type ReferenceTensor, valueAt } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const cropped = (input: ReferenceTensor, height: number, width: number): ReferenceTensor =>
  buildTensor([input.shape[0], height, width, input.shape[3]], (...index) => valueAt(input, ...index));

describe.each(["f32", "f16"] as const)("in %s", (elementType) => {
  it.each([
    [2, 5, 7, 3, 9, 8],
    [1, 9, 13, 33, 16, 16],
    [2, 4, 4, 1, 4, 7],
  ])("pads %i×%i×%i×%i to %i×%i, and crops that", async (batch, height, width, channels, paddedHeight, paddedWidth) => {
    const input = randomTensor([batch, height, width, channels], 1, 1, elementType);
    const padded = reference(input, { top: 0, left: 0, bottom: paddedHeight - height, right: paddedWidth - width });
    await expectOperator(gpu, { operator: padReflect, attributes: { height: paddedHeight, width: paddedWidth }, inputs: [input], elementType }, padded, { tolerance: 0 });
    await expectOperator(gpu, { operator: crop, attributes: { height, width }, inputs: [padded], elementType }, cropped(padded, height, width), { tolerance: 0 });
  });
});

it("mirrors a side that is shorter than its margin back and forth", async () => {
  const input = randomTensor([1, 1, 3, 2], 1);
  const expected = buildTensor([1, 2, 9, 2], (_, _row, column, channel) => valueAt(input, 0, 0, [0, 1, 2, 1, 0, 1, 2, 1, 0][column] ?? 0, channel));
  await expectOperator(gpu, { operator: padReflect, attributes: { height: 2, width: 9 }, inputs: [input] }, expected, { tolerance: 0 });
});

it("makes the same bits in bands", async () => {
  const pad = { operator: padReflect, attributes: { height: 60, width: 9 }, inputs: [randomTensor([2, 35, 7, 5], 1)] };
  await expectBandsEqualWhole(gpu, pad, storedBytes([1, 60, 9, 5]) - 1);
  const cut = { operator: crop, attributes: { height: 35, width: 7 }, inputs: [randomTensor([2, 60, 9, 5], 1)] };
  await expectBandsEqualWhole(gpu, cut, storedBytes([1, 60, 9, 5]) - 1);
});

it("refuses the other direction", () => {
  const shape = { batch: 1, height: 4, width: 4, channels: 1 };
  expect(() => padReflect.outputShape([shape], { height: 3, width: 4 })).toThrow("padReflect: cannot pad to 3×4; inputs: 1×4×4×1");
  expect(() => crop.outputShape([shape], { height: 5, width: 4 })).toThrow("crop: cannot crop to 5×4");
});
