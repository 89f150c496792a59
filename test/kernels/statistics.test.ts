import * as fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { GraphBuilder } from "../../src/graph/graph.ts";
import { compile } from "../../src/graph/plan.ts";
import { covariance } from "../../src/kernels/covariance/covariance.ts";
import { fill } from "../../src/kernels/fill/fill.ts";
import { groupNorm } from "../../src/kernels/group-norm/group-norm.ts";
import { groupStatistics } from "../../src/kernels/group-statistics/group-statistics.ts";
import { projectedStatistics } from "../../src/kernels/projected-statistics/projected-statistics.ts";
import { scaleKeys } from "../../src/kernels/scale-keys/scale-keys.ts";
import { PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { conv2d as convolution } from "../reference/conv2d.ts";
import { covariance as covarianceReference, groupStatistics as groupStatisticsReference, projectedStatistics as projectedReference, scaleKeys as scaleKeysReference } from "../reference/statistics.ts";
import { buildTensor, mapTensor, randomTensor, type ReferenceShape, type ReferenceTensor, relativeError, valueAt } from "../reference/tensor.ts";
import { expectBandsEqualWhole, expectOperator, randomWeight, runOperator, storedBytes } from "./operators.ts";
import { findRaces, runOf } from "./races.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** Channels × inputs × 1 × 1. */
const matrix = (outputs: number, inputs: number) => randomWeight("matrix", [outputs, inputs, 1, 1] as const, 2);
const EPSILON = 1e-5;

describe("groupStatistics", () => {
  it.each([
    [[1, 1, 1, 4], 4],
    [[2, 5, 7, 12], 4],
    [[2, 3, 5, 20], 5],
    [[1, 3, 3, 96], 1],
  ] as const)("of %j, %i groups", async (shape, groups) => {
    for (const elementType of ["f32", "f16"] as const) {
      const input = randomTensor(shape, 1, 1, elementType);
      const expected = groupStatisticsReference(input, groups, EPSILON);
      await expectOperator(gpu, { operator: groupStatistics, attributes: { groups, epsilon: EPSILON }, inputs: [input], elementType }, expected, { tolerance: 1e-5 });
    }
  });

  it("is what group norm does", async () => {
    const input = randomTensor([2, 5, 7, 12], 1);
    const [weight, bias] = [randomWeight("weight", [12] as const, 2), randomWeight("bias", [12] as const, 3)];
    const statistics = { shape: [2, 1, 2, 12] as const, data: Float64Array.from(await runOperator(gpu, { operator: groupStatistics, attributes: { groups: 4, epsilon: EPSILON }, inputs: [input] })) };
    const normed = await runOperator(gpu, { operator: groupNorm, attributes: { groups: 4, epsilon: EPSILON, weight, bias }, inputs: [input] });
    const expected = buildTensor(input.shape, (batch, row, column, c) => {
      const [mean, scale] = [valueAt(statistics, batch, 0, 0, c), valueAt(statistics, batch, 0, 1, c)];
      return (valueAt(input, batch, row, column, c) - mean) * scale * (weight.data[c] ?? 0) + (bias.data[c] ?? 0);
    });
    expect(relativeError(normed, expected.data)).toBeLessThanOrEqual(1e-6);
  });

  it("makes the same bits in bands of several chunks", async () => {
    const shape = [2, 300, 101, 4] as const;
    await expectBandsEqualWhole(gpu, { operator: groupStatistics, attributes: { groups: 1, epsilon: EPSILON }, inputs: [randomTensor(shape, 1)] }, storedBytes(shape) / 4);
  });

  it("refuses groups that do not divide the channels, and channels that do not fill vectors", () => {
    const shape = { batch: 1, height: 1, width: 1, channels: 6 };
    expect(() => groupStatistics.outputShape([shape], { groups: 4, epsilon: 1 })).toThrow("groupStatistics: 4 groups or vectors of four do not divide the channels; inputs: 1×1×1×6");
    expect(() => groupStatistics.outputShape([shape], { groups: 2, epsilon: 1 })).toThrow("2 groups or vectors of four");
  });
});

describe("covariance", () => {
  it.each([
    [1, 1, 1, 1],
    [2, 3, 7, 5],
    [1, 5, 1, 36],
    [2, 2, 9, 66],
    [1, 40, 101, 7],
  ] as const)("of %i×%i×%i×%i", async (...shape) => {
    for (const elementType of ["f32", "f16"] as const) {
      const input = randomTensor(shape, 1, 1, elementType);
      await expectOperator(gpu, { operator: covariance, attributes: {}, inputs: [input], elementType }, covarianceReference(input), { tolerance: 1e-5 });
    }
  });

  it("of any shape", async () => {
    const shapes = fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 40 }));
    await fc.assert(
      fc.asyncProperty(shapes, fc.integer(), async (shape, seed) => {
        const input = randomTensor(shape, seed);
        await expectOperator(gpu, { operator: covariance, attributes: {}, inputs: [input] }, covarianceReference(input));
      }),
      { numRuns: 20 },
    );
  });

  it("keeps its digits where the means are far larger than the deviations", async () => {
    const input = mapTensor(randomTensor([1, 37, 41, 6], 4), (value, channel) => Math.fround(value + 100 * (channel - 2)));
    const actual = await runOperator(gpu, { operator: covariance, attributes: {}, inputs: [input] });
    const expected = covarianceReference(input).data;
    expect(relativeError(actual.subarray(6), expected.subarray(6))).toBeLessThanOrEqual(1e-5);
  });

  it("makes the same bits in bands of several chunks", async () => {
    const shape = [2, 60, 101, 6] as const;
    await expectBandsEqualWhole(gpu, { operator: covariance, attributes: {}, inputs: [randomTensor(shape, 1)] }, storedBytes(shape) / 4);
  });
});

