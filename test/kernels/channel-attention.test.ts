import { beforeAll, describe, expect, it } from "vitest";
import { type ChannelAttentionAttributes, channelAttentionWeights } from "../../src/kernels/channel-attention/channel-attention.ts";
import { type ElementType, vectors } from "../../src/kernels/tensor.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { channelAttention } from "../reference/channel-attention.ts";
import { buildTensor, randomTensor, type ReferenceShape, type ReferenceTensor, valueAt } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, type OperatorCase, randomWeight, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

function prepare(shape: ReferenceShape, heads: number, type: ElementType): OperatorCase<ChannelAttentionAttributes> {
  const inputs = [1, 2].map((seed) => randomTensor(shape, seed, 1, type));
  return { operator: channelAttentionWeights, attributes: { heads, temperature: randomWeight("temperature", [heads] as const, 3, "f32", 4) }, inputs, elementType: type };
}

/**
 * The matrix that the operator makes, row = channel of v, column = channel of the result. The reference gives the product with
 * a v: with the unit vector of channel k in pixel k it is column k of the weights.
 */
function expectedMatrix({ inputs, attributes }: OperatorCase<ChannelAttentionAttributes>): ReferenceTensor {
  const [query, key] = inputs as [ReferenceTensor, ReferenceTensor];
  const [batch, height, width, channels] = query.shape;
  // As many pixels as channels; q and k of the pixels added are zero and change no sum.
  const rows = Math.max(height, Math.ceil(channels / width));
  const grow = (tensor: ReferenceTensor): ReferenceTensor =>
    buildTensor([batch, rows, width, channels], (b, row, column, channel) => (row < height ? valueAt(tensor, b, row, column, channel) : 0));
  const units = buildTensor([batch, rows, width, channels], (_, row, column, channel) => (row * width + column === channel ? 1 : 0));
  const columns = channelAttention(grow(query), grow(key), units, attributes.heads, attributes.temperature.data);
  return buildTensor([batch, 1, vectors(channels) * 4, channels], (b, _, row, column) =>
    row < channels ? valueAt(columns, b, Math.floor(row / width), row % width, column) : 0,
  );
}

/** Shape and heads: 1, 2, 3, 4, 5 and 8 channels a head, heads that lie across vectors of four. */
const CASES: [ReferenceShape, number][] = [
  [[2, 3, 7, 5], 5],
  [[2, 5, 7, 16], 8],
  [[1, 9, 5, 9], 3],
  [[2, 4, 7, 32], 8],
  [[1, 7, 7, 10], 2],
  [[2, 1, 7, 16], 2],
  [[1, 11, 1, 33], 11],
  [[1, 1, 1, 4], 2],
];

describe("channelAttentionWeights", () => {
  describe.each(["f32", "f16"] as const)("in %s", (type) => {
    it.each(CASES)("%j, %i heads", async (shape, heads) => {
      const job = prepare(shape, heads, type);
      // The result is stored in f32 in either case.
      await expectOperator(gpu, job, expectedMatrix(job), { tolerance: 1e-5 });
    });
  });

  it("adds up a picture of many chunks", async () => {
    const job = prepare([1, 301, 101, 4], 2, "f32");
    await expectOperator(gpu, job, expectedMatrix(job));
  });

  it("gives equal weights to channels that are zero everywhere", async () => {
    const shape: ReferenceShape = [1, 3, 7, 4];
    const zeros = buildTensor(shape, () => 0);
    const job = { ...prepare(shape, 2, "f32"), inputs: [zeros, zeros] };
    await expectOperator(gpu, job, buildTensor([1, 1, 4, 4], (_b, _r, row, column) => (row >> 1 === column >> 1 ? 0.5 : 0)));
  });

  it.each([1, 2])("makes the same bits in bands, batch of %i", async (batch) => {
    const shape: ReferenceShape = [batch, 601, 64, 4];
    await expectBandsEqualWhole(gpu, prepare(shape, 2, "f32"), storedBytes([1, 600, 64, 4]));
  });

  it("refuses queries and keys that differ, heads that do not divide the channels, a wrong number of temperatures", () => {
    const shape = { batch: 1, height: 2, width: 2, channels: 6 };
    const temperature = randomWeight("attn.temperature", [3] as const, 1);
    const message = (inputs: (typeof shape)[], heads: number) => () => channelAttentionWeights.outputShape(inputs, { heads, temperature });
    expect(message([shape, { ...shape, width: 3 }], 3)).toThrow("channelAttentionWeights: expected q and k of equal shape; inputs: 1×2×2×6, 1×2×3×6");
    expect(message([shape, { ...shape }], 4)).toThrow("4 heads do not divide the channels, or attn.temperature has 3 values");
    expect(message([shape, { ...shape }], 2)).toThrow("attn.temperature has 3 values");
  });
});
