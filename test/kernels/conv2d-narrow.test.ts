import { beforeAll, describe, expect, it, vi } from "vitest";
import { compile } from "../../src/graph/plan.ts";
import { variantJob } from "../../src/graph/variants.ts";
import { conv2d, type Conv2dAttributes, convolutionCandidates, convolutionOf, convolve } from "../../src/kernels/conv2d/conv2d.ts";
import { kernelVariant, type VariantJob } from "../../src/kernels/kernel.ts";
import { type ElementType, wholeView } from "../../src/kernels/tensor.ts";
import { type DeviceTraits, PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openNullGpu, openTestGpu, runPlan, type TestGpu } from "../gpu.ts";
import { activate, ACTIVATIONS } from "./activations.ts";
import { type ConvolutionCase, convolutionBy, prepareConvolution } from "./conv2d-gemm.ts";
import { expectBandsEqualWhole, expectOperator, operatorGraph, randomWeight, storedBytes } from "./operators.ts";
import { findRaces, runOf } from "./races.ts";

// Some of the kernels are unrolled, and lavapipe compiles each case anew.
vi.setConfig({ testTimeout: 120_000 });

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const leaky = { kind: "leakyRelu", slope: 0.25 } as const;
const three = { kernel: [3, 3], padding: 1 } as const;

/** The kernel for GPUs, on any device. */
const byWorkgroups = convolutionBy((convolution, scratch) => convolve(convolution, "few-outputs", scratch));

/** The default, and the other kernels of few channels that are offered; what else is offered has tests of its own. */
async function expectNarrow(options: ConvolutionCase, type: ElementType): Promise<void> {
  const { job, expected } = prepareConvolution(conv2d, options, type);
  await expectOperator(gpu, job, expected);
  const [node] = operatorGraph(job).nodes;
  if (!node) throw new Error("the graph is empty");
  const [, ...others] = convolutionCandidates(convolutionOf(variantJob(node, gpu.device.traits) as VariantJob<Conv2dAttributes>));
  for (const name of others.filter((variant) => NARROW.includes(variant))) {
    await expectOperator(gpu, { ...job, operator: convolutionBy((convolution, scratch) => convolve(convolution, name, scratch)) }, expected);
  }
}

const NARROW = ["weight-stationary", "few-outputs", "few-outputs-subgroups"];

/** 1, 2, 4 and 8 lanes a pixel, and several turns of 4 and 8; a rest everywhere: in channels, in a strip's columns, in a block's rows. */
const FEW_OUTPUTS: Record<string, ConvolutionCase> = {
  "1×1, one channel": { size: [1, 1, 1], channels: [1, 1] },
  "1×1, 5 to 3 channels, bias, residual": { size: [2, 3, 7], channels: [5, 3], bias: true, residual: true },
  "1×1, 70 to 4 channels, padding 1": { size: [1, 3, 5], channels: [70, 4], padding: 1, bias: true },
  "3×3, 1 to 1 channels, 133 columns": { size: [1, 5, 133], channels: [1, 1], ...three },
  "3×3, 3 to 3 channels, padding 2": { size: [2, 3, 7], channels: [3, 3], kernel: [3, 3], padding: 2 },
  "3×3, 16 to 1 channels": { size: [1, 13, 11], channels: [16, 1], ...three, bias: true },
  "3×3, 32 to 3 channels, bias, leaky ReLU, residual": { size: [2, 7, 19], channels: [32, 3], ...three, bias: true, activation: leaky, residual: true },
  "3×3, 45 to 2 channels": { size: [1, 6, 9], channels: [45, 2], ...three, bias: true },
  "3×3, 129 to 4 channels, 130 columns": { size: [1, 3, 130], channels: [129, 4], ...three, bias: true, activation: leaky },
  "5×3, 9 to 4 channels": { size: [1, 7, 5], channels: [9, 4], kernel: [5, 3] },
  "5×5, 20 to 3 channels": { size: [1, 5, 9], channels: [20, 3], kernel: [5, 5], padding: 2 },
  "7×7, 4 to 3 channels": { size: [1, 9, 8], channels: [4, 3], kernel: [7, 7], padding: 3 },
};

