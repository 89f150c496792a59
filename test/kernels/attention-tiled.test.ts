import { beforeAll, describe, expect, it, vi } from "vitest";
import { compile } from "../../src/graph/plan.ts";
import type { AttentionAttributes } from "../../src/kernels/attention/attention.ts";
import { ATTENTION_TILES, type AttentionTile, tiledAttention } from "../../src/kernels/attention/tiled.ts";
import { kernelVariant, type Operator } from "../../src/kernels/kernel.ts";
import { type ElementType, vectors } from "../../src/kernels/tensor.ts";
import { type DeviceTraits, PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openNullGpu, openTestGpu, runPlan, type TestGpu } from "../gpu.ts";
import { type AttentionCase, attentionBy, prepareAttention } from "./attention-kernels.ts";
import { expectBandsEqualWhole, expectOperator, operatorGraph, storedBytes } from "./operators.ts";
import { findRaces, runOf } from "./races.ts";

// lavapipe compiles a kernel of this size in some ten seconds, on a busy machine in minutes.
vi.setConfig({ testTimeout: 600_000 });

const by = (tile: AttentionTile): Operator<AttentionAttributes> => attentionBy((valueVectors, type, traits) => tiledAttention(tile, valueVectors, type, traits));

/** Heads of one vector and more, rests of queries, keys and channels, more keys than a tile. */
const SMALL: Record<string, AttentionCase> = {
  "one query, one key, one channel": { query: [1, 1, 1, 1], keys: [1, 1, 1], heads: 1 },
  "5 channels, 3 of the values": { query: [2, 3, 7, 5], keys: [3, 5, 3], heads: 1 },
  "two heads of 4 and of 8 channels, more queries than a workgroup takes": { query: [1, 13, 11, 8], keys: [7, 5, 16], heads: 2 },
  "8 heads of 16 channels": { query: [2, 5, 3, 128], keys: [5, 3, 128], heads: 8, scale: 0.25 },
};

/** With less memory a thread takes fewer keys: the kernel is shorter, and lavapipe takes long enough to compile it. */
const small = (traits: DeviceTraits): DeviceTraits => ({ ...traits, maxComputeWorkgroupStorageSize: 16384 });

describe("attention by tiles", () => {
  let gpu: TestGpu;
  beforeAll(async () => {
    gpu = await openTestGpu();
    // The interpreter says on stderr what it does not know.
    vi.spyOn(console, "error").mockImplementation(() => {});
  });

  it.each(Object.entries(SMALL))("agrees with the reference: %s", async (_, options) => {
    const { job, expected } = prepareAttention(by("tiled-4"), options, "f32");
    await expectOperator(gpu, job, expected, { traits: small(gpu.device.traits) });
  });

  it.each<[string, AttentionTile, ElementType, AttentionCase]>([
    ["heads of 20 channels, 133 keys, a bias, f16", "tiled-8", "f16", { query: [2, 3, 5, 20], keys: [7, 19, 20], heads: 1, biased: true }],
    ["heads of 160 channels", "tiled-4", "f32", { query: [1, 3, 5, 160], keys: [5, 7, 160], heads: 1, scale: 0.1 }],
  ])("agrees with the reference: %s", async (_, tile, type, options) => {
    const { job, expected } = prepareAttention(by(tile), options, type);
    await expectOperator(gpu, job, expected, { traits: small(gpu.device.traits) });
  });

  it("takes scores whose exponentials would overflow", async () => {
    const { job, expected } = prepareAttention(by("tiled-4"), { query: [1, 3, 5, 8], keys: [9, 9, 8], heads: 1, scale: 300 }, "f32");
    // A score of 600 has an error of 4e-5, and so has its exponential.
    await expectOperator(gpu, job, expected, { tolerance: 2e-4, traits: small(gpu.device.traits) });
  });

  it("makes the same bits in bands", async () => {
    const { job } = prepareAttention(by("tiled-4"), { query: [2, 40, 7, 8], keys: [3, 5, 8], heads: 1 }, "f32");
    await expectBandsEqualWhole(gpu, job, storedBytes([1, 40, 7, 8]) - 1, small(gpu.device.traits));
  });

  it("has no race, and would have one without its barriers", () => {
    const { job } = prepareAttention(by("tiled-4"), { query: [1, 1, 5, 12], keys: [1, 7, 8], heads: 1 }, "f32");
    const [dispatch] = compile(operatorGraph(job), PORTABLE_TRAITS).dispatches;
    if (!dispatch) throw new Error("the plan is empty");
    // A small tile, for the interpreter's sake.
    const tile = { COLUMNS: 2, GROUPS: 2, QUERY_VECTORS: 1, KEYS_PER_LANE: 2, VECTOR_TURNS: 1, CHUNK: 2, VALUE_KEYS: 2, PAD: 1, QUERY_LOADS: 4, KEY_LOADS: 2, VALUE_LOADS: 1, STAGE: 28 };
    const run = runOf({ ...dispatch, ...kernelVariant(dispatch.kernel, { ...dispatch.defines, ...tile }), workgroups: [1, 1, 1] });
    const interpreted = { ...run, code: run.code.replace(/const LANES: u32 = \w+;/, "const LANES: u32 = 4u;") };
    expect(findRaces(interpreted)).toEqual({ races: [], errors: [] });
    expect(findRaces({ ...interpreted, code: interpreted.code.replaceAll("workgroupBarrier();", "") }).races.length).toBeGreaterThan(0);
  });

  it.each(["f32", "f16"] as const)("compiles with portable limits in %s", async (type) => {
    const nullGpu = await openNullGpu();
    let count = 0;
    for (const tile of ATTENTION_TILES) {
      for (const channels of [3, 20, 64, 128, 256, 512]) {
        if (!tiledAttention(tile, vectors(channels), type, PORTABLE_TRAITS)) continue;
        const plan = compile(operatorGraph(prepareAttention(by(tile), { query: [1, 3, 5, channels], keys: [3, 7, channels], heads: 1, biased: true }, type).job), PORTABLE_TRAITS);
        const zeros = plan.inputs.map(({ tensor: { name, shape: { batch, height, width, channels: depth } } }) => [name, new Float32Array(batch * height * width * depth)] as const);
        await runPlan(nullGpu, plan, Object.fromEntries(zeros));
        count++;
      }
    }
    expect(count).toBeGreaterThanOrEqual(9);
  });

  it("fits a device's memory or says that it does not", () => {
    const memory = (bytes: number): DeviceTraits => ({ ...PORTABLE_TRAITS, maxComputeWorkgroupStorageSize: bytes });
    expect(tiledAttention("tiled-8", 32, "f32", memory(32768))).toMatchObject({ lanes: 128, queries: 64, defines: { KEYS_PER_LANE: 4 } });
    expect(tiledAttention("tiled-8", 32, "f32", memory(16384))).toMatchObject({ defines: { KEYS_PER_LANE: 2 } });
    expect(tiledAttention("tiled-8", 32, "f32", memory(4096))).toBeUndefined();
    expect(tiledAttention("tiled-4", 32, "f32", { ...PORTABLE_TRAITS, maxComputeInvocationsPerWorkgroup: 64 })).toBeUndefined();
  });
});
