import { beforeAll, describe, expect, it, vi } from "vitest";
import { compile } from "../../src/graph/plan.ts";
import type { Convolution } from "../../src/kernels/conv2d/convolution.ts";
import { gemmDispatches } from "../../src/kernels/conv2d/gemm.ts";
import { convolveByMatrices, MATRIX_KERNEL, MATRIX_TILE_NAMES, type MatrixTileName, matrixVariants } from "../../src/kernels/conv2d/matrix.ts";
import { type TensorView, wholeView } from "../../src/kernels/tensor.ts";
import { packVector } from "../../src/kernels/weights.ts";
import { findGpu } from "../../src/platform/gpu.ts";
import { type DeviceTraits, openDevice, PORTABLE_TRAITS, type SubgroupMatrix } from "../../src/runtime/device.ts";
import { PipelineCache } from "../../src/runtime/pipelines.ts";
import { openTestGpu, runPlan, type TestGpu } from "../gpu.ts";
import { type ConvolutionCase, convolutionBy, prepareConvolution } from "./conv2d-gemm.ts";
import { expectBandsEqualWhole, expectOperator, operatorGraph, randomWeight, storedBytes } from "./operators.ts";
import { findRaces, runOf } from "./races.ts";
import { EMULATED_LANES, emulateSubgroupMatrices } from "./subgroup-matrix.ts";

// lavapipe compiles a kernel of this size in some ten seconds, on a busy machine in minutes.
vi.setConfig({ testTimeout: 600_000 });

const matrixOf = (M: number, N: number, K: number): SubgroupMatrix => ({ componentType: "f16", resultComponentType: "f32", M, N, K });
/** What devices are known to have: NVIDIA and AMD, NVIDIA's other driver, Intel, Apple. */
const SHAPES = [matrixOf(16, 16, 16), matrixOf(16, 8, 16), matrixOf(8, 16, 16), matrixOf(8, 8, 8)];

const withMatrices = (traits: DeviceTraits, shape: SubgroupMatrix | undefined): DeviceTraits => ({ ...traits, f16: true, subgroupSize: 32, subgroupMatrices: shape ? [shape] : [] });

const three = { kernel: [3, 3], padding: 1 } as const;
const leaky = { kind: "leakyRelu", slope: 0.25 } as const;

const by = (tile: MatrixTileName) => convolutionBy((convolution, scratch) => convolveByMatrices(convolution, tile, scratch));

/** A small tile, quick to compile and to interpret: two by two subgroups, each with two by two matrices of 4 × 8 sums, and 8 for the inner dimension. */
const SMALL = {
  defines: { M: 4, N: 8, K: 8, FRAGMENTS_DOWN: 2, FRAGMENTS_ACROSS: 2, SUBGROUPS_ACROSS: 2, SUBGROUPS: 4 },
  tilePixels: 16,
  tileVectors: 8,
  threads: 4 * EMULATED_LANES,
  chunk: 4,
  cost: 1,
};

const emulated = convolutionBy((convolution, scratch) =>
  gemmDispatches(convolution, { ...SMALL, kernel: emulateSubgroupMatrices(MATRIX_KERNEL, ["input_tile", "weight_tile"], "results") }, scratch),
);

/** Shapes that leave a rest everywhere: in pixels, in output channels, in the inner dimension. All by one pipeline, which lavapipe takes long to compile. */
const CASES: Record<string, ConvolutionCase> = {
  "1×1, one channel": { size: [1, 1, 1], channels: [1, 1] },
  "1×1, 19 to 37 channels, two images": { size: [2, 3, 7], channels: [19, 37], bias: true },
  "3×3, 5 to 6 channels, stride 2": { size: [1, 7, 9], channels: [5, 6], ...three, stride: 2, bias: true },
  "3×3, 3 to 5 channels, dilation 2": { size: [1, 3, 7], channels: [3, 5], kernel: [3, 3], padding: 2, dilation: 2 },
};

describe("conv2d by matrices, their operations emulated", () => {
  let gpu: TestGpu;
  beforeAll(async () => {
    gpu = await openTestGpu();
    // The interpreter says on stderr what it does not know.
    vi.spyOn(console, "error").mockImplementation(() => {});
  });

  it.each(Object.entries(CASES))("agrees with the reference: %s", async (_, options) => {
    const { job, expected } = prepareConvolution(emulated, options, "f32");
    await expectOperator(gpu, job, expected);
  });

  it("makes the same bits in bands", async () => {
    const { job } = prepareConvolution(emulated, { size: [2, 11, 7], channels: [16, 16], ...three }, "f32");
    await expectBandsEqualWhole(gpu, job, storedBytes([1, 11, 7, 16]) - 1);
  });

  it("has no race, and would have one without its barriers", () => {
    const { job } = prepareConvolution(emulated, { size: [1, 1, 5], channels: [20, 5] }, "f32");
    const [dispatch] = compile(operatorGraph(job), PORTABLE_TRAITS).dispatches;
    if (!dispatch) throw new Error("the plan is empty");
    const run = runOf(dispatch);
    expect(findRaces(run)).toEqual({ races: [], errors: [] });
    expect(findRaces({ ...run, code: run.code.replaceAll("workgroupBarrier();", "") }).races.length).toBeGreaterThan(0);
  });
});