const FEW_WEIGHTS: Record<string, ConvolutionCase> = {
  "1×1, 5 to 32 channels, residual": { size: [2, 3, 7], channels: [5, 32], residual: true },
  "1×1, 3 to 5 channels, stride 2": { size: [1, 5, 7], channels: [3, 5], stride: 2, bias: true },
  "1×1, 30 to 128 channels, normalised": { size: [2, 3, 13], channels: [30, 128], bias: true, normalise: true },
  "1×1, 3 to 5 channels, normalised": { size: [1, 3, 5], channels: [3, 5], normalise: true },
  "3×3, 1 to 16 channels, 403 columns": { size: [1, 2, 403], channels: [1, 16], ...three, bias: true },
  "3×3, 3 to 33 channels, bias, leaky ReLU, residual": { size: [2, 5, 13], channels: [3, 33], ...three, bias: true, activation: leaky, residual: true },
  "3×3, 4 to 48 channels, padding 2": { size: [1, 5, 6], channels: [4, 48], kernel: [3, 3], padding: 2 },
  "3×3, 6 to 70 channels": { size: [1, 4, 9], channels: [6, 70], ...three },
  "3×3, 5 to 7 channels, stride 2": { size: [2, 9, 11], channels: [5, 7], ...three, stride: 2, bias: true },
  "3×3, 3 to 3 channels, stride 2": { size: [1, 9, 30], channels: [3, 3], ...three, stride: 2 },
  "3×3, 3 to 9 channels, dilation 2": { size: [1, 6, 9], channels: [3, 9], kernel: [3, 3], padding: 2, dilation: 2 },
  "5×5, 3 to 8 channels, stride 2": { size: [1, 8, 13], channels: [3, 8], kernel: [5, 5], padding: 2, stride: 2 },
  "7×7, 3 to 12 channels, stride 2": { size: [1, 11, 14], channels: [3, 12], kernel: [7, 7], padding: 3, stride: 2 },
};

/** In f16 only some, since lavapipe takes a second or more to compile a variant. */
const F16_CASES = ["3×3, 32 to 3 channels, bias, leaky ReLU, residual", "3×3, 129 to 4 channels, 130 columns", "3×3, 3 to 33 channels, bias, leaky ReLU, residual"];

describe("conv2d of few output channels agrees with the reference", () => {
  const cases = (type: ElementType): readonly [string, ConvolutionCase][] => Object.entries(FEW_OUTPUTS).filter(([name]) => type === "f32" || F16_CASES.includes(name));
  const check = async (options: ConvolutionCase, type: ElementType): Promise<void> => {
    await expectNarrow(options, type);
    const { job, expected } = prepareConvolution(byWorkgroups, options, type);
    await expectOperator(gpu, job, expected);
  };

  it.each(cases("f32"))("f32: %s", (_, options) => check(options, "f32"));
  it.each(cases("f16"))("f16: %s", (_, options) => check(options, "f16"));

  it.each(ACTIVATIONS)("with $kind", async (activation) => {
    const options: ConvolutionCase = { size: [1, 2, 7], channels: [16, 3], ...three, bias: true };
    const { job, expected } = prepareConvolution(conv2d, options, "f32");
    await expectOperator(gpu, { ...job, attributes: { ...job.attributes, activation } }, activate(expected, activation));
  });
});

describe("conv2d with few weights agrees with the reference", () => {
  it.each(Object.entries(FEW_WEIGHTS))("f32: %s", (_, options) => expectNarrow(options, "f32"));
  it.each(Object.entries(FEW_WEIGHTS).filter(([name]) => F16_CASES.includes(name)))("f16: %s", (_, options) => expectNarrow(options, "f16"));
});

describe("conv2d of few channels in bands", () => {
  it.each<[string, ConvolutionCase]>([
    ["few outputs", { size: [2, 11, 8], channels: [40, 3], ...three, residual: true, bias: true }],
    ["few outputs, 1×1", { size: [1, 21, 7], channels: [12, 1], bias: true }],
    ["few inputs and outputs", { size: [1, 64, 7], channels: [3, 4], kernel: [5, 5], padding: 2 }],
    ["few inputs", { size: [1, 40, 7], channels: [3, 20], ...three, residual: true, bias: true }],
    ["few weights, normalised", { size: [1, 45, 7], channels: [32, 12], bias: true, normalise: true }],
    ["few inputs, stride 2", { size: [2, 33, 17], channels: [6, 8], ...three, stride: 2 }],
  ])("makes the same bits: %s", async (_, options) => {
    const { job } = prepareConvolution(conv2d, options, "f32");
    const [batch, height, width] = options.size;
    const bytes = ([inputs, outputs]: readonly [number, number]): number => storedBytes([1, height, width, (options.stride ?? 1) > 1 ? inputs : Math.max(inputs, outputs)]);
    const limit = Math.ceil((batch > 1 ? 1 : 0.8) * bytes(options.channels)) - 1;
    await expectBandsEqualWhole(gpu, job, limit);
    if (options.channels[1] <= 4) await expectBandsEqualWhole(gpu, { ...job, operator: byWorkgroups }, limit);
  });
});

