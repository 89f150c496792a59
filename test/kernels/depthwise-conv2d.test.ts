import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import type { Activation } from "../../src/kernels/activation.ts";
import { depthwiseConv2d, type DepthwiseConv2dAttributes } from "../../src/kernels/depthwise-conv2d/depthwise-conv2d.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { conv2d as reference } from "../reference/conv2d.ts";
import { gelu } from "../reference/activations.ts";
import { multiply } from "../reference/elementwise.ts";
import { randomTensor, type ReferenceTensor } from "../reference/tensor.ts";
import { activate, ACTIVATIONS } from "./activations.ts";
import { expectBandsEqualWhole, expectEveryVariant, expectOperator, type OperatorCase, randomWeight, storedBytes } from "./operators.ts";

interface Case {
  /** Batch, height, width, channels. */
  readonly shape: readonly [number, number, number, number];
  readonly kernel?: readonly [number, number];
  readonly stride?: number;
  readonly padding?: number;
  readonly dilation?: number;
  readonly bias?: boolean;
  readonly activation?: Activation;
  readonly gated?: boolean;
}

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** The operator with random weights, and what the reference makes of them. */
function prepare(options: Case, type: ElementType): { job: OperatorCase<DepthwiseConv2dAttributes>; expected: ReferenceTensor } {
  const { shape, kernel = [3, 3], stride = 1, padding = 1, dilation = 1, activation, gated = false } = options;
  const channels = shape[3];
  const side = (name: string, seed: number): { input: ReferenceTensor; parameters: { weight: ReturnType<typeof weightOf>; bias?: ReturnType<typeof biasOf> } } => ({
    input: randomTensor(shape, seed, 1, type),
    parameters: { weight: weightOf(name, seed + 1), ...(options.bias && { bias: biasOf(name, seed + 2) }) },
  });
  const weightOf = (name: string, seed: number) => randomWeight(`${name} weight`, [channels, 1, ...kernel] as const, seed, type);
  // Biases are stored in f32 whatever the tensors are.
  const biasOf = (name: string, seed: number) => randomWeight(`${name} bias`, [channels] as const, seed);
  const convolve = ({ input, parameters: { weight, bias } }: ReturnType<typeof side>): ReferenceTensor =>
    reference(input, weight, bias?.data, { stride, padding, dilation, groups: channels });

  const first = side("first", 1);
  const second = side("second", 11);
  const attributes: DepthwiseConv2dAttributes = {
    ...first.parameters,
    stride,
    padding,
    dilation,
    ...(activation && { activation }),
    ...(gated && { gated: second.parameters }),
  };
  return {
    job: { operator: depthwiseConv2d, attributes, inputs: gated ? [first.input, second.input] : [first.input], elementType: type },
    expected: gated ? multiply(gelu(convolve(first)), convolve(second)) : activate(convolve(first), activation),
  };
}

async function check(options: Case, type: ElementType): Promise<void> {
  const { job, expected } = prepare(options, type);
  await expectOperator(gpu, job, expected);
}

const CASES: Record<string, Case> = {
  "3×3, one value": { shape: [1, 1, 1, 1] },
  "3×3, 5 channels, one column": { shape: [2, 9, 1, 5], bias: true },
  "3×3, 3 channels, one row": { shape: [2, 1, 7, 3] },
  "3×3, 33 channels": { shape: [2, 19, 7, 33], bias: true },
  "3×3, gated, 5 channels": { shape: [2, 11, 7, 5], gated: true },
  "3×3, gated, 33 channels, biases": { shape: [1, 17, 3, 33], gated: true, bias: true },
  "3×3, gated, one value": { shape: [1, 1, 1, 1], gated: true },
  "3×3, stride 2": { shape: [2, 6, 7, 5], stride: 2, bias: true },
  "3×3, no padding": { shape: [1, 5, 7, 3], padding: 0 },
  "3×3, dilation 2": { shape: [1, 7, 7, 5], padding: 2, dilation: 2 },
  "5×5": { shape: [2, 4, 7, 3], kernel: [5, 5], padding: 2, bias: true },
  "1×1": { shape: [1, 3, 7, 5], kernel: [1, 1], padding: 0 },
  "7×1": { shape: [1, 9, 5, 3], kernel: [7, 1], padding: 0 },
};

