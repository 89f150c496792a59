import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import type { Activation } from "../../src/kernels/activation.ts";
import { conv2d, type Conv2dAttributes, convolutionCandidates, convolve } from "../../src/kernels/conv2d/conv2d.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { ACTIVATIONS } from "./activations.ts";
import { convolutionBy, type ConvolutionCase, prepareConvolution } from "./conv2d-gemm.ts";
import { expectBandsEqualWhole, expectOperator, randomWeight, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** The two kernels for all shapes, where the device has both; those for some shapes have tests of their own. */
const by = (variant: "subgroups" | "registers") =>
  convolutionBy((convolution, scratch) => convolve(convolution, convolutionCandidates(convolution).includes(variant) ? variant : "registers", scratch));

async function check(options: ConvolutionCase, type: ElementType, variant: "subgroups" | "registers" = "subgroups"): Promise<void> {
  const { job, expected } = prepareConvolution(by(variant), options, type);
  await expectOperator(gpu, job, expected);
}

const leaky: Activation = { kind: "leakyRelu", slope: 0.25 };
const three = { kernel: [3, 3], padding: 1 } as const;

/** Channel counts of all kinds, 1, 2, 4 and 8 vectors a lane group and more of them; more pixels than a workgroup's; matrices of up to 1024 and 4096 vectors, which are uniforms of two sizes, and beyond. */
const CASES: Record<string, ConvolutionCase> = {
  "1×1, one channel": { size: [1, 1, 1], channels: [1, 1] },
  "1×1, 5 to 3 channels, bias": { size: [2, 1, 7], channels: [5, 3], bias: true },
  "1×1, 3 to 33 channels, leaky ReLU, residual": { size: [1, 5, 1], channels: [3, 33], activation: leaky, residual: true },
  "1×1, 33 to 5 channels, normalised": { size: [2, 3, 7], channels: [33, 5], bias: true, normalise: true },
  "1×1, 16 to 33 channels, bias, residual": { size: [2, 3, 21], channels: [16, 33], bias: true, residual: true },
  "1×1, 144 to 64 channels": { size: [1, 1, 7], channels: [144, 64] },
  "1×1, 160 to 112 channels": { size: [2, 1, 5], channels: [160, 112] },
  "1×1, stride 2": { size: [2, 5, 7], channels: [5, 3], stride: 2 },
  "1×1, padding 1": { size: [1, 3, 5], channels: [5, 3], padding: 1, bias: true },
  "3×3, 1 to 16 channels": { size: [1, 6, 7], channels: [1, 16], ...three },
  "3×3, 3 to 3 channels": { size: [2, 3, 7], channels: [3, 3], ...three },
  "3×3, 33 to 5 channels, bias, leaky ReLU": { size: [2, 3, 1], channels: [33, 5], ...three, bias: true, activation: leaky },
  "3×3, 16 to 16 channels, residual": { size: [1, 5, 19], channels: [16, 16], ...three, residual: true },
  "1×1, 16 to 17 channels, one number a channel added": { size: [2, 3, 21], channels: [16, 17], bias: true, residual: "channels" },
  "3×3, 7 to 17 channels, one number a channel added": { size: [2, 5, 9], channels: [7, 17], ...three, activation: leaky, residual: "channels" },
  "3×3, 32 to 32 channels": { size: [1, 3, 7], channels: [32, 32], ...three },
  "3×3, 48 to 48 channels": { size: [1, 2, 7], channels: [48, 48], ...three, bias: true },
  "3×3, 5 to 2 channels, stride 2": { size: [1, 8, 7], channels: [5, 2], ...three, stride: 2 },
  "3×3, 3 to 1 channels, dilation 2": { size: [1, 6, 7], channels: [3, 1], kernel: [3, 3], padding: 2, dilation: 2 },
  "5×5, 3 to 4 channels": { size: [1, 4, 7], channels: [3, 4], kernel: [5, 5], padding: 2 },
  "3×3, 7 to 24 channels, stride 2, 135 pixels": { size: [2, 17, 29], channels: [7, 24], ...three, stride: 2, bias: true },
  "3×3, 5 to 1 channels, 301 pixels": { size: [1, 7, 43], channels: [5, 1], ...three },
  "1×3, 5 to 3 channels": { size: [1, 3, 7], channels: [5, 3], kernel: [1, 3] },
};

/** In f16 only some, since lavapipe takes a second or more to compile a variant. */
const F16_CASES = ["1×1, 5 to 3 channels, bias", "1×1, 33 to 5 channels, normalised", "1×1, 160 to 112 channels", "3×3, 3 to 3 channels", "3×3, 16 to 16 channels, residual", "3×3, 7 to 17 channels, one number a channel added", "3×3, 48 to 48 channels"];

describe("conv2d agrees with the reference", () => {
  it.each(Object.entries(CASES))("f32: %s", (_, options) => check(options, "f32"));
  it.each(Object.entries(CASES).filter(([name]) => F16_CASES.includes(name)))("f16: %s", (_, options) => check(options, "f16"));
  it.each(Object.entries(CASES))("f32, without subgroups: %s", (_, options) => check(options, "f32", "registers"));
  it.each(Object.entries(CASES).filter(([name]) => F16_CASES.includes(name)))("f16, without subgroups: %s", (_, options) => check(options, "f16", "registers"));

  it.each(ACTIVATIONS)("with $kind", (activation) => check({ size: [1, 2, 7], channels: [16, 3], bias: true, activation }, "f32"));

  it("for arbitrary shapes and options", async () => {
    const arbitrary = fc.record({
      size: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 19 })),
      channels: fc.tuple(fc.integer({ min: 1, max: 33 }), fc.integer({ min: 1, max: 35 })),
      kernel: fc.constantFrom([1, 1] as const, [3, 3] as const),
      padding: fc.integer({ min: 0, max: 2 }),
      bias: fc.boolean(),
    });
    const fits = ({ size: [, height, width], kernel: [rows, columns], padding }: Required<Pick<ConvolutionCase, "size" | "kernel" | "padding">>) =>
      height + 2 * padding >= rows && width + 2 * padding >= columns;
    await fc.assert(
      fc.asyncProperty(arbitrary.filter(fits), (options) => check(options, "f32")),
      { numRuns: 25, seed: 7, endOnFailure: true },
    );
  });
});

