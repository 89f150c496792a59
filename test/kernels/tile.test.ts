import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { GraphBuilder, type Tensor } from "../../src/graph/graph.ts";
import { compile } from "../../src/graph/plan.ts";
import { channelAttentionOfSums, channelAttentionSums, channelAttentionWeights } from "../../src/kernels/channel-attention/channel-attention.ts";
import { groupStatistics } from "../../src/kernels/group-statistics/group-statistics.ts";
import { normalise } from "../../src/kernels/normalise/normalise.ts";
import type { Shape } from "../../src/kernels/tensor.ts";
import { gather } from "../../src/kernels/tile/gather.ts";
import { paste } from "../../src/kernels/tile/paste.ts";
import { pool, pooledStatistics } from "../../src/kernels/tile/pool.ts";
import { correctStatistics, regionStatistics } from "../../src/kernels/tile/region-statistics.ts";
import { PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openNullGpu, openTestGpu, runPlan, type TestGpu } from "../gpu.ts";
import { add } from "../reference/elementwise.ts";
import { groupStatistics as statisticsReference } from "../reference/statistics.ts";
import { buildTensor, mapTensor, randomTensor, type ReferenceShape, type ReferenceTensor, valueAt } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, randomWeight, runOperator, storedBytes } from "./operators.ts";
import { findRaces, runOf } from "./races.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const EPSILON = 1e-5;
const row = (...numbers: number[]): ReferenceTensor => ({ shape: [1, 1, 1, numbers.length], data: Float64Array.from(numbers) });
const cut = (input: ReferenceTensor, [top, bottom]: readonly [number, number], [left, right]: readonly [number, number]): ReferenceTensor =>
  buildTensor([input.shape[0], bottom - top, right - left, input.shape[3]], (b, y, x, c) => valueAt(input, b, top + y, left + x, c));

describe("gather", () => {
  const gathered = (input: ReferenceTensor, rows: readonly number[], columns: readonly number[]): ReferenceTensor =>
    buildTensor([input.shape[0], rows.length, columns.length, input.shape[3]], (b, y, x, c) => {
      const [sourceRow = 0, sourceColumn = 0] = [rows[y], columns[x]];
      return sourceRow < 0 || sourceColumn < 0 ? 0 : valueAt(input, b, sourceRow, sourceColumn, c);
    });

  it("picks rows and columns of any shape", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 70 }), fc.constantFrom(1, 3, 5, 33), fc.nat(), async (batch, height, width, channels, seed) => {
        for (const elementType of ["f32", "f16"] as const) {
          const input = randomTensor([batch, height, width, channels], seed, 1, elementType);
          const rows = Array.from({ length: 1 + (seed % 7) }, (_, i) => ((i * 5 + seed) % (height + 1)) - 1);
          const columns = Array.from({ length: 1 + (seed % 11) }, (_, i) => ((i * 7 + seed) % (width + 1)) - 1);
          const job = { operator: gather, attributes: {}, inputs: [input, row(...rows), row(...columns)], elementType: [elementType, "f32", "f32"] as const };
          await expectOperator(gpu, job, gathered(input, rows, columns), { tolerance: 0 });
        }
      }),
      { numRuns: 6 },
    );
  });

  it("makes the same bits where neither input nor output fits a binding", async () => {
    const rows = Array.from({ length: 50 }, (_, i) => (i * 17) % 40);
    const inputs = [randomTensor([2, 40, 8, 5], 1), row(...rows), row(7, 0, 3, 3, -1, 2)];
    await expectBandsEqualWhole(gpu, { operator: gather, attributes: {}, inputs }, storedBytes([1, 10, 8, 5]));
  });

  it("refuses tables that are not rows of numbers", () => {
    const shape = { batch: 1, height: 4, width: 4, channels: 1 };
    expect(() => gather.outputShape([shape, shape, shape], {})).toThrow("gather: expected rows and columns of 1×1×1×count");
  });
});