/** In f16 only some, since lavapipe takes a second or more to compile a variant. */
const F16_CASES = ["3×3, 5 channels, one column", "3×3, gated, 5 channels", "3×3, stride 2", "7×1"];

describe("depthwiseConv2d", () => {
  it.each(Object.entries(CASES))("f32: %s", (_, options) => check(options, "f32"));
  it.each(Object.entries(CASES).filter(([name]) => F16_CASES.includes(name)))("f16: %s", (_, options) => check(options, "f16"));

  it.each(ACTIVATIONS)("applies $kind", async (activation) => {
    await check({ shape: [1, 3, 7, 5], bias: true, activation }, "f32");
    await check({ shape: [1, 3, 7, 5], kernel: [1, 1], padding: 0, bias: true, activation }, "f32");
  });

  it("agrees with the reference for arbitrary shapes and options", async () => {
    const arbitrary = fc.record({
      shape: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 9 }), fc.constant(5)),
      kernel: fc.constantFrom([3, 3] as const, [2, 1] as const),
      padding: fc.integer({ min: 1, max: 2 }),
      bias: fc.boolean(),
    });
    const fits = ({ shape: [, height, width], kernel: [rows, columns], padding }: Required<Pick<Case, "shape" | "kernel" | "padding">>) =>
      height + 2 * padding >= rows && width + 2 * padding >= columns;
    await fc.assert(
      fc.asyncProperty(arbitrary.filter(fits), (options) => check(options, "f32")),
      { numRuns: 25, seed: 7, endOnFailure: true },
    );
  });

  it.each<[string, Case, number]>([
    ["3×3", { shape: [2, 19, 7, 5], bias: true }, 5],
    ["3×3, gated", { shape: [1, 19, 7, 5], gated: true, bias: true }, 4],
    ["3×3, stride 2", { shape: [1, 19, 7, 5], stride: 2 }, 0],
  ])("every variant agrees with the reference: %s", async (_, options, count) => {
    const { job, expected } = prepare(options, "f32");
    expect(await expectEveryVariant(gpu, job, expected)).toHaveLength(count);
  });

  it.each<[string, Case]>([
    ["3×3", { shape: [2, 37, 3, 5], bias: true }],
    ["3×3, gated", { shape: [2, 37, 3, 5], gated: true }],
    ["7×1", { shape: [1, 37, 3, 3], kernel: [7, 1], padding: 0 }],
    ["3×3, stride 2", { shape: [1, 38, 3, 5], stride: 2 }],
  ])("makes the same bits in bands: %s", async (_, options) => {
    const { job } = prepare(options, "f32");
    await expectBandsEqualWhole(gpu, job, storedBytes(options.shape) / options.shape[0] - 1);
  });

  const weight = randomWeight("dwconv.weight", [4, 1, 3, 3] as const, 1);
  const attributes: DepthwiseConv2dAttributes = { weight, stride: 1, padding: 1, dilation: 1 };
  const shape = { batch: 1, height: 2, width: 5, channels: 4 };

  it("says which weight does not fit which input", () => {
    expect(() => depthwiseConv2d.outputShape([{ ...shape, channels: 5 }], attributes)).toThrow("depthwiseConv2d: weight dwconv.weight is 4×1×3×3; inputs: 1×2×5×5");
    const dense = randomWeight("dense", [4, 4, 3, 3] as const, 1);
    expect(() => depthwiseConv2d.outputShape([shape], { ...attributes, weight: dense })).toThrow("weight dense is 4×4×3×3");
  });

  it("gates only what its kernel can", () => {
    const gated = { weight };
    expect(() => depthwiseConv2d.outputShape([shape], { ...attributes, gated })).toThrow("expected 2 inputs");
    expect(() => depthwiseConv2d.outputShape([shape, shape], { ...attributes, gated, padding: 2 })).toThrow("a gate needs");
    expect(() => depthwiseConv2d.outputShape([shape, { ...shape, width: 4 }], { ...attributes, gated })).toThrow("a gate needs");
    expect(() => depthwiseConv2d.outputShape([{ ...shape, width: 2, height: 0 }], { ...attributes, padding: 0 })).toThrow("does not fit");
  });
});