describe("conv2d in bands", () => {
  it.each<[string, ConvolutionCase]>([
    ["1×1", { size: [2, 9, 7], channels: [16, 16], residual: true, bias: true }],
    ["normalised", { size: [1, 45, 7], channels: [33, 5], bias: true, normalise: true }],
    ["3×3", { size: [2, 11, 7], channels: [16, 16], ...three, residual: true }],
    ["one number a channel added", { size: [2, 11, 7], channels: [16, 16], ...three, residual: "channels" }],
    ["3×3, stride 2", { size: [1, 16, 7], channels: [5, 2], ...three, stride: 2 }],
    ["1×1, stride 2", { size: [1, 16, 8], channels: [5, 3], stride: 2 }],
    ["3×3, dilation 2", { size: [1, 64, 7], channels: [3, 1], kernel: [3, 3], padding: 2, dilation: 2 }],
  ])("makes the same bits: %s", async (_, options) => {
    const [batch, height, width] = options.size;
    for (const variant of ["subgroups", "registers"] as const) {
      const { job } = prepareConvolution(by(variant), options, "f32");
      await expectBandsEqualWhole(gpu, job, storedBytes([batch, height, width, options.channels[0]]) / batch - 1);
    }
  });
});

describe("conv2d", () => {
  const weight = randomWeight("body.weight", [4, 3, 3, 3] as const, 1);
  const attributes: Conv2dAttributes = { weight, stride: 1, padding: 1, dilation: 1 };
  const shape = { batch: 1, height: 2, width: 5, channels: 3 };

  it("says which weight does not fit which input", () => {
    expect(() => conv2d.outputShape([{ ...shape, channels: 2 }], attributes)).toThrow("conv2d: weight body.weight is 4×3×3×3; inputs: 1×2×5×2");
    const bias = randomWeight("body.bias", [5] as const, 1);
    expect(() => conv2d.outputShape([shape], { ...attributes, bias })).toThrow("bias body.bias has 5 values, not 4");
  });

  it("refuses a wrong number of inputs, a residual of another shape, a kernel larger than the picture", () => {
    expect(() => conv2d.outputShape([shape, shape], attributes)).toThrow("expected 1 inputs");
    expect(() => conv2d.outputShape([shape, shape], { ...attributes, residual: true })).toThrow("the residual must be 1×2×5×4 or 1×1×1×4");
    expect(() => conv2d.outputShape([shape], { ...attributes, padding: 0 })).toThrow("the 3×3 kernel does not fit");
  });

  it("normalises the input of a 1×1 convolution only", () => {
    expect(() => conv2d.outputShape([shape], { ...attributes, normalise: { epsilon: 1e-5 } })).toThrow("only a 1×1 convolution can normalise");
  });
});
