import { beforeAll, describe, expect, it } from "vitest";
import { attention, type AttentionAttributes } from "../../src/kernels/attention/attention.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import type { DeviceTraits } from "../../src/runtime/device.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { attention as reference } from "../reference/attention.ts";
import { randomTensor, type ReferenceShape, type ReferenceTensor } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, type OperatorCase, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

interface Case {
  readonly query: ReferenceShape;
  /** Height, width and value channels of the keys. */
  readonly keys: readonly [height: number, width: number, channels: number];
  readonly heads: number;
  readonly scale?: number;
  readonly biased?: boolean;
}

function prepare({ query: shape, keys: [height, width, channels], heads, scale = 0.5, biased }: Case, type: ElementType): { job: OperatorCase<AttentionAttributes>; expected: ReferenceTensor } {
  const [batch, , , queryChannels] = shape;
  const query = randomTensor(shape, 1, 1, type);
  const key = randomTensor([batch, height, width, queryChannels], 2, 1, type);
  const value = randomTensor([batch, height, width, channels], 3, 1, type);
  const bias = biased ? randomTensor([batch, height, width, 1], 4, 1, type) : undefined;
  const inputs = [query, key, value, ...(bias ? [bias] : [])];
  return { job: { operator: attention, attributes: { heads, scale }, inputs, elementType: type }, expected: reference(query, key, value, heads, scale, bias) };
}

const withoutSubgroups = (): DeviceTraits => ({ ...gpu.device.traits, subgroupSize: 0 });

/** One key, more keys than a tile, heads of 4, 16, 32, 64, 160 and 512 channels, channels that do not fill a vector. */
const CASES: Record<string, Case> = {
  "one query, one key, one channel": { query: [1, 1, 1, 1], keys: [1, 1, 1], heads: 1 },
  "5 channels, 3 of the values": { query: [2, 3, 7, 5], keys: [3, 5, 3], heads: 1 },
  "8 heads of 16 channels": { query: [2, 5, 3, 128], keys: [5, 3, 128], heads: 8, scale: 0.25 },
  "two heads of 4 and of 8 channels": { query: [1, 9, 11, 8], keys: [7, 5, 16], heads: 2 },
  "32 channels, 133 keys": { query: [1, 7, 9, 32], keys: [7, 19, 32], heads: 1 },
  "64 channels, 33 keys": { query: [2, 1, 19, 64], keys: [3, 11, 64], heads: 1 },
  "32 channels, 133 keys, a bias": { query: [2, 3, 5, 32], keys: [7, 19, 32], heads: 1, biased: true },
  "two heads of 4 channels, a bias": { query: [2, 3, 5, 8], keys: [3, 3, 8], heads: 2, biased: true },
  "160 channels": { query: [1, 3, 5, 160], keys: [5, 7, 160], heads: 1, scale: 0.1 },
  "96 channels, 150 queries": { query: [1, 10, 15, 96], keys: [1, 37, 96], heads: 1, scale: 0.2 },
  "512 channels": { query: [1, 3, 7, 512], keys: [1, 35, 512], heads: 1, scale: 0.05 },
};

describe("attention", () => {
  describe.each(["f32", "f16"] as const)("in %s", (type) => {
    it.each(Object.keys(CASES))("%s", async (name) => {
      const { job, expected } = prepare(CASES[name] ?? { query: [1, 1, 1, 1], keys: [1, 1, 1], heads: 1 }, type);
      await expectOperator(gpu, job, expected);
    });
  });

  // Only some, since lavapipe takes a second or more to compile a variant of that kernel.
  it.each(["5 channels, 3 of the values", "two heads of 4 channels, a bias", "160 channels"])("without subgroups: %s", async (name) => {
    const { job, expected } = prepare(CASES[name] ?? { query: [1, 1, 1, 1], keys: [1, 1, 1], heads: 1 }, "f32");
    await expectOperator(gpu, job, expected, { traits: withoutSubgroups() });
  });

  it("takes scores whose exponentials would overflow", async () => {
    const { job, expected } = prepare({ query: [1, 3, 5, 8], keys: [9, 9, 8], heads: 1, scale: 300 }, "f32");
    // A score of 600 has an error of 4e-5, and so has its exponential.
    await expectOperator(gpu, job, expected, { tolerance: 2e-4 });
  });

  it("makes the same bits in bands", async () => {
    const { job } = prepare({ query: [2, 40, 7, 8], keys: [3, 5, 8], heads: 1 }, "f32");
    await expectBandsEqualWhole(gpu, job, storedBytes([1, 40, 7, 8]) - 1);
    await expectBandsEqualWhole(gpu, job, storedBytes([1, 40, 7, 8]) - 1, withoutSubgroups());
  });

  it("refuses keys and values that do not fit", () => {
    const shape = { batch: 1, height: 2, width: 3, channels: 12 };
    const attributes = { heads: 1, scale: 1 };
    expect(() => attention.outputShape([shape, { ...shape, channels: 8 }, shape], attributes)).toThrow("attention: expected k with q's channels and v's pixels");
    expect(() => attention.outputShape([shape, shape, { ...shape, width: 4 }], attributes)).toThrow("expected k with q's channels and v's pixels");
    expect(() => attention.outputShape([shape, shape, shape, shape], attributes)).toThrow("expected a bias of k's pixels × 1");
    expect(() => attention.outputShape([shape, shape, shape], { heads: 6, scale: 1 })).toThrow("6 heads need a multiple of four channels each");
    expect(() => attention.outputShape([{ ...shape, channels: 516 }, { ...shape, channels: 516 }, shape], attributes)).toThrow("a head has at most 512 channels");
  });
});
