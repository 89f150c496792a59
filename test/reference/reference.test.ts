import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { gelu, leakyRelu, prelu, relu, relu6, sigmoid, silu, tanh } from "./activations.ts";
import { attention } from "./attention.ts";
import { batchNorm } from "./batch-norm.ts";
import { channelAttention } from "./channel-attention.ts";
import { rgbToYcrcb, ycrcbToRgb } from "./colour.ts";
import { concat, split } from "./concat.ts";
import { conv2d } from "./conv2d.ts";
import { convTranspose2d } from "./conv-transpose2d.ts";
import { add, multiply } from "./elementwise.ts";
import { erf } from "./erf.ts";
import { gatedGelu } from "./gated-gelu.ts";
import { groupNorm } from "./group-norm.ts";
import { instanceNorm } from "./instance-norm.ts";
import { layerNorm } from "./layer-norm.ts";
import { linear } from "./linear.ts";
import { matmul } from "./matmul.ts";
import { minimumMaximum } from "./minimum-maximum.ts";
import { padReflect, padZero } from "./padding.ts";
import { pixelShuffle } from "./pixel-shuffle.ts";
import { averagePool, globalAveragePool, globalMaxPool, maxPool } from "./pooling.ts";
import { resizeBicubic, resizeBilinear, resizeNearest } from "./resize.ts";
import { softmax } from "./softmax.ts";
import {
  at, elementCount, fromNchw, mapTensor, randomTensor, relativeError, roundToFloat16, toNchw, valueAt,
} from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** Agreement with PyTorch in float64; a case may state a wider one. */
const TOLERANCE = 1e-12;

interface StoredTensor {
  shape: number[];
  data: number[];
}

/** One entry of operators.json, written by make.py. */
interface StoredCase {
  operator: string;
  options: Record<string, number | boolean | number[]>;
  tensors: Record<string, StoredTensor>;
  expected: StoredTensor;
}

/** Reads a case's inputs by name, and fails by name where one is missing. */
class Inputs {
  private readonly stored: StoredCase;

  constructor(stored: StoredCase) {
    this.stored = stored;
  }

  tensor(name: string): ReferenceTensor {
    const { shape, data } = this.storedTensor(name);
    return fromNchw(four(shape), data);
  }

  weight(name: string) {
    const { shape, data } = this.storedTensor(name);
    return { shape: four(shape), data };
  }

  matrix(name: string) {
    const { shape, data } = this.storedTensor(name);
    return { shape: two(shape), data };
  }

  vector(name: string): number[] {
    return this.storedTensor(name).data;
  }

  optionalVector(name: string): number[] | undefined {
    return this.stored.tensors[name]?.data;
  }

  number(name: string): number {
    return Number(this.stored.options[name]);
  }

  optionalNumber(name: string): number | undefined {
    return name in this.stored.options ? this.number(name) : undefined;
  }

  pair(name: string): readonly [number, number] {
    return two(this.list(name));
  }

  list(name: string): number[] {
    const value = this.stored.options[name];
    if (!Array.isArray(value)) {
      throw new TypeError(`Option ${name} is not a list.`);
    }
    return value;
  }

  margins() {
    return {
      top: this.number("top"), bottom: this.number("bottom"), left: this.number("left"), right: this.number("right"),
    };
  }

  private storedTensor(name: string): StoredTensor {
    const found = this.stored.tensors[name];
    if (!found) {
      throw new TypeError(`The case has no tensor ${name}.`);
    }
    return found;
  }
}

function two(list: number[]): readonly [number, number] {
  expect(list).toHaveLength(2);
  return [at(list, 0), at(list, 1)];
}

function four(list: number[]): readonly [number, number, number, number] {
  expect(list).toHaveLength(4);
  return [at(list, 0), at(list, 1), at(list, 2), at(list, 3)];
}