describe("conv2d by matrices", () => {
  it("compiles for every matrix that a device may have, with the limits of all devices", async () => {
    const device = await openDevice(await findGpu({ backend: "null", flags: ["enable-dawn-features=allow_unsafe_apis"] }));
    const gpu = { device, pipelines: new PipelineCache(device) };
    const made = new Set<string>();
    for (const shape of SHAPES) {
      for (const tile of MATRIX_TILE_NAMES) {
        for (const options of [{ ...three, bias: true, residual: true, activation: leaky }, { normalise: true }, { kernel: [5, 5] }] as const) {
          // All but this one stay within 16 KiB of workgroup memory, more than which Dawn's null backend does not allow.
          if (tile === "matrix-128x128" && "normalise" in options) continue;
          const { job } = prepareConvolution(by(tile), { size: [2, 9, 11], channels: [9, 5], ...options }, "f16");
          const plan = compile(operatorGraph(job), withMatrices(PORTABLE_TRAITS, shape));
          const zeros = plan.inputs.map(({ tensor: { name, shape: { batch, height, width, channels } } }) => [name, new Float32Array(batch * height * width * channels)] as const);
          await runPlan(gpu, plan, Object.fromEntries(zeros));
          for (const { code } of plan.dispatches) made.add(code);
        }
      }
    }
    expect(made.size).toBeGreaterThan(SHAPES.length * MATRIX_TILE_NAMES.length);
  });

  it("compiles for subgroups of a size that it requires", async () => {
    const device = await openDevice(await findGpu({ backend: "null", flags: ["enable-dawn-features=allow_unsafe_apis"] }));
    for (const requiredSubgroupSize of [16, 32]) {
      const traits = { ...withMatrices(PORTABLE_TRAITS, matrixOf(16, 16, 16)), subgroupSize: 0, requiredSubgroupSize };
      const plan = compile(operatorGraph(prepareConvolution(by("matrix-64x64"), { size: [1, 9, 11], channels: [9, 5] }, "f16").job), traits);
      expect(plan.dispatches[0]?.defines).toMatchObject({ THREADS: 4 * requiredSubgroupSize });
      expect(plan.dispatches[0]?.code).toContain(`@subgroup_size(${requiredSubgroupSize})`);
      await runPlan({ device, pipelines: new PipelineCache(device) }, plan, { input0: new Float32Array(9 * 11 * 9) });
    }
  });

  it("is offered where the device has matrices of f16 with sums in f32, by estimated time", () => {
    const convolution = (traits: DeviceTraits, outputs = 256, elementType: "f16" | "f32" = "f16"): Convolution => {
      const view = (channels: number): TensorView => wholeView({ name: "x", shape: { batch: 1, height: 512, width: 64, channels }, elementType });
      const sizes = { kernelHeight: 1, kernelWidth: 1, stride: 1, padding: 0, dilation: 1 };
      return { ...sizes, input: view(64), output: view(outputs), matrix: randomWeight("w", [outputs, 64, 1, 1] as const, 1), bias: { constant: packVector(undefined, outputs) }, traits };
    };
    const traits = withMatrices(PORTABLE_TRAITS, matrixOf(16, 16, 16));
    expect(matrixVariants(convolution(traits)).toSorted()).toEqual(MATRIX_TILE_NAMES.toSorted());
    expect(matrixVariants(convolution(traits))[0]).toBe("matrix-128x128");
    expect(matrixVariants(convolution(traits, 32))[0]).toBe("matrix-128x32");
    expect(matrixVariants(convolution(traits, 256, "f32"))).toEqual([]);
    expect(matrixVariants(convolution({ ...traits, subgroupSize: 0 }))).toEqual([]);
    expect(matrixVariants(convolution({ ...traits, subgroupMatrices: [{ ...matrixOf(16, 16, 16), resultComponentType: "f16" }] }))).toEqual([]);
  });

  it("takes the matrix that does most at once, and as much of the inner dimension as fits", () => {
    const job = (memory: number) => {
      const traits = { ...withMatrices(PORTABLE_TRAITS, undefined), subgroupMatrices: [matrixOf(8, 8, 8), matrixOf(16, 8, 16)], maxComputeWorkgroupStorageSize: memory };
      return compile(operatorGraph(prepareConvolution(by("matrix-128x128"), { size: [1, 9, 11], channels: [69, 37] }, "f16").job), traits).dispatches[0]?.defines;
    };
    expect(job(16384)).toMatchObject({ M: 16, N: 8, K: 16, FRAGMENTS_DOWN: 4, FRAGMENTS_ACROSS: 8, CHUNK: 4, THREADS: 128 });
    expect(job(32768)).toMatchObject({ CHUNK: 8 });
  });
});
