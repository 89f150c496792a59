import { beforeAll, describe, expect, it } from "vitest";
import { layerNorm, type LayerNormAttributes } from "../../src/kernels/layer-norm/layer-norm.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { layerNorm as reference } from "../reference/layer-norm.ts";
import { mapTensor, randomTensor, type ReferenceShape, type ReferenceTensor } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, type OperatorCase, randomWeight, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

function prepare(shape: ReferenceShape, type: ElementType, offset = 0): { job: OperatorCase<LayerNormAttributes>; expected: ReferenceTensor } {
  const input = mapTensor(randomTensor(shape, 1, 1, type), (value) => value + offset);
  // Scale and shift are stored in f32 whatever the tensors are.
  const weight = randomWeight("weight", [shape[3]] as const, 2);
  const bias = randomWeight("bias", [shape[3]] as const, 3);
  const epsilon = 1e-5;
  return {
    job: { operator: layerNorm, attributes: { weight, bias, epsilon }, inputs: [input], elementType: type },
    expected: reference(input, weight.data, bias.data, epsilon),
  };
}

describe("layerNorm", () => {
  describe.each(["f32", "f16"] as const)("in %s", (type) => {
    it.each<[ReferenceShape]>([[[1, 1, 1, 1]], [[2, 1, 7, 3]], [[2, 5, 1, 5]], [[1, 3, 70, 33]], [[2, 3, 7, 16]]])("%j", async (shape) => {
      const { job, expected } = prepare(shape, type);
      await expectOperator(gpu, job, expected);
    });
  });

  it("keeps its precision far from zero", async () => {
    // Whole numbers plus the offset are exact in f32, so what is lost is lost in the operator.
    const { job, expected } = prepare([1, 3, 7, 33], "f32", 0);
    const far = job.inputs.map((input) => mapTensor(input, (value) => Math.round(value * 100) + 4096));
    const { weight, bias, epsilon } = job.attributes;
    const [input] = far as [ReferenceTensor];
    expect(expected.shape).toEqual(input.shape);
    await expectOperator(gpu, { ...job, inputs: far }, reference(input, weight.data, bias.data, epsilon));
  });

  it("makes the same bits in bands", async () => {
    const shape: ReferenceShape = [2, 40, 7, 5];
    await expectBandsEqualWhole(gpu, prepare(shape, "f32").job, storedBytes(shape) / 2 - 1);
  });

  it("refuses a scale or shift of another length", () => {
    const scale = randomWeight("norm.weight", [4] as const, 1);
    const shift = randomWeight("norm.bias", [3] as const, 1);
    const shape = { batch: 1, height: 1, width: 1, channels: 4 };
    expect(() => layerNorm.outputShape([shape], { weight: scale, bias: shift, epsilon: 1e-5 })).toThrow("layerNorm: norm.weight has 4 values, norm.bias 3; inputs: 1×1×1×4");
  });
});
