import { beforeAll, describe, expect, it } from "vitest";
import { colour, type ColourAttributes } from "../../src/kernels/colour/colour.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { rgbToYcrcb, ycrcbToRgb } from "../reference/colour.ts";
import { concat, split } from "../reference/concat.ts";
import { at, mapTensor, randomTensor, type ReferenceShape, type ReferenceTensor } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const SHAPES: ReferenceShape[] = [
  [1, 1, 1, 3],
  [2, 3, 7, 3],
  [1, 2, 70, 3],
];

/** Values in 0..limit. */
const picture = (shape: ReferenceShape, seed: number, limit: number): ReferenceTensor =>
  mapTensor(randomTensor(shape, seed), (value) => Math.fround(((value + 1) / 2) * limit));

const luma = (rgb: ReferenceTensor): ReferenceTensor => split(rgbToYcrcb(rgb), [1, 2])[0] ?? rgb;

describe("colour", () => {
  it.each(SHAPES)("converts RGB to YCrCb: %i×%i×%i", async (...shape) => {
    const rgb = picture(shape, 1, 255);
    const job = { operator: colour, attributes: { operation: "rgbToYCrCb", delta: 0.5 } satisfies ColourAttributes, inputs: [rgb] };
    await expectOperator(gpu, job, rgbToYcrcb(rgb, 0.5));
  });

  it.each(SHAPES)("converts luma and chroma to RGB within its limits: %i×%i×%i", async (...shape) => {
    const y = picture([shape[0], shape[1], shape[2], 1], 1, 255);
    const chroma = mapTensor(randomTensor(shape, 2, 100), Math.fround);
    const job = { operator: colour, attributes: { operation: "yCrCbToRgb", delta: 0.5, limit: 255 } satisfies ColourAttributes, inputs: [y, chroma] };
    const rgb = ycrcbToRgb(concat([y, split(chroma, [1, 2])[1] ?? chroma]), 0.5);
    await expectOperator(gpu, job, mapTensor(rgb, (value) => Math.min(Math.max(value, 0), 255)));
  });

  it.each(SHAPES)("weights chroma by its distance from neutral: %i×%i×%i", async (...shape) => {
    const [first, second] = [randomTensor(shape, 1), randomTensor(shape, 2)];
    const [neutral, epsilon] = [0.5, 1e-4];
    const merged = first.data.map((a, i) => {
      if (i % 3 === 0) return a;
      const b = at(second.data, i);
      return (a * Math.abs(a - neutral) + b * Math.abs(b - neutral)) / (Math.abs(a - neutral) + Math.abs(b - neutral) + epsilon);
    });
    const job = { operator: colour, attributes: { operation: "mergeChroma", neutral, epsilon } satisfies ColourAttributes, inputs: [first, second] };
    await expectOperator(gpu, job, { shape, data: merged });
  });

  it("keeps neutral chroma where both sides are grey", async () => {
    const grey: ReferenceTensor = { shape: [1, 1, 1, 3], data: Float64Array.of(0.5, 0, 0) };
    const job = { operator: colour, attributes: { operation: "mergeChroma", neutral: 0, epsilon: 1e-4 } satisfies ColourAttributes, inputs: [grey, grey] };
    await expectOperator(gpu, job, grey);
  });

  it.each(["f32", "f16"] as const)("makes luma in 0..1 for a network in %s", async (elementType) => {
    const tolerance = elementType === "f16" ? 2e-3 : 1e-5;
    const attributes: ColourAttributes = { operation: "luma", limit: 255, elementType };
    const rgb = picture([2, 3, 7, 3], 1, 255);
    await expectOperator(gpu, { operator: colour, attributes, inputs: [rgb] }, mapTensor(luma(rgb), (value) => value / 255), { tolerance });
    const grey = picture([2, 3, 7, 1], 2, 255);
    await expectOperator(gpu, { operator: colour, attributes, inputs: [grey] }, mapTensor(grey, (value) => value / 255), { tolerance });
  });

  it("makes the same bits in bands", async () => {
    const shape: ReferenceShape = [2, 40, 7, 3];
    const inputs = [randomTensor(shape, 1), randomTensor(shape, 2)];
    const attributes: ColourAttributes = { operation: "mergeChroma", neutral: 0, epsilon: 1e-4 };
    await expectBandsEqualWhole(gpu, { operator: colour, attributes, inputs }, storedBytes(shape) / 2 - 1);
  });

  it("refuses anything but three channels, or one for luma", () => {
    const shape = { batch: 1, height: 1, width: 2, channels: 3 };
    expect(() => colour.outputShape([{ ...shape, channels: 2 }], { operation: "rgbToYCrCb", delta: 0 })).toThrow("rgbToYCrCb: expected three channels; inputs: 1×1×2×2");
    expect(() => colour.outputShape([{ ...shape, channels: 2 }], { operation: "luma", limit: 1, elementType: "f32" })).toThrow("luma: expected three channels");
    expect(() => colour.outputShape([shape], { operation: "yCrCbToRgb", delta: 0, limit: 1 })).toThrow("yCrCbToRgb: expected 2 inputs");
    expect(() => colour.outputShape([shape, { ...shape, width: 3 }], { operation: "mergeChroma", neutral: 0, epsilon: 1e-4 })).toThrow("expected equal sizes");
  });
});
