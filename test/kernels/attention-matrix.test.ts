import { beforeAll, describe, expect, it, vi } from "vitest";
import { compile } from "../../src/graph/plan.ts";
import { MATRIX_KERNEL, matrixAttention } from "../../src/kernels/attention/matrix.ts";
import { vectors } from "../../src/kernels/tensor.ts";
import { findGpu } from "../../src/platform/gpu.ts";
import { type DeviceTraits, openDevice, PORTABLE_TRAITS, type SubgroupMatrix } from "../../src/runtime/device.ts";
import { PipelineCache } from "../../src/runtime/pipelines.ts";
import { openTestGpu, runPlan, type TestGpu } from "../gpu.ts";
import { type AttentionCase, attentionBy, prepareAttention } from "./attention-kernels.ts";
import { expectBandsEqualWhole, expectOperator, operatorGraph, storedBytes } from "./operators.ts";
import { findRaces, runOf } from "./races.ts";
import { EMULATED_LANES, emulateSubgroupMatrices } from "./subgroup-matrix.ts";

// lavapipe compiles a kernel of this size in some ten seconds, on a busy machine in minutes.
vi.setConfig({ testTimeout: 600_000 });

const matrixOf = (M: number, N: number, K: number): SubgroupMatrix => ({ componentType: "f16", resultComponentType: "f32", M, N, K });
const withMatrix = (traits: DeviceTraits, shape: SubgroupMatrix): DeviceTraits => ({ ...traits, f16: true, subgroupSize: 32, subgroupMatrices: [shape] });

/** A small tile, quick to compile and to interpret: up to 16 value channels a head. */
const emulated = attentionBy(() => ({
  kernel: emulateSubgroupMatrices(MATRIX_KERNEL, ["stage", "weights"], "scores"),
  defines: { M: 4, N: 8, K: 8, QUERIES: 16, KEYS: 16, SUBGROUPS: 4, DOWN: 1, ACROSS: 2, VALUES_ACROSS: 2, CHUNK: 2, STAGE: 128 },
  lanes: 4 * EMULATED_LANES,
  queries: 16,
  valueBlocks: 1,
}));

/** Rests of queries, keys and channels; more keys than a tile. */
const CASES: Record<string, AttentionCase> = {
  "one query, one key, one channel": { query: [1, 1, 1, 1], keys: [1, 1, 1], heads: 1, biased: true },
  "5 channels, 3 of the values": { query: [2, 3, 7, 5], keys: [3, 5, 3], heads: 1, biased: true },
  "two heads of 12 and of 16 channels": { query: [1, 3, 11, 24], keys: [7, 5, 32], heads: 2, biased: true },
};

describe("attention by matrices, their operations emulated", () => {
  let gpu: TestGpu;
  beforeAll(async () => {
    gpu = await openTestGpu();
    // The interpreter says on stderr what it does not know.
    vi.spyOn(console, "error").mockImplementation(() => {});
  });

  it.each(Object.entries(CASES))("agrees with the reference: %s", async (_, options) => {
    const { job, expected } = prepareAttention(emulated, options, "f32");
    await expectOperator(gpu, job, expected);
  });

  it("takes scores whose exponentials would overflow, and makes the same bits in bands", async () => {
    const { job, expected } = prepareAttention(emulated, { query: [2, 10, 7, 8], keys: [5, 5, 8], heads: 1, scale: 300, biased: true }, "f32");
    // A score of 600 has an error of 4e-5, and so has its exponential.
    await expectOperator(gpu, job, expected, { tolerance: 2e-4 });
    await expectBandsEqualWhole(gpu, job, storedBytes([1, 10, 7, 8]) - 1);
  });

  it("has no race, and would have one without its barriers", () => {
    const { job } = prepareAttention(emulated, { query: [1, 1, 5, 4], keys: [1, 3, 8], heads: 1 }, "f32");
    const [dispatch] = compile(operatorGraph(job), PORTABLE_TRAITS).dispatches;
    if (!dispatch) throw new Error("the plan is empty");
    const run = runOf({ ...dispatch, workgroups: [1, 1, 1] });
    const interpreted = { ...run, code: run.code.replace(/const LANES: u32 = \w+;/, `const LANES: u32 = ${4 * EMULATED_LANES}u;`) };
    expect(findRaces(interpreted)).toEqual({ races: [], errors: [] });
    expect(findRaces({ ...interpreted, code: interpreted.code.replaceAll("workgroupBarrier();", "") }).races.length).toBeGreaterThan(0);
  });
});

describe("attention by matrices", () => {
  it("compiles for every matrix that a device may have, with the limits of all devices", async () => {
    const device = await openDevice(await findGpu({ backend: "null", flags: ["enable-dawn-features=allow_unsafe_apis"] }));
    const gpu = { device, pipelines: new PipelineCache(device) };
    const operator = attentionBy(matrixAttention);
    for (const shape of [matrixOf(16, 16, 16), matrixOf(16, 8, 16), matrixOf(8, 16, 16), matrixOf(8, 8, 8)]) {
      for (const channels of [20, 128]) {
        const plan = compile(operatorGraph(prepareAttention(operator, { query: [1, 3, 5, channels], keys: [3, 7, channels], heads: 1, biased: true }, "f16").job), withMatrix(PORTABLE_TRAITS, shape));
        const zeros = plan.inputs.map(({ tensor: { name, shape: { batch, height, width, channels: depth } } }) => [name, new Float32Array(batch * height * width * depth)] as const);
        await runPlan(gpu, plan, Object.fromEntries(zeros));
        expect(plan.dispatches.map(({ kernel }) => kernel.name)).toEqual(["attention/matrix"]);
      }
    }
  });

  it("compiles for subgroups of a size that it requires", async () => {
    const device = await openDevice(await findGpu({ backend: "null", flags: ["enable-dawn-features=allow_unsafe_apis"] }));
    const traits = { ...withMatrix(PORTABLE_TRAITS, matrixOf(16, 16, 16)), subgroupSize: 0, requiredSubgroupSize: 32 };
    const plan = compile(operatorGraph(prepareAttention(attentionBy(matrixAttention), { query: [1, 3, 5, 20], keys: [3, 7, 20], heads: 1 }, "f16").job), traits);
    expect(plan.dispatches[0]?.code).toContain("@subgroup_size(32)");
    const zeros = plan.inputs.map(({ tensor: { name, shape: { batch, height, width, channels } } }) => [name, new Float32Array(batch * height * width * channels)] as const);
    await runPlan({ device, pipelines: new PipelineCache(device) }, plan, Object.fromEntries(zeros));
  });

  it("is there for heads of up to 256 value channels on devices with such matrices", () => {
    const traits = { ...withMatrix(PORTABLE_TRAITS, matrixOf(16, 16, 16)), maxComputeWorkgroupStorageSize: 49152 };
    expect(matrixAttention(vectors(256), "f16", traits)).toMatchObject({ lanes: 128, queries: 64, defines: { KEYS: 64, DOWN: 1, ACROSS: 4, VALUES_ACROSS: 16 } });
    expect(matrixAttention(vectors(128), "f16", { ...traits, maxComputeWorkgroupStorageSize: 32768 })).toMatchObject({ defines: { KEYS: 32 } });
    expect(matrixAttention(vectors(260), "f16", traits)).toBeUndefined();
    expect(matrixAttention(vectors(128), "f32", traits)).toBeUndefined();
    expect(matrixAttention(vectors(128), "f16", { ...traits, subgroupMatrices: [] })).toBeUndefined();
    expect(matrixAttention(vectors(128), "f16", { ...traits, subgroupSize: 0 })).toBeUndefined();
  });
});
