import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import type { Activation } from "../../src/kernels/activation.ts";
import { convTranspose2d, type ConvTranspose2dAttributes } from "../../src/kernels/conv-transpose2d/conv-transpose2d.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { convTranspose2d as reference } from "../reference/conv-transpose2d.ts";
import { randomTensor, type ReferenceTensor } from "../reference/tensor.ts";
import { activate, ACTIVATIONS } from "./activations.ts";
import { expectBandsEqualWhole, expectOperator, type OperatorCase, randomWeight, storedBytes } from "./operators.ts";

interface Case {
  /** Batch, height, width. */
  readonly size: readonly [number, number, number];
  /** Input and output channels. */
  readonly channels: readonly [number, number];
  readonly kernel: readonly [number, number];
  readonly stride: number;
  readonly padding?: number;
  readonly outputPadding?: number;
  readonly bias?: boolean;
  readonly activation?: Activation;
}

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** The operator with random weights, and what the reference makes of them. */
function prepare(options: Case, type: ElementType): { job: OperatorCase<ConvTranspose2dAttributes>; expected: ReferenceTensor } {
  const { size, channels, kernel, stride, padding = 0, outputPadding = 0, activation } = options;
  const [inputs, outputs] = channels;
  const input = randomTensor([...size, inputs], 1, 1, type);
  const weight = randomWeight("weight", [inputs, outputs, ...kernel] as const, 2, type);
  // Biases are stored in f32 whatever the tensors are.
  const bias = options.bias ? randomWeight("bias", [outputs] as const, 3) : undefined;
  const attributes = { weight, stride, padding, outputPadding, ...(bias && { bias }), ...(activation && { activation }) };
  return {
    job: { operator: convTranspose2d, attributes, inputs: [input], elementType: type },
    expected: activate(reference(input, weight, bias?.data, { stride, padding, outputPadding }), activation),
  };
}

async function check(options: Case, type: ElementType): Promise<void> {
  const { job, expected } = prepare(options, type);
  await expectOperator(gpu, job, expected);
}

/** Weights in uniform buffers of both sizes, and beyond. */
const CASES: Record<string, Case> = {
  "2×2, stride 2, 5 to 3 channels, bias": { size: [2, 3, 7], channels: [5, 3], kernel: [2, 2], stride: 2, bias: true },
  "2×2, stride 2, 33 to 40 channels": { size: [1, 2, 5], channels: [33, 40], kernel: [2, 2], stride: 2, bias: true },
  "2×2, stride 2, 64 to 72 channels": { size: [1, 2, 5], channels: [64, 72], kernel: [2, 2], stride: 2 },
  "4×4, stride 2, padding 1, 3 to 5 channels": { size: [1, 4, 6], channels: [3, 5], kernel: [4, 4], stride: 2, padding: 1, bias: true },
  "3×3, stride 2, padding 1, output padding 1": { size: [2, 3, 9], channels: [1, 6], kernel: [3, 3], stride: 2, padding: 1, outputPadding: 1 },
  "3×3, stride 1, padding 1, one pixel": { size: [1, 1, 1], channels: [3, 33], kernel: [3, 3], stride: 1, padding: 1 },
  "5×5, stride 3, padding 2, output padding 2": { size: [1, 5, 4], channels: [5, 1], kernel: [5, 5], stride: 3, padding: 2, outputPadding: 2, bias: true },
  "1×1, stride 2, gaps": { size: [1, 3, 5], channels: [4, 3], kernel: [1, 1], stride: 2, outputPadding: 1, bias: true },
  "1×4, stride 2": { size: [1, 3, 5], channels: [4, 3], kernel: [1, 4], stride: 2 },
};

/** In f16 only some, since lavapipe takes a second or more to compile a variant. */
const F16_CASES = ["2×2, stride 2, 5 to 3 channels, bias", "2×2, stride 2, 64 to 72 channels", "5×5, stride 3, padding 2, output padding 2"];

