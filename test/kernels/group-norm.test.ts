import { beforeAll, describe, expect, it } from "vitest";
import type { Activation } from "../../src/kernels/activation.ts";
import { groupNorm, type GroupNormAttributes } from "../../src/kernels/group-norm/group-norm.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { groupNorm as reference } from "../reference/group-norm.ts";
import { mapTensor, randomTensor, type ReferenceShape, type ReferenceTensor } from "../reference/tensor.ts";
import { activate } from "./activations.ts";
import { expectBandsEqualWhole, expectOperator, type OperatorCase, randomWeight, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const SILU: Activation = { kind: "silu" };

function prepare(shape: ReferenceShape, groups: number, type: ElementType, activation?: Activation, input = randomTensor(shape, 1, 1, type)): { job: OperatorCase<GroupNormAttributes>; expected: ReferenceTensor } {
  const [weight, bias] = [randomWeight("weight", [shape[3]] as const, 2), randomWeight("bias", [shape[3]] as const, 3)];
  const attributes: GroupNormAttributes = { groups, weight, bias, epsilon: 1e-5, ...(activation && { activation }) };
  return {
    job: { operator: groupNorm, attributes, inputs: [input], elementType: type },
    expected: activate(reference(input, groups, weight.data, bias.data, 1e-5), activation),
  };
}

/** Groups of 1, 2, 3, 5, 8 and 66 channels, of which some lie across vectors of four; more vectors than lanes read together. */
const CASES: [ReferenceShape, number, Activation?][] = [
  [[1, 3, 5, 1], 1],
  [[2, 5, 7, 3], 3, SILU],
  [[2, 3, 7, 6], 2],
  [[1, 7, 1, 10], 5, SILU],
  [[2, 4, 9, 33], 11, SILU],
  [[1, 5, 3, 15], 3],
  [[1, 3, 3, 96], 12],
  [[2, 2, 5, 66], 1, SILU],
];

describe("groupNorm", () => {
  describe.each(["f32", "f16"] as const)("in %s", (type) => {
    it.each(CASES)("%j, %i groups", async (shape, groups, activation) => {
      const { job, expected } = prepare(shape, groups, type, activation);
      await expectOperator(gpu, job, expected);
    });
  });

  it("keeps its digits where the mean is far larger than the deviation", async () => {
    const shape = [1, 37, 41, 6] as const;
    const input = mapTensor(randomTensor(shape, 4, 1), (value) => Math.fround(value + 100));
    const { job, expected } = prepare(shape, 2, "f32", undefined, input);
    await expectOperator(gpu, job, expected);
  });

  it("makes the same bits in bands of several chunks", async () => {
    const shape = [2, 300, 101, 3] as const;
    const { job, expected } = prepare(shape, 1, "f32", SILU);
    await expectOperator(gpu, job, expected);
    await expectBandsEqualWhole(gpu, job, storedBytes(shape) / 4);
  });

  it("refuses groups that do not divide the channels, and weights of another length", () => {
    const { job } = prepare([1, 1, 1, 6], 2, "f32");
    const shape = { batch: 1, height: 1, width: 1, channels: 6 };
    expect(() => groupNorm.outputShape([shape], { ...job.attributes, groups: 4 })).toThrow("groupNorm: 4 groups do not divide the channels; inputs: 1×1×1×6");
    expect(() => groupNorm.outputShape([{ ...shape, channels: 8 }], job.attributes)).toThrow("weight has 6 values, bias 6");
  });
});
