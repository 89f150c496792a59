import { beforeAll, describe, expect, it } from "vitest";
import { GraphBuilder } from "../../src/graph/graph.ts";
import { compile } from "../../src/graph/plan.ts";
import type { Activation } from "../../src/kernels/activation.ts";
import { groupNorm, type GroupNormAttributes } from "../../src/kernels/group-norm/group-norm.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { type DeviceTraits, PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { add } from "../reference/elementwise.ts";
import { groupNorm as reference } from "../reference/group-norm.ts";
import { mapTensor, randomTensor, type ReferenceShape, type ReferenceTensor } from "../reference/tensor.ts";
import { activate } from "./activations.ts";
import { expectBandsEqualWhole, expectEveryVariant, expectOperator, type OperatorCase, randomWeight, storedBytes } from "./operators.ts";

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

const withResidual = (job: OperatorCase<GroupNormAttributes>, residual: ReferenceTensor): OperatorCase<GroupNormAttributes> => ({
  ...job,
  attributes: { ...job.attributes, residual: true },
  inputs: [...job.inputs, residual],
});

/**
 * Groups of 1, 2, 3, 5, 8 and 66 channels, of which some lie across vectors of four; more vectors than lanes read together; workgroups with
 * several vectors of channels, more pixels than threads, and a last workgroup with fewer channels.
 */
const CASES: [ReferenceShape, number, Activation?][] = [
  [[1, 3, 5, 1], 1],
  [[2, 5, 7, 3], 3, SILU],
  [[2, 3, 7, 6], 2],
  [[1, 7, 1, 10], 5, SILU],
  [[2, 4, 9, 33], 11, SILU],
  [[1, 5, 3, 15], 3],
  [[1, 3, 3, 96], 12],
  [[2, 2, 5, 66], 1, SILU],
  [[1, 5, 3, 96], 32, SILU],
  [[2, 3, 3, 100], 25, SILU],
  [[1, 29, 37, 12], 12, SILU],
];

describe("groupNorm", () => {
  describe.each(["f32", "f16"] as const)("in %s", (type) => {
    it.each(CASES)("%j, %i groups, every variant", async (shape, groups, activation) => {
      const { job, expected } = prepare(shape, groups, type, activation);
      const variants = await expectEveryVariant(gpu, job, expected);
      // Only whole vectors of few channels fit into a workgroup of the single dispatch.
      expect(variants).toHaveLength(shape[3] === 66 ? 2 : 4);
    });
  });

  it.each([CASES[4], CASES[10]].flatMap((found) => (found ? [found] : [])))("%j, %i groups, with a residual, every variant", async (shape, groups, activation) => {
    for (const type of ["f32", "f16"] as const) {
      const { job, expected } = prepare(shape, groups, type, activation);
      const residual = randomTensor(shape, 4, 1, type);
      await expectEveryVariant(gpu, withResidual(job, residual), add(expected, residual));
    }
  });

  it("makes SiLU right from -80 to 80", async () => {
    const { job } = prepare([1, 31, 33, 4], 1, "f32", SILU);
    const constant = (name: string, value: number) => ({ name, shape: [4] as const, data: new Float32Array(4).fill(value) });
    const [weight, bias] = [constant("weight", 46), constant("bias", 0)];
    const [input] = job.inputs as [ReferenceTensor];
    const normed = reference(input, 1, weight.data, bias.data, 1e-5);
    expect(Math.max(...normed.data)).toBeGreaterThan(78);
    expect(Math.min(...normed.data)).toBeLessThan(-78);
    await expectEveryVariant(gpu, { ...job, attributes: { ...job.attributes, weight, bias } }, activate(normed, SILU));
  });

  it("keeps its digits where the mean is far larger than the deviation", async () => {
    const shape = [1, 37, 41, 6] as const;
    const input = mapTensor(randomTensor(shape, 4, 1), (value) => Math.fround(value + 100));
    const { job, expected } = prepare(shape, 2, "f32", undefined, input);
    await expectEveryVariant(gpu, job, expected);
  });

  it("makes the same bits in bands of several chunks", async () => {
    const shape = [2, 300, 101, 3] as const;
    const { job, expected } = prepare(shape, 1, "f32", SILU);
    await expectOperator(gpu, job, expected);
    await expectBandsEqualWhole(gpu, job, storedBytes(shape) / 4);
    await expectBandsEqualWhole(gpu, withResidual(job, randomTensor(shape, 4)), storedBytes(shape) / 4);
  });

  it("is one dispatch only where one workgroup can read a group in a moment, without bands", () => {
    const { job } = prepare([1, 1, 1, 32], 32, "f32");
    const kernels = (height: number, groups: number, traits: DeviceTraits): string[] => {
      const builder = new GraphBuilder();
      const x = builder.input("x", { batch: 1, height, width: 64, channels: 32 });
      builder.output(builder.add("out", groupNorm, [x], { ...job.attributes, groups }));
      return compile(builder.build(), traits).dispatches.map(({ kernel }) => kernel.name);
    };
    const passes = ["group-norm/statistics", "group-norm/merge", "group-norm/apply"];
    for (const deviceClass of ["software", "nvidia"] as const) {
      const traits = { ...PORTABLE_TRAITS, deviceClass };
      expect(kernels(48, 32, traits)).toEqual(["group-norm/whole"]);
      expect(kernels(49, 32, traits)).toEqual(passes);
      expect(kernels(6, 1, traits)).toEqual(["group-norm/whole"]);
      expect(kernels(7, 1, traits)).toEqual(passes);
      expect(new Set(kernels(48, 32, { ...traits, maxStorageBufferBindingSize: 48 * 64 * 32 * 2 }))).toEqual(new Set(passes));
    }
  });

  it("refuses groups that do not divide the channels, and weights of another length", () => {
    const { job } = prepare([1, 1, 1, 6], 2, "f32");
    const shape = { batch: 1, height: 1, width: 1, channels: 6 };
    expect(() => groupNorm.outputShape([shape], { ...job.attributes, groups: 4 })).toThrow("groupNorm: 4 groups do not divide the channels; inputs: 1×1×1×6");
    expect(() => groupNorm.outputShape([{ ...shape, channels: 8 }], job.attributes)).toThrow("weight has 6 values, bias 6");
    expect(() => groupNorm.outputShape([shape, { ...shape, width: 2 }], { ...job.attributes, residual: true })).toThrow("groupNorm: the residual must be 1×1×1×6");
  });
});
