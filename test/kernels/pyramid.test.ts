import { beforeAll, describe, expect, it } from "vitest";
import { pyramidExpand, pyramidReduce } from "../../src/kernels/pyramid/pyramid.ts";
import { openNullGpu, openTestGpu, runGraph, type TestGpu } from "../gpu.ts";
import { laplacianPyramid, pyramidExpand as expand, pyramidReduce as reduce, restorePyramid, zip } from "../reference/pyramid.ts";
import { randomTensor, type ReferenceShape, relativeError } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, operatorGraph, storedBytes } from "./operators.ts";

const SHAPES: readonly ReferenceShape[] = [
  [1, 1, 1, 1],
  [1, 1, 2, 3],
  [1, 2, 1, 3],
  [1, 2, 2, 1],
  [1, 1, 9, 3],
  [1, 3, 5, 1],
  [2, 7, 6, 3],
  [1, 13, 70, 5],
  [1, 16, 33, 33],
];

function coarseShape([batch, height, width, channels]: ReferenceShape): ReferenceShape {
  return [batch, Math.ceil(height / 2), Math.ceil(width / 2), channels];
}

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

describe("the reference", () => {
  it("keeps a constant and restores a picture of any size", () => {
    for (const shape of SHAPES) {
      const constant = { shape, data: randomTensor(shape, 1).data.fill(0.75) };
      expect(relativeError(expand(reduce(constant), shape[1], shape[2]).data, constant.data)).toBeLessThan(1e-15);
      const picture = randomTensor(shape, 2);
      expect(relativeError(restorePyramid(laplacianPyramid(picture, 3)).data, picture.data)).toBeLessThan(1e-14);
    }
  });
});

describe.each(["f32", "f16"] as const)("pyramids in %s", (elementType) => {
  it.each(SHAPES)("reduce %i×%i×%i×%i", async (...shape) => {
    const input = randomTensor(shape, 1, 1, elementType);
    await expectOperator(gpu, { operator: pyramidReduce, attributes: {}, inputs: [input], elementType }, reduce(input));
  });

  it.each(SHAPES)("expand to %i×%i×%i×%i", async (...shape) => {
    const fine = randomTensor(shape, 1, 1, elementType);
    const coarse = randomTensor(coarseShape(shape), 2, 1, elementType);
    const expanded = expand(coarse, shape[1], shape[2]);
    const job = { operator: pyramidExpand, inputs: [fine, coarse], elementType };
    await expectOperator(gpu, { ...job, attributes: { operation: "detail" } }, zip(fine, expanded, (a, b) => a - b));
    await expectOperator(gpu, { ...job, attributes: { operation: "restore" } }, zip(fine, expanded, (a, b) => a + b));
  });
});

it.each([
  [1, 41, 24, 3],
  [2, 40, 17, 5],
] as const)("bands of %i×%i×%i×%i equal the whole", async (...shape) => {
  const fine = randomTensor(shape, 1);
  const coarse = randomTensor(coarseShape(shape), 2);
  const limit = storedBytes(shape) / shape[0] / 2;
  await expectBandsEqualWhole(gpu, { operator: pyramidReduce, attributes: {}, inputs: [fine] }, limit);
  await expectBandsEqualWhole(gpu, { operator: pyramidExpand, attributes: { operation: "detail" }, inputs: [fine, coarse] }, limit);
});

it("compiles on the null backend", async () => {
  const nullGpu = await openNullGpu();
  const fine = randomTensor([1, 5, 5, 3], 1);
  const coarse = randomTensor([1, 3, 3, 3], 2);
  await runGraph(nullGpu, operatorGraph({ operator: pyramidReduce, attributes: {}, inputs: [fine] }), {});
  await runGraph(nullGpu, operatorGraph({ operator: pyramidExpand, attributes: { operation: "restore" }, inputs: [fine, coarse] }), {});
});

it("names the shape that the coarse level must have", () => {
  const inputs = [randomTensor([1, 5, 7, 3], 1), randomTensor([1, 2, 4, 3], 2)];
  expect(() => operatorGraph({ operator: pyramidExpand, attributes: { operation: "detail" }, inputs })).toThrow(
    "detail: expected a second input of 1×3×4×3; inputs: 1×5×7×3, 1×2×4×3",
  );
  expect(() => operatorGraph({ operator: pyramidReduce, attributes: {}, inputs })).toThrow("pyramidReduce: expected one input");
});