describe("paste", () => {
  const pasted = (picture: ReferenceTensor, tile: ReferenceTensor, [top, left, isFirst]: readonly [number, number, number], rows: ReferenceTensor, columns: ReferenceTensor): ReferenceTensor =>
    buildTensor(picture.shape, (b, y, x, c) => {
      const inside = y >= top && y < top + tile.shape[1] && x >= left && x < left + tile.shape[2];
      const weight = inside ? valueAt(rows, 0, 0, 0, y - top) * valueAt(columns, 0, 0, 0, x - left) : 0;
      return (isFirst ? 0 : valueAt(picture, b, y, x, c)) + (inside ? weight * valueAt(tile, b, y - top, x - left, c) : 0);
    });

  it.each([
    [1, 7, 9, 3, 3, 4, [2, 5, 0]],
    [2, 5, 5, 5, 5, 5, [0, 0, 1]],
    [1, 6, 70, 1, 2, 65, [4, 5, 0]],
  ] as const)("adds to %i×%i×%i×%i a tile of %i×%i at %j", async (batch, height, width, channels, tileHeight, tileWidth, place) => {
    for (const elementType of ["f32", "f16"] as const) {
      const picture = randomTensor([batch, height, width, channels], 1);
      const tile = randomTensor([batch, tileHeight, tileWidth, channels], 2, 1, elementType);
      const [rows, columns] = [randomTensor([1, 1, 1, tileHeight], 3), randomTensor([1, 1, 1, tileWidth], 4)];
      const job = { operator: paste, attributes: {}, inputs: [picture, tile, row(...place, 0), rows, columns], elementType: ["f32", elementType, "f32", "f32", "f32"] as const };
      await expectOperator(gpu, job, pasted(picture, tile, place, rows, columns), { tolerance: 1e-6 });
    }
  });

  it("makes the same bits in bands", async () => {
    const inputs = [randomTensor([2, 40, 8, 5], 1), randomTensor([2, 6, 5, 5], 2), row(30, 1, 0, 0), randomTensor([1, 1, 1, 6], 3), randomTensor([1, 1, 1, 5], 4)];
    await expectBandsEqualWhole(gpu, { operator: paste, attributes: {}, inputs }, storedBytes([1, 20, 8, 5]));
  });

  it("refuses a tile with other channels, and weights for another size", () => {
    const shape = (height: number, channels: number): Shape => ({ batch: 1, height, width: 4, channels });
    const numbers = (channels: number): Shape => ({ batch: 1, height: 1, width: 1, channels });
    expect(() => paste.outputShape([shape(9, 3), shape(2, 1), numbers(4), numbers(2), numbers(4)], {})).toThrow("the tile must have the picture's channels");
    expect(() => paste.outputShape([shape(9, 3), shape(2, 3), numbers(4), numbers(3), numbers(4)], {})).toThrow("paste: expected 1×1×1×4, 1×1×1×2, 1×1×1×4");
  });
});