describe("conv2d of few channels", () => {
  const candidates = (channels: readonly [number, number], options: Partial<ConvolutionCase>, traits: DeviceTraits): readonly string[] => {
    const [inputs, outputs] = channels;
    const { kernel = [3, 3], stride = 1, padding = 1, dilation = 1, normalise } = options;
    const view = (count: number) => wholeView({ name: "x", shape: { batch: 1, height: 32, width: 32, channels: count }, elementType: "f32" });
    const weight = randomWeight("w", [outputs, inputs, ...kernel] as const, 1);
    const attributes = { weight, stride, padding, dilation, ...(normalise && { normalise: { epsilon: 1e-5 } }) };
    return convolutionCandidates(convolutionOf({ inputs: [view(inputs)], output: view(outputs), attributes, traits }));
  };
  const software: DeviceTraits = { ...PORTABLE_TRAITS, deviceClass: "software", subgroupSize: 8 };
  const nvidia: DeviceTraits = { ...PORTABLE_TRAITS, deviceClass: "nvidia", subgroupSize: 32 };

  it("has kernels of its own, by default on the devices for which they are", () => {
    expect(candidates([3, 32], {}, software)).toEqual(["weight-stationary", "registers", "subgroups"]);
    expect(candidates([32, 3], {}, software)).toEqual(["few-outputs-subgroups", "registers", "subgroups"]);
    expect(candidates([3, 3], {}, software)).toEqual(["few-outputs-subgroups", "registers", "subgroups", "weight-stationary"]);
    expect(candidates([32, 64], { kernel: [1, 1], padding: 0, normalise: true }, software)[0]).toBe("weight-stationary");
    expect(candidates([3, 3], { stride: 2 }, software)).toEqual(["weight-stationary", "registers", "subgroups"]);
    expect(candidates([32, 3], {}, nvidia)[0]).toBe("few-outputs");
    expect(candidates([3, 32], {}, nvidia)[0]).toMatch(/^tiled-/);
    expect(candidates([32, 3], {}, PORTABLE_TRAITS)[0]).toBe("few-outputs");
  });

  it("leaves to the other kernels what they cannot do", () => {
    const others = ["subgroups", "registers"];
    expect(candidates([9, 5], {}, software)).toEqual(others);
    expect(candidates([8, 32], { kernel: [5, 5], padding: 2 }, software)).toEqual(others);
    expect(candidates([3, 32], { padding: 4, dilation: 4 }, software)).toEqual(others);
    expect(candidates([40, 3], { kernel: [1, 1], padding: 0, normalise: true }, software)).toEqual(others);
    expect(candidates([3, 32], {}, { ...software, subgroupSize: 0 })).toEqual(["registers"]);
    for (const options of [{ stride: 2 }, { padding: 2, dilation: 2 }]) expect(candidates([32, 3], options, nvidia)).not.toContain("few-outputs");
  });

  it("compiles on a GPU with portable limits", async () => {
    const nullGpu = await openNullGpu();
    for (const type of ["f32", "f16"] as const) {
      for (const options of Object.values(FEW_OUTPUTS)) {
        const { job } = prepareConvolution(conv2d, options, type);
        const plan = compile(operatorGraph(job), { ...PORTABLE_TRAITS, f16: true });
        expect(plan.dispatches.map(({ kernel }) => kernel.name)).toEqual(["conv2d/few-outputs"]);
        await runPlan(nullGpu, plan, Object.fromEntries(job.inputs.map(({ data }, i) => [`input${i}`, Float32Array.from(data)])));
      }
    }
  });

  it("has no race, and would have one without its barrier", () => {
    // The interpreter says on stderr what it does not know.
    vi.spyOn(console, "error").mockImplementation(() => {});
    // No pixel lies outside: the interpreter would read it.
    const { job } = prepareConvolution(byWorkgroups, { size: [1, 4, 4], channels: [8, 2] }, "f32");
    const [dispatch] = compile(operatorGraph(job), PORTABLE_TRAITS).dispatches;
    if (!dispatch) throw new Error("the plan is empty");
    // A small tile, for the interpreter's sake.
    const tile = { THREADS: 4, COLUMNS: 2, SUMS: 2 * 4 * 2 * 3 };
    const run = runOf({ ...dispatch, ...kernelVariant(dispatch.kernel, { ...dispatch.defines, ...tile }), workgroups: [2, 1, 1] });
    expect(findRaces(run)).toEqual({ races: [], errors: [] });
    expect(findRaces({ ...run, code: run.code.replaceAll("workgroupBarrier();", "") }).races.length).toBeGreaterThan(0);
  });
});