describe("projectedStatistics", () => {
  it.each([
    [3, 4, 2],
    [36, 60, 5],
    [5, 8, 8],
    [20, 96, 1],
  ] as const)("of %i channels projected to %i in %i groups, as if they had been", async (inputs, outputs, groups) => {
    const x = randomTensor([2, 5, 7, inputs], 1);
    const [weight, bias] = [matrix(outputs, inputs), randomWeight("bias", [outputs] as const, 3)];
    const attributes = { weight, bias, groups, epsilon: EPSILON };
    const statistics = covarianceReference(x);
    const expected = projectedReference(statistics, weight.data, bias.data, groups, EPSILON);
    await expectOperator(gpu, { operator: projectedStatistics, attributes, inputs: [statistics] }, expected);
    // The reference against the definition: statistics of the projected tensor itself.
    const direct = groupStatisticsReference(convolution(x, weight, bias.data), groups, EPSILON);
    const less = mapTensor(expected, (value) => value);
    for (let i = 0; i < less.data.length; i++) if (Math.floor(i / outputs) % 2 === 0) less.data[i] = (less.data[i] ?? 0) + (bias.data[i % outputs] ?? 0);
    expect(relativeError(less.data, direct.data)).toBeLessThanOrEqual(1e-12);
  });

  it("refuses other tensors than means with covariances, and weights that do not fit", () => {
    const shape = { batch: 1, height: 1, width: 4, channels: 3 };
    const attributes = { weight: matrix(8, 3), bias: randomWeight("bias", [8] as const, 3), groups: 2, epsilon: EPSILON };
    expect(projectedStatistics.outputShape([shape], attributes)).toEqual({ batch: 1, height: 1, width: 2, channels: 8 });
    expect(() => projectedStatistics.outputShape([{ ...shape, width: 3 }], attributes)).toThrow("projectedStatistics: expected means and covariances");
    expect(() => projectedStatistics.outputShape([shape], { ...attributes, weight: matrix(8, 4) })).toThrow("weight matrix is 8×4×1×1");
    expect(() => projectedStatistics.outputShape([shape], { ...attributes, groups: 3 })).toThrow("3 groups or vectors of four do not divide 8 channels");
    expect(() => projectedStatistics.outputType?.(["f16"], attributes)).toThrow("must be f32");
  });
});