const OPERATORS: Record<string, (inputs: Inputs) => ReferenceTensor> = {
  conv2d: (inputs) =>
    conv2d(inputs.tensor("input"), inputs.weight("weight"), inputs.optionalVector("bias"), {
      stride: inputs.pair("stride"),
      padding: inputs.pair("padding"),
      dilation: inputs.pair("dilation"),
      groups: inputs.number("groups"),
    }),
  convTranspose2d: (inputs) =>
    convTranspose2d(inputs.tensor("input"), inputs.weight("weight"), inputs.optionalVector("bias"), {
      stride: inputs.pair("stride"),
      padding: inputs.pair("padding"),
      outputPadding: inputs.pair("outputPadding"),
      dilation: inputs.pair("dilation"),
      groups: inputs.number("groups"),
    }),
  linear: (inputs) => linear(inputs.tensor("input"), inputs.matrix("weight"), inputs.optionalVector("bias")),
  matmul: (inputs) => matmul(inputs.tensor("first"), inputs.tensor("second")),
  add: (inputs) => add(inputs.tensor("first"), inputs.tensor("second")),
  multiply: (inputs) => multiply(inputs.tensor("first"), inputs.tensor("second")),
  relu: (inputs) => relu(inputs.tensor("input")),
  relu6: (inputs) => relu6(inputs.tensor("input")),
  leakyRelu: (inputs) => leakyRelu(inputs.tensor("input")),
  gelu: (inputs) => gelu(inputs.tensor("input")),
  sigmoid: (inputs) => sigmoid(inputs.tensor("input")),
  silu: (inputs) => silu(inputs.tensor("input")),
  tanh: (inputs) => tanh(inputs.tensor("input")),
  erf: (inputs) => mapTensor(inputs.tensor("input"), erf),
  prelu: (inputs) => prelu(inputs.tensor("input"), inputs.vector("slopes")),
  gatedGelu: (inputs) => gatedGelu(inputs.tensor("input")),
  softmax: (inputs) => softmax(inputs.tensor("input")),
  layerNorm: (inputs) => layerNorm(inputs.tensor("input"), inputs.vector("weight"), inputs.vector("bias")),
  groupNorm: (inputs) =>
    groupNorm(
      inputs.tensor("input"), inputs.number("groups"), inputs.vector("weight"), inputs.vector("bias"),
      inputs.number("epsilon"),
    ),
  instanceNorm: (inputs) =>
    instanceNorm(inputs.tensor("input"), inputs.optionalVector("weight"), inputs.optionalVector("bias")),
  batchNorm: (inputs) =>
    batchNorm(inputs.tensor("input"), {
      runningMean: inputs.vector("mean"),
      runningVariance: inputs.vector("variance"),
      weight: inputs.vector("weight"),
      bias: inputs.vector("bias"),
    }),
  channelAttention: (inputs) =>
    channelAttention(
      inputs.tensor("query"), inputs.tensor("key"), inputs.tensor("value"),
      inputs.number("heads"), inputs.vector("temperature"),
    ),
  attention: (inputs) =>
    attention(
      inputs.tensor("query"), inputs.tensor("key"), inputs.tensor("value"),
      inputs.number("heads"), inputs.optionalNumber("scale"),
    ),
  resizeBilinear: (inputs) =>
    resizeBilinear(inputs.tensor("input"), inputs.pair("size"), inputs.number("alignCorners") === 1),
  resizeBicubic: (inputs) =>
    resizeBicubic(inputs.tensor("input"), inputs.pair("size"), inputs.number("alignCorners") === 1),
  resizeNearest: (inputs) => resizeNearest(inputs.tensor("input"), inputs.pair("size")),
  averagePool: (inputs) =>
    averagePool(inputs.tensor("input"), inputs.pair("kernel"), {
      stride: inputs.pair("stride"),
      padding: inputs.pair("padding"),
    }),
  maxPool: (inputs) =>
    maxPool(inputs.tensor("input"), inputs.pair("kernel"), {
      stride: inputs.pair("stride"),
      padding: inputs.pair("padding"),
    }),
  globalAveragePool: (inputs) => globalAveragePool(inputs.tensor("input")),
  globalMaxPool: (inputs) => globalMaxPool(inputs.tensor("input")),
  padZero: (inputs) => padZero(inputs.tensor("input"), inputs.margins()),
  padReflect: (inputs) => padReflect(inputs.tensor("input"), inputs.margins()),
  concat: (inputs) => concat([inputs.tensor("first"), inputs.tensor("second"), inputs.tensor("third")]),
  split: (inputs) => {
    const part = split(inputs.tensor("input"), inputs.list("sizes"))[inputs.number("part")];
    if (!part) {
      throw new RangeError("The part does not exist.");
    }
    return part;
  },
  pixelShuffle: (inputs) => pixelShuffle(inputs.tensor("input"), inputs.number("factor")),
  // Stored as one tensor: the minima of the batch, then the maxima.
  minimumMaximum: (inputs) => {
    const { minimum, maximum } = minimumMaximum(inputs.tensor("input"));
    return fromNchw([1, 2, 1, minimum.length], [...minimum, ...maximum]);
  },
  rgbToYcrcb: (inputs) => rgbToYcrcb(inputs.tensor("input"), inputs.optionalNumber("delta")),
  ycrcbToRgb: (inputs) => ycrcbToRgb(inputs.tensor("input"), inputs.optionalNumber("delta")),
};

const CASES = JSON.parse(
  readFileSync(new URL("../fixtures/reference/operators.json", import.meta.url), "utf8"),
) as StoredCase[];

