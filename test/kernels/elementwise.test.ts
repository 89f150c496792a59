import { beforeAll, describe, expect, it } from "vitest";
import { elementwise, type ElementwiseAttributes } from "../../src/kernels/elementwise/elementwise.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { gelu, prelu } from "../reference/activations.ts";
import { add, multiply } from "../reference/elementwise.ts";
import { at, buildTensor, randomTensor, type ReferenceShape, type ReferenceTensor, valueAt } from "../reference/tensor.ts";
import { activate, ACTIVATIONS } from "./activations.ts";
import { expectBandsEqualWhole, expectOperator, type OperatorCase, randomWeight, runOperator, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const oneSlope = randomWeight("one slope", [1] as const, 5);
const slopes = (channels: number) => randomWeight(`${channels} slopes`, [channels] as const, 6);

/** Every operation with its reference. */
const OPERATIONS: Record<string, { attributes: (channels: number) => ElementwiseAttributes; inputs: 1 | 2; expected: (a: ReferenceTensor, b: ReferenceTensor) => ReferenceTensor }> = {
  ...Object.fromEntries(
    ACTIVATIONS.map((activation) => [activation.kind, { attributes: () => ({ operation: "activation", activation }), inputs: 1, expected: (a: ReferenceTensor) => activate(a, activation) }]),
  ),
  "prelu, one slope": { attributes: () => ({ operation: "prelu", slope: oneSlope }), inputs: 1, expected: (a) => prelu(a, oneSlope.data) },
  "prelu, a slope a channel": { attributes: (channels) => ({ operation: "prelu", slope: slopes(channels) }), inputs: 1, expected: (a) => prelu(a, slopes(a.shape[3]).data) },
  add: { attributes: () => ({ operation: "add" }), inputs: 2, expected: add },
  multiply: { attributes: () => ({ operation: "multiply" }), inputs: 2, expected: multiply },
  gatedGelu: { attributes: () => ({ operation: "gatedGelu" }), inputs: 2, expected: (a, b) => multiply(gelu(a), b) },
};

function prepare(name: string, shape: ReferenceShape, type: ElementType): { job: OperatorCase<ElementwiseAttributes>; expected: ReferenceTensor } {
  const operation = OPERATIONS[name];
  if (!operation) throw new Error(name);
  const first = randomTensor(shape, 1, 8, type);
  const second = randomTensor(shape, 2, 1, type);
  return {
    job: { operator: elementwise, attributes: operation.attributes(shape[3]), inputs: operation.inputs === 1 ? [first] : [first, second], elementType: type },
    expected: operation.expected(first, second),
  };
}

describe("elementwise", () => {
  describe.each(["f32", "f16"] as const)("in %s", (type) => {
    it.each(Object.keys(OPERATIONS))("%s", async (name) => {
      const { job, expected } = prepare(name, [2, 3, 7, 5], type);
      await expectOperator(gpu, job, expected);
    });
  });

  it.each<[ReferenceShape]>([[[1, 1, 1, 1]], [[2, 5, 1, 3]], [[1, 1, 7, 33]], [[1, 2, 70, 4]]])("adds tensors of %j", async (shape) => {
    const { job, expected } = prepare("add", shape, "f32");
    await expectOperator(gpu, job, expected);
  });

  it.each(["add", "multiply"] as const)("takes one number a channel as second operand of %s", async (operation) => {
    for (const elementType of ["f32", "f16"] as const) {
      const first = randomTensor([2, 3, 7, 5], 1, 1, elementType);
      const second = randomTensor([2, 1, 1, 5], 2, 1, elementType);
      const expected = buildTensor(first.shape, (batch, row, column, channel) => {
        const [a, b] = [valueAt(first, batch, row, column, channel), valueAt(second, batch, 0, 0, channel)];
        return operation === "add" ? a + b : a * b;
      });
      await expectOperator(gpu, { operator: elementwise, attributes: { operation }, inputs: [first, second], elementType }, expected);
    }
    const tall = { operator: elementwise, attributes: { operation }, inputs: [randomTensor([2, 40, 7, 5], 1), randomTensor([2, 1, 1, 5], 2)] };
    await expectBandsEqualWhole(gpu, tall, storedBytes([1, 40, 7, 5]) - 1);
  });

  it.each(ACTIVATIONS)("applies $kind far from zero, where exponentials overflow", async (activation) => {
    const input: ReferenceTensor = { shape: [1, 1, 6, 1], data: Float64Array.of(-1000, -100, -20, 20, 100, 1000) };
    const job: OperatorCase<ElementwiseAttributes> = { operator: elementwise, attributes: { operation: "activation", activation }, inputs: [input] };
    const actual = await runOperator(gpu, job);
    // Each value by itself: rounding of a factor near 0 or 1, times the input.
    activate(input, activation).data.forEach((value, i) => expect(Math.abs((actual[i] ?? NaN) - value)).toBeLessThanOrEqual(2e-7 * Math.max(Math.abs(at(input.data, i)), 1)));
  });

  it("has a gelu that is good to 1e-6 near zero, where it is small", async () => {
    const input = randomTensor([1, 8, 64, 4], 9, 0.01);
    const job: OperatorCase<ElementwiseAttributes> = { operator: elementwise, attributes: { operation: "activation", activation: { kind: "gelu" } }, inputs: [input] };
    await expectOperator(gpu, job, gelu(input), { tolerance: 1e-6 });
  });

  it("makes the same bits in bands", async () => {
    const shape: ReferenceShape = [2, 40, 7, 5];
    await expectBandsEqualWhole(gpu, prepare("gatedGelu", shape, "f32").job, storedBytes(shape) / 2 - 1);
  });

  it("refuses unequal shapes, a wrong number of inputs or of slopes", () => {
    const shape = { batch: 1, height: 1, width: 2, channels: 4 };
    expect(() => elementwise.outputShape([shape, { ...shape, channels: 8 }], { operation: "add" })).toThrow("add: expected equal shapes; inputs: 1×1×2×4, 1×1×2×8");
    expect(() => elementwise.outputShape([shape], { operation: "multiply" })).toThrow("multiply: expected 2 inputs");
    expect(() => elementwise.outputShape([shape, shape], { operation: "activation", activation: { kind: "relu" } })).toThrow("activation: expected 1 input;");
    expect(() => elementwise.outputShape([shape], { operation: "prelu", slope: slopes(3) })).toThrow("prelu: 3 slopes has 3 values");
  });
});