describe("statistics of rectangles", () => {
  const shape = [1, 24, 37, 12] as const;
  const regions = [[0, 24, 0, 37], [3, 5, 30, 37], [23, 24, 0, 1], [0, 24, 7, 8]] as const;
  const table: ReferenceTensor = { shape: [1, 1, regions.length, 4], data: Float64Array.from(regions.flatMap(([top, bottom, left, right]) => [top / 24, bottom / 24, left / 37, right / 37])) };

  it.each(["f32", "f16"] as const)("are those of the parts, %s", async (elementType) => {
    const input = randomTensor(shape, 1, 1, elementType);
    const each = regions.map(([top, bottom, left, right]) => statisticsReference(cut(input, [top, bottom], [left, right]), 3, EPSILON));
    const expected = buildTensor([1, regions.length, 2, 12], (_, region, column, channel) => valueAt(each[region] ?? input, 0, 0, column, channel));
    await expectOperator(gpu, { operator: regionStatistics, attributes: { groups: 3, epsilon: EPSILON }, inputs: [input, table], elementType: [elementType, "f32"] }, expected, { tolerance: 1e-5 });
  });

  it("are the same bits in bands of several chunks", async () => {
    const large = [1, 300, 101, 8] as const;
    const region: ReferenceTensor = { shape: [1, 1, 2, 4], data: Float64Array.of(0, 1, 0, 1, 0.4, 0.9, 0.5, 0.7) };
    await expectBandsEqualWhole(gpu, { operator: regionStatistics, attributes: { groups: 2, epsilon: EPSILON }, inputs: [randomTensor(large, 1), region] }, storedBytes(large) / 3);
  });

  it("of a rectangle smaller than a pixel are those of one pixel", async () => {
    const input = randomTensor([1, 2, 2, 4], 1);
    const region: ReferenceTensor = { shape: [1, 1, 1, 4], data: Float64Array.of(0.5, 0.51, 0, 0.1) };
    const expected = statisticsReference(cut(input, [1, 2], [0, 1]), 1, EPSILON);
    await expectOperator(gpu, { operator: regionStatistics, attributes: { groups: 1, epsilon: EPSILON }, inputs: [input, region] }, expected);
  });

  it("of all parts, pooled, are those of the whole", async () => {
    const input = mapTensor(randomTensor(shape, 2), (value) => 3 + 2 * value);
    const expected = statisticsReference(input, 4, EPSILON);
    let before = mapTensor(expected, () => Number.NaN);
    for (const [i, [left, right]] of ([[0, 16], [16, 20], [20, 37]] as const).entries()) {
      const part = statisticsReference(cut(input, [0, 24], [left, right]), 4, EPSILON);
      const share = row((right - left) / 37, i === 0 ? 1 : 0, 0, 0);
      before = { shape: part.shape, data: Float64Array.from(await runOperator(gpu, { operator: pool, attributes: { kind: "groupStatistics", epsilon: EPSILON }, inputs: [before, part, share] })) };
    }
    await expectOperator(gpu, { operator: pooledStatistics, attributes: { epsilon: EPSILON }, inputs: [before] }, expected, { tolerance: 1e-5 });
  });

  it("pools sums and maxima", async () => {
    const [before, part] = [randomTensor([1, 2, 3, 5], 1), randomTensor([1, 2, 3, 5], 2)];
    for (const elementType of ["f32", "f16"] as const) {
      const rounded = [before, part].map((tensor, i) => randomTensor(tensor.shape, i + 1, 1, elementType)) as [ReferenceTensor, ReferenceTensor];
      const value = (i: 0 | 1, index: number): number => rounded[i].data[index] ?? 0;
      const run = (attributes: Parameters<typeof pool.outputShape>[1], isFirst: number) => ({ operator: pool, attributes, inputs: [...rounded, row(0.5, isFirst, 0, 0)], elementType: [elementType, elementType, "f32"] as const });
      const made = (of: (index: number) => number): ReferenceTensor => ({ shape: before.shape, data: Float64Array.from(before.data, (_, i) => of(i)) });
      await expectOperator(gpu, run({ kind: "sum", factor: 0.25 }, 0), made((i) => value(0, i) + 0.25 * value(1, i)));
      await expectOperator(gpu, run({ kind: "sum", factor: 0.25 }, 1), made((i) => 0.25 * value(1, i)));
      await expectOperator(gpu, run({ kind: "maximum" }, 0), made((i) => Math.max(value(0, i), value(1, i))), { tolerance: 0 });
      await expectOperator(gpu, run({ kind: "maximum" }, 1), made((i) => value(1, i)), { tolerance: 0 });
    }
  });

  it("are corrected to those of the whole, where part and whole differ as they do in the reduced picture", async () => {
    const reduced = randomTensor([1, 8, 8, 8], 3);
    // A picture that is everywhere the same function of the reduced one.
    const picture = mapTensor(reduced, (value) => 5 * value - 2);
    const statistics = (tensor: ReferenceTensor): ReferenceTensor => statisticsReference(tensor, 2, 1e-12);
    const parts = [[0, 3], [3, 8]] as const;
    const each = parts.map((rows) => statistics(cut(reduced, rows, [0, 8])));
    const regionTable = buildTensor([1, 2, 2, 8], (_, region, column, channel) => valueAt(each[region] ?? reduced, 0, 0, column, channel));
    for (const [k, rows] of parts.entries()) {
      const inputs = [statistics(cut(picture, rows, [0, 8])), statistics(reduced), regionTable, row(k)];
      await expectOperator(gpu, { operator: correctStatistics, attributes: {}, inputs }, statistics(picture), { tolerance: 1e-5 });
    }
  });
});

describe("normalise", () => {
  it.each([
    [1, 1, 1, 4],
    [2, 5, 7, 12],
    [1, 3, 65, 36],
  ] as const)("uses the statistics that it is given, %i×%i×%i×%i", async (...shape: ReferenceShape) => {
    for (const elementType of ["f32", "f16"] as const) {
      const channels = shape[3];
      const [input, statistics] = [randomTensor(shape, 1, 1, elementType), randomTensor([shape[0], 1, 2, channels], 2)];
      const [weight, bias] = [randomWeight("weight", [channels] as const, 3), randomWeight("bias", [channels] as const, 4)];
      const expected = buildTensor(shape, (b, y, x, c) => {
        const value = (valueAt(input, b, y, x, c) - valueAt(statistics, b, 0, 0, c)) * valueAt(statistics, b, 0, 1, c) * (weight.data[c] ?? 0) + (bias.data[c] ?? 0);
        return value / (1 + Math.exp(-value));
      });
      const job = { operator: normalise, attributes: { weight, bias, activation: { kind: "silu" } as const }, inputs: [input, statistics], elementType: [elementType, "f32"] as const };
      await expectOperator(gpu, job, expected);
      const residual = randomTensor(shape, 5, 1, elementType);
      const both = { ...job, attributes: { ...job.attributes, residual: true }, inputs: [...job.inputs, residual], elementType: [elementType, "f32", elementType] as const };
      await expectOperator(gpu, both, add(expected, residual));
    }
  });

  it("makes the same bits in bands", async () => {
    const [weight, bias] = [randomWeight("weight", [8] as const, 3), randomWeight("bias", [8] as const, 4)];
    const inputs = [randomTensor([2, 40, 8, 8], 1), randomTensor([2, 1, 2, 8], 2), randomTensor([2, 40, 8, 8], 5)];
    await expectBandsEqualWhole(gpu, { operator: normalise, attributes: { weight, bias, residual: true }, inputs }, storedBytes([1, 20, 8, 8]));
  });

  it("refuses statistics of another tensor", () => {
    const [weight, bias] = [randomWeight("weight", [8] as const, 3), randomWeight("bias", [8] as const, 4)];
    const shape = { batch: 1, height: 4, width: 4, channels: 8 };
    expect(() => normalise.outputShape([shape, { ...shape, height: 1 }], { weight, bias })).toThrow("normalise: the statistics are of another tensor");
  });
});

