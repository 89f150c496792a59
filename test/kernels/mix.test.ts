import { beforeAll, describe, expect, it } from "vitest";
import { convert } from "../../src/kernels/convert/convert.ts";
import { mix } from "../../src/kernels/mix/mix.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { buildTensor, randomTensor, type ReferenceTensor, valueAt } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, storedBytes } from "./operators.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

describe("mix", () => {
  it.each([
    [1, 1, 1, 1],
    [2, 3, 7, 5],
    [2, 5, 1, 33],
  ] as const)("of %i×%i×%i×%i", async (...shape) => {
    for (const elementType of ["f32", "f16"] as const) {
      const [first, second, spatial] = [1, 2, 3].map((seed) => randomTensor(shape, seed, 2, elementType)) as [ReferenceTensor, ReferenceTensor, ReferenceTensor];
      const channel = randomTensor([shape[0], 1, 1, shape[3]], 4, 2, elementType);
      const expected = buildTensor(shape, (batch, row, column, c) => {
        const weight = 1 / (1 + Math.exp(-valueAt(channel, batch, 0, 0, c) - valueAt(spatial, batch, row, column, c)));
        return weight * valueAt(first, batch, row, column, c) + (1 - weight) * valueAt(second, batch, row, column, c);
      });
      await expectOperator(gpu, { operator: mix, attributes: {}, inputs: [first, second, channel, spatial], elementType }, expected);
    }
  });

  it("makes the same bits in bands", async () => {
    const shape = [2, 40, 7, 5] as const;
    const [first, second, spatial] = [1, 2, 3].map((seed) => randomTensor(shape, seed)) as [ReferenceTensor, ReferenceTensor, ReferenceTensor];
    await expectBandsEqualWhole(gpu, { operator: mix, attributes: {}, inputs: [first, second, randomTensor([2, 1, 1, 5], 4), spatial] }, storedBytes(shape) / 2 - 1);
  });

  it("refuses shapes that do not fit", () => {
    const shape = { batch: 1, height: 2, width: 3, channels: 4 };
    expect(() => mix.outputShape([shape, shape, shape, shape], {})).toThrow("mix: expected equal shapes, and one pixel of channel weights; inputs: 1×2×3×4, 1×2×3×4, 1×2×3×4, 1×2×3×4");
  });
});

describe("convert", () => {
  it.each([
    ["f32", "f32"],
    ["f32", "f16"],
    ["f16", "f32"],
    ["f16", "f16"],
  ] as const)("from %s to %s", async (from, to) => {
    const tolerance = to === "f16" || from === "f16" ? 2e-3 : 1e-5;
    for (const [shape, channels] of [[[2, 3, 7, 5], 5], [[1, 2, 9, 1], 3], [[2, 1, 3, 1], 6]] as const) {
      const input = randomTensor(shape, 1, 1, from);
      const expected = buildTensor([shape[0], shape[1], shape[2], channels], (batch, row, column, c) => 2 * valueAt(input, batch, row, column, shape[3] === 1 ? 0 : c) - 1);
      const attributes = { scale: 2, offset: -1, elementType: to, channels };
      await expectOperator(gpu, { operator: convert, attributes, inputs: [input], elementType: from }, expected, { tolerance });
    }
  });

  it("makes the same bits in bands", async () => {
    const shape = [2, 40, 7, 3] as const;
    const attributes = { scale: 2, offset: -1, elementType: "f32", channels: 3 } as const;
    await expectBandsEqualWhole(gpu, { operator: convert, attributes, inputs: [randomTensor(shape, 1)] }, storedBytes(shape) / 2 - 1);
  });

  it("refuses other numbers of channels", () => {
    const attributes = { scale: 1, offset: 0, elementType: "f32", channels: 3 } as const;
    expect(() => convert.outputShape([{ batch: 1, height: 1, width: 1, channels: 2 }], attributes)).toThrow("convert: cannot make 3 channels; inputs: 1×1×1×2");
  });
});