describe("convTranspose2d agrees with the reference", () => {
  it.each(Object.entries(CASES))("f32: %s", (_, options) => check(options, "f32"));
  it.each(Object.entries(CASES).filter(([name]) => F16_CASES.includes(name)))("f16: %s", (_, options) => check(options, "f16"));

  it.each(ACTIVATIONS)("with $kind", (activation) => check({ size: [1, 2, 7], channels: [5, 3], kernel: [2, 2], stride: 2, bias: true, activation }, "f32"));

  it("for arbitrary shapes and options", async () => {
    const arbitrary = fc.record({
      size: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 11 })),
      channels: fc.tuple(fc.integer({ min: 1, max: 33 }), fc.integer({ min: 1, max: 17 })),
      kernel: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.constantFrom(1, 2, 4)),
      stride: fc.constantFrom(1, 2, 3),
      padding: fc.integer({ min: 0, max: 3 }),
      outputPadding: fc.integer({ min: 0, max: 2 }),
      bias: fc.boolean(),
    });
    const fits = ({ size: [, height, width], kernel: [rows, columns], stride, padding, outputPadding }: Required<Omit<Case, "activation">>): boolean =>
      outputPadding < stride && Math.min((height - 1) * stride + rows, (width - 1) * stride + columns) - 2 * padding + outputPadding >= 1;
    await fc.assert(
      fc.asyncProperty(arbitrary.filter(fits), (options) => check(options, "f32")),
      { numRuns: 30, seed: 7, endOnFailure: true },
    );
  });
});

describe("convTranspose2d in bands", () => {
  it.each<[string, Case]>([
    ["2×2, stride 2", { size: [2, 20, 7], channels: [5, 3], kernel: [2, 2], stride: 2, bias: true }],
    ["4×4, stride 2, padding 1", { size: [1, 40, 7], channels: [5, 3], kernel: [4, 4], stride: 2, padding: 1 }],
    ["5×5, stride 3, padding 2", { size: [2, 20, 5], channels: [3, 6], kernel: [5, 5], stride: 3, padding: 2, outputPadding: 2 }],
    ["3×3, stride 1", { size: [1, 40, 7], channels: [5, 3], kernel: [3, 3], stride: 1 }],
  ])("makes the same bits: %s", async (_, options) => {
    const { job, expected } = prepare(options, "f32");
    const [batch, ...rest] = expected.shape;
    await expectBandsEqualWhole(gpu, job, storedBytes([1, ...rest]) - (batch === 1 ? 1 : 0));
  });
});

describe("convTranspose2d", () => {
  const weight = randomWeight("up.weight", [3, 4, 2, 2] as const, 1);
  const attributes: ConvTranspose2dAttributes = { weight, stride: 2, padding: 0, outputPadding: 0 };
  const shape = { batch: 1, height: 2, width: 5, channels: 3 };

  it("knows the size of its output", () => {
    expect(convTranspose2d.outputShape([shape], { ...attributes, outputPadding: 1 })).toEqual({ batch: 1, height: 5, width: 11, channels: 4 });
  });

  it("says what does not fit", () => {
    expect(() => convTranspose2d.outputShape([{ ...shape, channels: 2 }], attributes)).toThrow("convTranspose2d: weight up.weight is 3×4×2×2; inputs: 1×2×5×2");
    const bias = randomWeight("up.bias", [5] as const, 1);
    expect(() => convTranspose2d.outputShape([shape], { ...attributes, bias })).toThrow("bias up.bias has 5 values, not 4");
    expect(() => convTranspose2d.outputShape([shape, shape], attributes)).toThrow("expected one input");
    expect(() => convTranspose2d.outputShape([shape], { ...attributes, outputPadding: 2 })).toThrow("output padding 2 is not less than the stride 2");
    expect(() => convTranspose2d.outputShape([shape], { ...attributes, padding: 2 })).toThrow("padding 2 leaves nothing of the result");
  });
});
