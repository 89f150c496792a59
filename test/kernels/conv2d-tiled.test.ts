import { beforeAll, describe, expect, it, vi } from "vitest";
import { compile, type Plan } from "../../src/graph/plan.ts";
import { applyMatrix, type ApplyMatrixAttributes } from "../../src/kernels/apply-matrix/apply-matrix.ts";
import type { Convolution } from "../../src/kernels/conv2d/convolution.ts";
import { convolveTiled, TILE_NAMES, type TileName, tiledVariants } from "../../src/kernels/conv2d/tiled.ts";
import { kernelVariant, type Operator, wholeBinding } from "../../src/kernels/kernel.ts";
import { type ElementType, type TensorView, wholeView } from "../../src/kernels/tensor.ts";
import { packVector } from "../../src/kernels/weights.ts";
import { type DeviceTraits, PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openNullGpu, openTestGpu, runPlan, type TestGpu } from "../gpu.ts";
import { conv2d as reference } from "../reference/conv2d.ts";
import { at, buildTensor, randomTensor } from "../reference/tensor.ts";
import { type ConvolutionCase, convolutionBy, prepareConvolution } from "./conv2d-gemm.ts";
import { expectBandsEqualWhole, expectOperator, operatorGraph, randomWeight, storedBytes } from "./operators.ts";
import { findRaces, runOf } from "./races.ts";

// lavapipe compiles a kernel of this size in some ten seconds, on a busy machine in minutes.
vi.setConfig({ testTimeout: 600_000 });

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const by = (tile: TileName) => convolutionBy((convolution, scratch) => convolveTiled(convolution, tile, scratch));

async function check(tile: TileName, options: ConvolutionCase, type: ElementType): Promise<void> {
  const { job, expected } = prepareConvolution(by(tile), options, type);
  await expectOperator(gpu, job, expected);
}

const leaky = { kind: "leakyRelu", slope: 0.25 } as const;
const three = { kernel: [3, 3], padding: 1 } as const;

/** Shapes that leave a rest everywhere: in pixels, in output channels, in the inner dimension. */
const CASES: Record<string, ConvolutionCase> = {
  "1×1, one channel": { size: [1, 1, 1], channels: [1, 1] },
  "1×1, 5 to 3 channels, two images": { size: [2, 1, 7], channels: [5, 3], bias: true },
  "1×1, 35 to 69 channels, leaky ReLU, residual": { size: [2, 13, 11], channels: [35, 69], activation: leaky, bias: true, residual: true },
  "1×1, 33 to 5 channels, normalised": { size: [2, 3, 37], channels: [33, 5], bias: true, normalise: true },
  "1×1, 20 to 5 channels, normalised": { size: [1, 5, 7], channels: [20, 5], bias: true, normalise: true },
  "1×1, stride 2": { size: [2, 5, 7], channels: [5, 3], stride: 2 },
  "3×3, 1 to 16 channels": { size: [1, 6, 23], channels: [1, 16], ...three },
  "3×3, 3 to 3 channels, padding 2": { size: [2, 3, 7], channels: [3, 3], kernel: [3, 3], padding: 2 },
  "3×3, 17 to 35 channels": { size: [1, 5, 29], channels: [17, 35], ...three, bias: true },
  "3×3, 5 to 2 channels, stride 2": { size: [2, 8, 7], channels: [5, 2], ...three, stride: 2 },
  "3×3, 3 to 1 channels, dilation 2": { size: [1, 6, 7], channels: [3, 1], kernel: [3, 3], padding: 2, dilation: 2 },
  "5×3, 3 to 4 channels": { size: [1, 7, 5], channels: [3, 4], kernel: [5, 3] },
  "3×3, 129 to 7 channels, in parts, one number a channel added": { size: [2, 3, 5], channels: [129, 7], ...three, residual: "channels" },
  "3×3, 17 to 35 channels, one number a channel added": { size: [1, 5, 9], channels: [17, 35], ...three, residual: "channels" },
  "3×3, 129 to 7 channels, in parts": { size: [2, 3, 5], channels: [129, 7], ...three, bias: true, residual: true, activation: leaky },
};