describe("scaleKeys", () => {
  const statistics = (shape: ReferenceShape, seed: number): ReferenceTensor => randomTensor([shape[0], 1, 2, shape[3] - 1], seed);

  it.each([
    [1, 1, 1, 5],
    [2, 3, 5, 13],
    [1, 5, 3, 141],
  ] as const)("of %i×%i×%i×%i", async (...shape) => {
    for (const elementType of ["f32", "f16"] as const) {
      const keys = randomTensor(shape, 1, 1, elementType);
      const of = statistics(shape, 2);
      await expectOperator(gpu, { operator: scaleKeys, attributes: {}, inputs: [keys, of], elementType: [elementType, "f32"] }, scaleKeysReference(keys, of));
    }
  });

  it("of any shape", async () => {
    const shapes = fc.tuple(fc.integer({ min: 1, max: 2 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 50 }));
    await fc.assert(
      fc.asyncProperty(shapes, fc.integer(), async ([batch, height, width, vectors], seed) => {
        const keys = randomTensor([batch, height, width, 4 * vectors + 1], seed);
        const of = statistics(keys.shape, seed + 1);
        await expectOperator(gpu, { operator: scaleKeys, attributes: {}, inputs: [keys, of] }, scaleKeysReference(keys, of));
      }),
      { numRuns: 20 },
    );
  });

  it("makes the same bits in bands", async () => {
    const shape = [2, 40, 7, 5] as const;
    await expectBandsEqualWhole(gpu, { operator: scaleKeys, attributes: {}, inputs: [randomTensor(shape, 1), statistics(shape, 2)] }, storedBytes(shape) / 2 - 1);
  });

  it("refuses keys without a bias, and statistics that do not fit", () => {
    const keys = { batch: 1, height: 2, width: 3, channels: 5 };
    const of = { batch: 1, height: 1, width: 2, channels: 4 };
    expect(() => scaleKeys.outputShape([{ ...keys, channels: 4 }, of], {})).toThrow("scaleKeys: expected a multiple of four channels and one more");
    expect(() => scaleKeys.outputShape([keys, { ...of, channels: 8 }], {})).toThrow("expected statistics of 1×1×2×4");
    expect(() => scaleKeys.outputType?.(["f32", "f16"], {})).toThrow("must be f32");
  });
});

describe("fill", () => {
  it.each(["f32", "f16"] as const)("in %s", async (elementType) => {
    for (const [shape, channels] of [[[2, 3, 7, 5], 1], [[1, 1, 1, 1], 6]] as const) {
      const expected = buildTensor([shape[0], shape[1], shape[2], channels], () => 0.75);
      await expectOperator(gpu, { operator: fill, attributes: { value: 0.75, channels }, inputs: [randomTensor(shape, 1, 1, elementType)], elementType }, expected);
    }
  });

  it("makes the same bits in bands", async () => {
    const shape = [2, 40, 7, 4] as const;
    await expectBandsEqualWhole(gpu, { operator: fill, attributes: { value: 0.75, channels: 4 }, inputs: [randomTensor(shape, 1)] }, storedBytes(shape) / 2 - 1);
  });
});

describe("kernels with workgroup memory", () => {
  const builder = new GraphBuilder();
  const moments = builder.add("moments", covariance, [builder.input("x", { batch: 1, height: 2, width: 3, channels: 5 })], {});
  const attributes = { weight: matrix(44, 5), bias: randomWeight("bias", [44] as const, 3), groups: 2, epsilon: EPSILON };
  const statistics = builder.add("statistics", projectedStatistics, [moments], attributes);
  builder.output(builder.add("keys", scaleKeys, [builder.input("unscaled", { batch: 1, height: 1, width: 2, channels: 45 }), statistics], {}));
  const shared = compile(builder.build(), PORTABLE_TRAITS).dispatches.filter(({ code }) => code.includes("var<workgroup>"));

  it("are here", () => expect(shared.map(({ kernel }) => kernel.name)).toEqual(["projected-statistics", "scale-keys"]));

  it.each(shared.map((dispatch) => [dispatch.kernel.name, dispatch] as const))("%s has no race, and one without its barriers", (_, dispatch) => {
    const run = runOf(dispatch);
    expect(findRaces(run)).toEqual({ races: [], errors: [] });
    expect(findRaces({ ...run, code: run.code.replaceAll("workgroupBarrier();", "") }).races.length).toBeGreaterThan(0);
  });
});