describe("reference operators agree with PyTorch and OpenCV", () => {
  for (const operator of Object.keys(OPERATORS)) {
    it(operator, () => {
      const cases = CASES.filter((stored) => stored.operator === operator);
      expect(cases.length).toBeGreaterThan(0);
      for (const stored of cases) {
        const actual = OPERATORS[operator]?.(new Inputs(stored));
        const where = `${operator} ${JSON.stringify(stored.options)}`;
        const [batches, channels, height, width] = four(stored.expected.shape);
        expect(actual?.shape, where).toEqual([batches, height, width, channels]);
        const error = relativeError(actual ? toNchw(actual) : [], stored.expected.data);
        expect(error, where).toBeLessThanOrEqual(Number(stored.options["tolerance"] ?? TOLERANCE));
      }
    });
  }

  it("knows every operator of the fixture", () => {
    expect(Object.keys(OPERATORS)).toEqual(expect.arrayContaining(CASES.map(({ operator }) => operator)));
  });
});

describe("tensors", () => {
  it("reorders NCHW to NHWC and back", () => {
    const nchw = [0, 1, 2, 3, 10, 11, 12, 13];
    const tensor = fromNchw([1, 2, 1, 4], nchw);
    expect([...tensor.data]).toEqual([0, 10, 1, 11, 2, 12, 3, 13]);
    expect([...toNchw(tensor)]).toEqual(nchw);
    const random = randomTensor([2, 3, 1, 5], 7);
    expect(fromNchw([2, 5, 3, 1], toNchw(random))).toEqual(random);
  });

  it("reads no value outside a tensor", () => {
    const tensor = randomTensor([1, 2, 3, 1], 1);
    expect(() => valueAt(tensor, 0, 0, 3, 0)).toThrow(RangeError);
    expect(() => valueAt(tensor, 0, -1, 0, 0)).toThrow(RangeError);
  });

  it("makes the same random values for the same seed, within the scale and exact in the precision", () => {
    const shape = [2, 9, 7, 33] as const;
    const single = randomTensor(shape, 3, 4);
    expect(single).toEqual(randomTensor(shape, 3, 4));
    expect(single.data).not.toEqual(randomTensor(shape, 4, 4).data);
    expect(single.data).toHaveLength(elementCount(shape));
    expect(single.data).toEqual(Float64Array.from(Float32Array.from(single.data)));
    const half = randomTensor(shape, 3, 4, "f16");
    for (const values of [single.data, half.data]) {
      const largest = values.reduce((maximum, value) => Math.max(maximum, Math.abs(value)), 0);
      expect(largest).toBeLessThanOrEqual(4);
      expect(largest).toBeGreaterThan(3.9);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      expect(Math.abs(mean)).toBeLessThan(0.2);
    }
    expect(half.data).toEqual(half.data.map(roundToFloat16));
    expect(relativeError(half.data, single.data)).toBeLessThan(2 ** -11);
  });

  it("rounds to float16", () => {
    const known: [number, number][] = [
      [0.1, 0.0999755859375], [1 / 3, 0.333251953125], [-65504, -65504], [65519, 65504],
      [1 + 2 ** -11, 1], [1 + 3 * 2 ** -11, 1 + 2 ** -9], [2 ** -24, 2 ** -24], [2 ** -25, 0], [3 * 2 ** -25, 2 ** -23],
      [2049, 2048], [2047.6, 2048], [0, 0],
    ];
    for (const [value, expected] of known) {
      expect(roundToFloat16(value), String(value)).toBe(expected);
    }
    expect(() => roundToFloat16(65520)).toThrow(RangeError);
    expect(() => roundToFloat16(Number.NaN)).toThrow(RangeError);
  });

  it("measures the relative error", () => {
    expect(relativeError([1, 2, -4.5], [1, 2, -4])).toBe(0.125);
    expect(relativeError([0, 0], [0, 0])).toBe(0);
    expect(relativeError([0, 1e-30], [0, 0])).toBe(Infinity);
    expect(relativeError([1, Number.NaN], [1, 2])).toBe(Infinity);
    expect(relativeError([1, Infinity], [1, Infinity])).toBe(Infinity);
    expect(() => relativeError([1], [1, 2])).toThrow(RangeError);
    expect(() => relativeError([], [])).toThrow(RangeError);
  });
});

describe("checks", () => {
  const input = randomTensor([1, 3, 3, 4], 1);

  it("refuse shapes that do not fit", () => {
    const weight = { shape: [2, 3, 1, 1] as const, data: [1, 2, 3, 4, 5, 6] };
    expect(() => conv2d(input, weight)).toThrow("4 input channels");
    expect(() => groupNorm(input, 3, [1, 1, 1, 1], [0, 0, 0, 0])).toThrow("3 groups");
    expect(() => padReflect(input, { top: 3, bottom: 0, left: 0, right: 0 })).toThrow("reflected");
    expect(() => split(input, [1, 2])).toThrow("split");
    expect(() => gatedGelu(randomTensor([1, 1, 1, 3], 1))).toThrow("split");
    expect(() => prelu(input, [1, 2])).toThrow("slopes");
    expect(() => attention(input, input, randomTensor([1, 2, 3, 4], 1), 2)).toThrow("heads");
  });
});
