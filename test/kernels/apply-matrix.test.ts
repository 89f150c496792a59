import { beforeAll, describe, expect, it } from "vitest";
import { applyMatrix, type ApplyMatrixAttributes } from "../../src/kernels/apply-matrix/apply-matrix.ts";
import { type ElementType, vectors } from "../../src/kernels/tensor.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { add } from "../reference/elementwise.ts";
import { matmul } from "../reference/matmul.ts";
import { buildTensor, randomTensor, type ReferenceTensor, valueAt } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, type OperatorCase, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

type Size = readonly [batch: number, height: number, width: number];

/** A tensor and a matrix an image, whose rows for the padding of the input's channels are zero. */
function prepare(size: Size, [inputs, outputs]: readonly [number, number], residual: boolean, type: ElementType): { job: OperatorCase<ApplyMatrixAttributes>; expected: ReferenceTensor } {
  const [batch, height, width] = size;
  const input = randomTensor([...size, inputs], 1, 1, type);
  // The matrix is stored in f32 whatever the tensors are.
  const values = randomTensor([batch, 1, inputs, outputs], 2);
  const matrix = buildTensor([batch, 1, vectors(inputs) * 4, outputs], (b, _, row, column) => (row < inputs ? valueAt(values, b, 0, row, column) : 0));
  const rows: ReferenceTensor = { shape: [batch, 1, height * width, inputs], data: input.data };
  const product: ReferenceTensor = { shape: [...size, outputs], data: matmul(rows, values).data };
  const added = residual ? randomTensor(product.shape, 3, 1, type) : undefined;
  return {
    job: { operator: applyMatrix, attributes: { residual }, inputs: [input, matrix, ...(added ? [added] : [])], elementType: [type, "f32", type] },
    expected: added ? add(product, added) : product,
  };
}

const CASES: [Size, readonly [number, number], boolean][] = [
  [[1, 1, 1], [1, 1], false],
  [[2, 3, 7], [5, 3], false],
  [[2, 5, 1], [3, 33], true],
  [[2, 3, 19], [16, 16], true],
  [[2, 1, 7], [32, 9], false],
];

describe("applyMatrix agrees with the reference", () => {
  describe.each(["f32", "f16"] as const)("in %s", (type) => {
    it.each(CASES)("%j, channels %j, residual %j", async (size, channels, residual) => {
      const { job, expected } = prepare(size, channels, residual, type);
      await expectOperator(gpu, job, expected);
    });
  });

  it("makes the same bits in bands", async () => {
    const { job } = prepare([2, 30, 7], [16, 8], false, "f32");
    await expectBandsEqualWhole(gpu, job, storedBytes([1, 30, 7, 16]) - 1);
  });
});

describe("applyMatrix", () => {
  it("wants a matrix an image with a row for each channel of padding", () => {
    const input = { batch: 2, height: 3, width: 4, channels: 5 };
    expect(() => applyMatrix.outputShape([input, { batch: 2, height: 1, width: 5, channels: 6 }], {})).toThrow("applyMatrix: expected a matrix of 2×1×8×outputs; inputs: 2×3×4×5, 2×1×5×6");
    expect(() => applyMatrix.outputShape([input, { batch: 1, height: 1, width: 8, channels: 6 }], {})).toThrow("expected a matrix of 2×1×8×outputs");
    expect(() => applyMatrix.outputShape([input, { batch: 2, height: 1, width: 8, channels: 6 }, input], { residual: true })).toThrow("the residual must be 2×3×4×6");
    expect(() => applyMatrix.outputShape([input], {})).toThrow("expected 2 inputs");
  });

  it("refuses matrices that do not fit into a uniform buffer", async () => {
    const { job } = prepare([5, 1, 1], [64, 64], false, "f32");
    await expect(expectOperator(gpu, job, job.inputs[0] as ReferenceTensor)).rejects.toMatchObject({ code: "SHAPE", message: "input1: a matrix of 64×64 for each of 5 images passes the 64 KiB of a uniform buffer" });
  });
});