describe("channelAttentionSums", () => {
  it.each([
    [5, 5],
    [16, 8],
    [48, 6],
  ])("of parts, added, give the weights of the whole: %i channels, %i heads", async (channels, heads) => {
    const attributes = { heads, temperature: randomWeight("temperature", [heads] as const, 3) };
    const [query, key] = [randomTensor([1, 9, 13, channels], 1), randomTensor([1, 9, 13, channels], 2)];
    const expected = { shape: [1, 1, Math.ceil(channels / 4) * 4, channels] as const, data: Float64Array.from(await runOperator(gpu, { operator: channelAttentionWeights, attributes, inputs: [query, key] })) };
    const parts = await Promise.all([[0, 4], [4, 9]].map((rows) => runOperator(gpu, { operator: channelAttentionSums, attributes, inputs: [query, key].map((tensor) => cut(tensor, rows as [number, number], [0, 13])) })));
    const sums: ReferenceTensor = { shape: [1, (parts[0]?.length ?? 0) / 24, 6, 4], data: Float64Array.from(parts[0] ?? [], (value, i) => value + (parts[1]?.[i] ?? 0)) };
    await expectOperator(gpu, { operator: channelAttentionOfSums, attributes: { ...attributes, channels }, inputs: [sums] }, expected);
  });
});

describe("kernels", () => {
  const graphOf = (elementType: "f32" | "f16", channels = 8) => {
    const builder = new GraphBuilder();
    const input = (name: string, height: number, width: number, of = channels, type: "f32" | "f16" = "f32"): Tensor => builder.input(name, { batch: 1, height, width, channels: of }, type);
    const x = input("x", 9, 7, channels, elementType);
    const [rows, columns, place, regions, part] = [input("rows", 1, 1, 5), input("columns", 1, 1, 6), input("place", 1, 1, 4), input("regions", 1, 2, 4), input("part", 1, 1, 1)];
    const tile = builder.add("tile", gather, [x, rows, columns], {});
    builder.output(builder.add("pasted", paste, [input("picture", 9, 7), tile, place, rows, columns], {}));
    const statistics = builder.add("statistics", groupStatistics, [x], { groups: 2, epsilon: EPSILON });
    const each = builder.add("each", regionStatistics, [x, regions], { groups: 2, epsilon: EPSILON });
    const pooled = builder.add("pooled", pool, [input("before", 1, 2), statistics, place], { kind: "groupStatistics", epsilon: EPSILON });
    const corrected = builder.add("corrected", correctStatistics, [statistics, builder.add("whole", pooledStatistics, [pooled], { epsilon: EPSILON }), each, part], {});
    const [weight, bias] = [randomWeight("weight", [channels] as const, 1), randomWeight("bias", [channels] as const, 2)];
    builder.output(builder.add("normalised", normalise, [x, corrected], { weight, bias }));
    const attributes = { heads: 2, temperature: randomWeight("temperature", [2] as const, 3) };
    const sums = builder.add("sums", channelAttentionSums, [x, x], attributes);
    builder.output(builder.add("attention", channelAttentionOfSums, [builder.add("pooled sums", pool, [sums, sums, place], { kind: "sum", factor: 1 })], { ...attributes, channels }));
    return builder.build();
  };

  it.each(["f32", "f16"] as const)("pass Dawn's null backend with WebGPU's default limits, %s", async (elementType) => {
    await runPlan(await openNullGpu(), compile(graphOf(elementType), PORTABLE_TRAITS), {});
  });

  const shared = compile(graphOf("f32"), PORTABLE_TRAITS).dispatches.filter(({ kernel, code }) => kernel.name.startsWith("tile/") && code.includes("var<workgroup>"));

  it("with workgroup memory are here", () => {
    expect(shared.map(({ kernel }) => kernel.name)).toEqual(["tile/region-statistics", "tile/merge-statistics"]);
  });

  it.each(shared.map((dispatch) => [dispatch.kernel.name, dispatch] as const))("%s has no race, and one without its barriers", (_, dispatch) => {
    const run = runOf(dispatch);
    expect(findRaces(run)).toEqual({ races: [], errors: [] });
    expect(findRaces({ ...run, code: run.code.replaceAll("workgroupBarrier();", "") }).races.length).toBeGreaterThan(0);
  });
});