/** In f16 and by other tiles only some, since lavapipe takes seconds to compile a variant. */
const F16_CASES = ["1×1, 33 to 5 channels, normalised", "3×3, 17 to 35 channels", "3×3, 129 to 7 channels, in parts"];

describe("conv2d by tiles agrees with the reference", () => {
  it.each(Object.entries(CASES))("f32: %s", (_, options) => check("tiled-64x16", options, "f32"));
  it.each(Object.entries(CASES).filter(([name]) => F16_CASES.includes(name)))("f16: %s", (_, options) => check("tiled-64x16", options, "f16"));

  it.each(["tiled-128x128", "tiled-64x64", "tiled-32x64"] as const)("%s", async (tile) => {
    await check(tile, { size: [1, 13, 21], channels: [19, 133], ...three, bias: true }, "f32");
  });

  it("with a matrix of its own for each image", async () => {
    const operator: Operator<ApplyMatrixAttributes> = {
      ...applyMatrix,
      dispatches({ inputs, output, traits, scratch }) {
        const [input, view] = inputs as [TensorView, TensorView];
        const matrix = { binding: wholeBinding(view), stride: 8 * 4, count: 2 };
        const bias = { constant: packVector(undefined, output.shape.channels) };
        const convolution = { input, output, matrix, bias, kernelHeight: 1, kernelWidth: 1, stride: 1, padding: 0, dilation: 1, traits };
        return convolveTiled(convolution, "tiled-64x16", scratch) ?? [];
      },
    };
    for (const type of ["f32", "f16"] as const) {
      const input = randomTensor([2, 3, 7, 8], 1, 1, type);
      const matrix = randomTensor([2, 1, 8, 13], 2);
      const expected = [0, 1].map((image) =>
        reference(
          { shape: [1, 3, 7, 8], data: input.data.subarray(image * 168, (image + 1) * 168) },
          { shape: [13, 8, 1, 1], data: buildTensor([13, 8, 1, 1], (o, i) => at(matrix.data, (image * 8 + i) * 13 + o)).data },
        ),
      );
      const both = { shape: [2, 3, 7, 13] as const, data: Float64Array.from(expected.flatMap(({ data }) => [...data])) };
      await expectOperator(gpu, { operator, attributes: {}, inputs: [input, matrix], elementType: [type, "f32"] }, both);
    }
  });
});

describe("conv2d by tiles in bands", () => {
  it.each<[string, ConvolutionCase]>([
    ["3×3", { size: [2, 11, 7], channels: [16, 16], ...three }],
    ["normalised", { size: [1, 45, 7], channels: [33, 5], bias: true, normalise: true }],
    ["3×3, stride 2", { size: [1, 16, 7], channels: [5, 2], ...three, stride: 2 }],
    ["in parts", { size: [1, 16, 8], channels: [64, 5], ...three, bias: true, activation: leaky, residual: true }],
  ])("makes the same bits: %s", async (_, options) => {
    const { job } = prepareConvolution(by("tiled-64x16"), options, "f32");
    const [batch, height, width] = options.size;
    await expectBandsEqualWhole(gpu, job, storedBytes([batch, height, width, options.channels[0]]) / batch - 1);
  });
});

const planOf = (tile: TileName, options: ConvolutionCase, type: ElementType): Plan => compile(operatorGraph(prepareConvolution(by(tile), options, type).job), PORTABLE_TRAITS);

