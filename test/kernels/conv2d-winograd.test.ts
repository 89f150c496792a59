import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { conv2d, convolutionCandidates, convolutionOf, convolve } from "../../src/kernels/conv2d/conv2d.ts";
import { allowsWinograd, WINOGRAD } from "../../src/kernels/conv2d/winograd.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { type DeviceTraits, PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { convolutionBy, type ConvolutionCase, prepareConvolution } from "./conv2d-gemm.ts";
import { expectBandsEqualWhole, expectOperator, randomWeight, runOperator } from "./operators.ts";
import { relativeError } from "../reference/tensor.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const byWinograd = convolutionBy((convolution, scratch) => convolve(convolution, WINOGRAD, scratch));

async function check(options: ConvolutionCase, traits: DeviceTraits = gpu.device.traits): Promise<void> {
  const { job, expected } = prepareConvolution(byWinograd, options, "f32");
  await expectOperator(gpu, job, expected, { traits });
}

const three = { kernel: [3, 3], padding: 1 } as const;

/** Pictures of one pixel, of parts of tiles and of many; matrices that fit a uniform buffer and that do not. */
const CASES: Record<string, ConvolutionCase> = {
  "one pixel": { size: [1, 1, 1], channels: [1, 1], ...three },
  "3 to 5 channels, bias": { size: [1, 4, 4], channels: [3, 5], ...three, bias: true },
  "5 to 2 channels, two images, leaky ReLU": { size: [2, 7, 5], channels: [5, 2], ...three, bias: true, activation: { kind: "leakyRelu", slope: 0.25 } },
  "17 to 33 channels, residual": { size: [2, 5, 13], channels: [17, 33], ...three, bias: true, residual: true },
  "16 to 17 channels, one number a channel added": { size: [2, 5, 13], channels: [16, 17], ...three, residual: "channels" },
  "33 to 16 channels, no padding": { size: [1, 9, 11], channels: [33, 16], kernel: [3, 3], padding: 0 },
  "16 to 20 channels, padding 2": { size: [1, 5, 6], channels: [16, 20], kernel: [3, 3], padding: 2, activation: { kind: "silu" } },
};

describe("conv2d by Winograd agrees with the reference", () => {
  it.each(Object.entries(CASES))("%s", (_, options) => check(options));
  it.each(["one pixel", "17 to 33 channels, residual"])("as on a GPU without subgroups: %s", (name) => check(CASES[name] as ConvolutionCase, { ...gpu.device.traits, subgroupSize: 0, deviceClass: "other" }));

  it("for arbitrary shapes", async () => {
    const arbitrary = fc.record({
      size: fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 3, max: 14 }), fc.integer({ min: 3, max: 19 })),
      channels: fc.tuple(fc.integer({ min: 1, max: 33 }), fc.integer({ min: 1, max: 35 })),
      kernel: fc.constant([3, 3] as const),
      padding: fc.integer({ min: 0, max: 2 }),
      bias: fc.boolean(),
    });
    await fc.assert(fc.asyncProperty(arbitrary, (options) => check(options)), { numRuns: 15, seed: 7, endOnFailure: true });
  });

  it("with at most three times the error of a direct sum", async () => {
    const options: ConvolutionCase = { size: [1, 24, 20], channels: [96, 32], ...three };
    const error = async (name: string): Promise<number> => {
      const { job, expected } = prepareConvolution(convolutionBy((convolution, scratch) => convolve(convolution, name, scratch)), options, "f32");
      return relativeError(await runOperator(gpu, job), expected.data);
    };
    expect(await error(WINOGRAD)).toBeLessThan(3 * (await error("registers")));
  });
});

it("conv2d by Winograd makes the same bits in strips", async () => {
  const { job } = prepareConvolution(byWinograd, { size: [2, 22, 9], channels: [16, 20], ...three, residual: true, bias: true }, "f32");
  // Four tiles in a row, 36 positions, five vectors: two rows of tiles.
  await expectBandsEqualWhole(gpu, job, 2 * 4 * 36 * 5 * 16);
});

describe("Winograd is a candidate", () => {
  const offered = (size: readonly [number, number], channels: readonly [number, number], attributes: object = {}, traits: DeviceTraits = PORTABLE_TRAITS, elementType: ElementType = "f32"): boolean => {
    const [height, width] = size;
    const weight = randomWeight("weight", [channels[1], channels[0], 3, 3] as const, 1);
    const job = { weight, stride: 1, padding: 1, dilation: 1, ...attributes };
    const shape = { batch: 1, height, width, channels: channels[0] };
    const view = (name: string, of: typeof shape) => ({ storage: { name, shape: of, elementType }, shape: of, firstVector: 0 });
    const convolution = convolutionOf({ inputs: [view("x", shape)], output: view("y", conv2d.outputShape([shape], job)), attributes: job, traits });
    expect(convolutionCandidates(convolution).includes(WINOGRAD)).toBe(allowsWinograd(convolution));
    return allowsWinograd(convolution);
  };

  it("for 3×3 without stride or dilation, with many channels and more pixels than weights", () => {
    expect(offered([64, 64], [32, 32])).toBe(true);
    expect(offered([64, 64], [32, 32], { stride: 2 })).toBe(false);
    expect(offered([64, 64], [32, 32], { dilation: 2, padding: 2 })).toBe(false);
    expect(offered([64, 64], [3, 32])).toBe(false);
    expect(offered([64, 64], [32, 32], {}, PORTABLE_TRAITS, "f16")).toBe(false);
    expect(offered([16, 16], [128, 128])).toBe(false);
    expect(offered([32, 4096], [512, 512])).toBe(true);
    expect(offered([32, 4096], [512, 512], {}, { ...PORTABLE_TRAITS, maxStorageBufferBindingSize: 1 << 20 })).toBe(false);
  });

  it("and the default on software adapters alone", () => {
    const traits = { ...PORTABLE_TRAITS, subgroupSize: 8 };
    const first = (deviceClass: DeviceTraits["deviceClass"]): string | undefined => {
      const shape = { batch: 1, height: 64, width: 64, channels: 32 };
      const view = { storage: { name: "x", shape, elementType: "f32" as const }, shape, firstVector: 0 };
      const weight = randomWeight("weight", [32, 32, 3, 3] as const, 1);
      return convolutionCandidates(convolutionOf({ inputs: [view], output: view, attributes: { weight, stride: 1, padding: 1, dilation: 1 }, traits: { ...traits, deviceClass } }))[0];
    };
    expect(first("software")).toBe(WINOGRAD);
    expect(first("nvidia")).toMatch(/^tiled-/);
    expect(first("mobile")).toBe("registers");
  });
});