describe("conv2d by tiles on a GPU with portable limits", () => {
  it.each(["f32", "f16"] as const)("compiles in %s", async (type) => {
    const nullGpu = await openNullGpu();
    for (const tile of TILE_NAMES) {
      for (const options of [{ ...three, bias: true, residual: true }, { normalise: true }, { kernel: [5, 5], activation: leaky }] as const) {
        const plan = planOf(tile, { size: [2, 9, 11], channels: [9, 5], ...options }, type);
        await runPlan(nullGpu, plan, Object.fromEntries(plan.inputs.map(({ tensor: { name, shape } }) => [name, new Float32Array(shape.batch * shape.height * shape.width * shape.channels)])));
      }
    }
  });

  it("divides the inner dimension only where the picture gives few workgroups, whatever the bands", () => {
    const kernels = (size: ConvolutionCase["size"], channels: ConvolutionCase["channels"], limit = PORTABLE_TRAITS.maxStorageBufferBindingSize): readonly string[] => {
      const graph = operatorGraph(prepareConvolution(by("tiled-64x64"), { size, channels, ...three }, "f32").job);
      return compile(graph, { ...PORTABLE_TRAITS, maxStorageBufferBindingSize: limit }).dispatches.map(({ kernel }) => kernel.name);
    };
    expect(kernels([1, 64, 64], [4, 64])).toEqual(["conv2d/tiled"]);
    expect(kernels([1, 8, 8], [256, 64])).toEqual(["conv2d/tiled", "conv2d/merge"]);
    expect(new Set(kernels([1, 8, 8], [256, 64], 60_000))).toEqual(new Set(["conv2d/tiled", "conv2d/merge"]));
    expect(kernels([1, 8, 8], [4, 64])).toEqual(["conv2d/tiled"]);
  });

  it("offers the tiles that fit, the most suitable first", () => {
    const convolution = (height: number, outputs: number, traits: DeviceTraits = PORTABLE_TRAITS): Convolution => {
      const view = (channels: number): TensorView => wholeView({ name: "x", shape: { batch: 1, height, width: 64, channels }, elementType: "f32" });
      const sizes = { kernelHeight: 1, kernelWidth: 1, stride: 1, padding: 0, dilation: 1 };
      return { ...sizes, input: view(64), output: view(outputs), matrix: randomWeight("w", [outputs, 64, 1, 1] as const, 1), bias: { constant: packVector(undefined, outputs) }, traits };
    };
    expect(tiledVariants(convolution(512, 256)).toSorted()).toEqual(TILE_NAMES.toSorted());
    expect(tiledVariants(convolution(512, 256))[0]).toBe("tiled-128x128");
    expect(tiledVariants(convolution(512, 64))[0]).toBe("tiled-128x64");
    expect(tiledVariants(convolution(512, 32))[0]).toBe("tiled-128x32");
    expect(tiledVariants(convolution(512, 16))[0]).toBe("tiled-64x16");
    expect(tiledVariants(convolution(32, 64))[0]).toBe("tiled-64x32");
    expect(tiledVariants(convolution(512, 256, { ...PORTABLE_TRAITS, maxComputeInvocationsPerWorkgroup: 128 }))).not.toContain("tiled-128x128");
    expect(tiledVariants(convolution(512, 256, { ...PORTABLE_TRAITS, maxComputeWorkgroupStorageSize: 8192 }))).not.toContain("tiled-128x64");
  });
});

describe("conv2d by tiles", () => {
  // The interpreter says on stderr what it does not know.
  beforeAll(() => {
    vi.spyOn(console, "error").mockImplementation(() => {});
  });

  it.each<[string, ConvolutionCase]>([
    ["plain", { size: [1, 1, 5], channels: [12, 5] }],
    ["normalised", { size: [1, 1, 5], channels: [12, 5], normalise: true }],
  ])("has no race, and would have one without its barriers: %s", (_, options) => {
    const [dispatch] = planOf("tiled-64x16", options, "f32").dispatches;
    if (!dispatch) throw new Error("the plan is empty");
    // A small tile, for the interpreter's sake.
    const tile = { TILE_PIXELS: 4, TILE_VECTORS: 2, THREAD_PIXELS: 2, THREAD_VECTORS: 1, THREADS: 4, CHUNK: 2, PAD: 1, INPUT_LOADS: 2, WEIGHT_LOADS: 4 };
    const run = runOf({ ...dispatch, ...kernelVariant(dispatch.kernel, { ...dispatch.defines, ...tile }), workgroups: [2, 1, 1] });
    expect(findRaces(run)).toEqual({ races: [], errors: [] });
    expect(findRaces({ ...run, code: run.code.replaceAll("workgroupBarrier();", "") }).races.length).toBeGreaterThan(0);
  });
});
