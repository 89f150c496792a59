import { beforeAll, describe, expect, it } from "vitest";
import { maskDifuserFormat } from "../../src/checkpoints/mask-difuser-format.ts";
import { formatGraph, type Graph, GraphBuilder, nodeOf, type Tensor } from "../../src/graph/graph.ts";
import { compile } from "../../src/graph/plan.ts";
import type { Rewrite } from "../../src/graph/rewrites.ts";
import { splitGraph } from "../../src/graph/split.ts";
import { attention } from "../../src/kernels/attention/attention.ts";
import { concat } from "../../src/kernels/concat/concat.ts";
import { conv2d } from "../../src/kernels/conv2d/conv2d.ts";
import { covariance } from "../../src/kernels/covariance/covariance.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";
import { groupNorm } from "../../src/kernels/group-norm/group-norm.ts";
import { projectedStatistics } from "../../src/kernels/projected-statistics/projected-statistics.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { maskDifuserConditions, type MaskDifuserConfig, maskDifuserStep, maskDifuserTimeBiases, maskDifuserTimeChannels } from "../../src/models/mask-difuser/network.ts";
import { foldCombine, foldConditionRank, foldCrossQueries, foldHead, foldMaskDifuser, foldSelfAttention, type MaskDifuserRewrite } from "../../src/models/mask-difuser/rewrites.ts";
import { PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { hasGoldens } from "../diffusion/golden.ts";
import { openTestGpu, rewriteAll, runGraph, type TestGpu } from "../gpu.ts";
import { randomWeight } from "../kernels/operators.ts";
import { evaluateGraph } from "../reference/graph.ts";
import { randomTensor, type ReferenceTensor, relativeError } from "../reference/tensor.ts";
import { c4Model, goldenTensors, type GoldenModel, largestDifference, syntheticModel, tinyModel } from "./mask-difuser-goldens.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** Builds graphs whose weights have names and numbers of their own. */
class Layers {
  readonly builder = new GraphBuilder();
  #seed = 1;

  weight(name: string, shape: readonly number[], scale: number) {
    return randomWeight(name, shape, this.#seed++, "f32", scale);
  }

  convolution(name: string, input: Tensor, outputs: number, size: number, from = name, known = new Map<string, ReturnType<Layers["weight"]>>()): Tensor {
    const inputs = input.shape.channels;
    const take = (key: string, shape: readonly number[], scale: number) => {
      const weight = known.get(key) ?? this.weight(key, shape, scale);
      known.set(key, weight);
      return weight;
    };
    const weight = take(`${from}.weight`, [outputs, inputs, size, size], 2 / Math.sqrt(inputs * size * size));
    const bias = take(`${from}.bias`, [outputs], 0.5);
    return this.builder.add(name, conv2d, [input], { weight, bias, stride: 1, padding: (size - 1) / 2, dilation: 1 });
  }
}

interface Sizes {
  readonly batch?: number;
  readonly size?: readonly [height: number, width: number];
  readonly keys?: readonly [height: number, width: number];
  readonly channels: number;
  readonly condition: number;
}

/** Two-way cross-attention and its combination, as in every residual block. */
function block({ batch = 1, size: [height, width] = [5, 7], keys: [keyHeight, keyWidth] = [2, 3], channels, condition }: Sizes): Graph {
  const layers = new Layers();
  const { builder } = layers;
  const h = builder.input("h", { batch, height, width, channels });
  const sides = ["first", "second"].map((name) => ({ name, features: builder.input(name, { batch, height: keyHeight, width: keyWidth, channels: condition }) }));
  const known = new Map<string, ReturnType<Layers["weight"]>>();
  const norm = (name: string, from: string, input: Tensor): Tensor => {
    const vector = (part: string) => {
      const key = `${from}.${part}`;
      const weight = known.get(key) ?? layers.weight(key, [input.shape.channels], 1);
      known.set(key, weight);
      return weight;
    };
    return builder.add(name, groupNorm, [input], { groups: 4, epsilon: 1e-5, weight: vector("weight"), bias: vector("bias") });
  };
  const keysOf = sides.map(({ name, features }) => {
    const normed = norm(`norm_cond(${name})`, "norm_cond", features);
    return ["k", "v"].map((part) => layers.convolution(`${part}(${name})`, normed, channels, 1, part, known)) as [Tensor, Tensor];
  }) as [[Tensor, Tensor], [Tensor, Tensor]];
  const query = (call: number, x: Tensor): Tensor => layers.convolution(`q#${call}`, norm(`norm_x#${call}`, "norm_x", x), channels, 1, "q", known);
  const attend = (call: number, q: Tensor, [k, v]: [Tensor, Tensor]): Tensor => builder.add(`cross#${call}`, attention, [q, k, v], { heads: 1, scale: 1 / Math.sqrt(channels) });
  const q = query(0, h);
  const z1 = attend(1, query(1, attend(0, q, keysOf[0])), keysOf[1]);
  const z2 = attend(3, query(3, attend(2, q, keysOf[1])), keysOf[0]);
  const sum = builder.add("sum", elementwise, [z1, z2], { operation: "add" });
  const joined = builder.add("joined", concat, [builder.add("pair", concat, [z1, z2], {}), sum], {});
  builder.output(layers.convolution("out", joined, channels, 3));
  return builder.build();
}

/** Largest difference from the unchanged graph in float64 over the largest value: unchanged and changed in f32 on the GPU, and changed in float64. */
async function errors(before: Graph, after: Graph): Promise<{ readonly before: number; readonly after: number; readonly exact: number }> {
  const tensors = Object.fromEntries(before.inputs.map(({ name, shape: { batch, height, width, channels } }, i) => [name, randomTensor([batch, height, width, channels], i + 1)]));
  const inputs = Object.fromEntries(Object.entries(tensors).map(([name, { data }]) => [name, Float32Array.from(data)]));
  expect(after.outputs.map(({ name }) => name)).toEqual(before.outputs.map(({ name }) => name));
  const expected = evaluateGraph(before, tensors);
  const exact = evaluateGraph(after, tensors);
  const [plain, folded] = [await runGraph(gpu, before, inputs), await runGraph(gpu, after, inputs)];
  const error = (of: (name: string) => ArrayLike<number> | undefined): number => Math.max(...before.outputs.map(({ name }) => relativeError(of(name) ?? [], expected[name]?.data ?? [])));
  return { before: error((name) => plain[name]), after: error((name) => folded[name]), exact: error((name) => exact[name]?.data) };
}

/** Both graphs as text, after the numbers agree: in float64 but for the rounding of folded weights, and on the GPU within 4·10⁻⁶. */
async function rewritten(before: Graph, rewrite: Rewrite): Promise<string> {
  const after = rewrite(before);
  const error = await errors(before, after);
  expect(error.exact).toBeLessThanOrEqual(2e-7);
  expect(error.before).toBeLessThanOrEqual(4e-6);
  expect(error.after).toBeLessThanOrEqual(4e-6);
  return `\n${formatGraph(before)}\n→\n${formatGraph(after)}\n`;
}

/** Expects a graph to stay as it is. */
const expectKept = (graph: Graph, rewrite: Rewrite): void => expect(formatGraph(rewrite(graph))).toBe(formatGraph(graph));

const MINUTES = 1_200_000;

/** Multiply-adds of a step as published, in 10⁹, and the parts of it that were computed to be saved by rewrites: the first, the first three, all. */
const PUBLISHED_WORK = [
  { height: 256, width: 256, without: 1189, combine: 0.118, most: 0.177, all: 0.296 },
  { height: 480, width: 640, without: 9342, combine: 0.071, most: 0.105, all: 0.247 },
];

describe("foldHead", () => {
  const side = { batch: 2, height: 3, width: 5, channels: 8 };
  const head = (...names: string[]): Graph => {
    const layers = new Layers();
    const [a, b] = names.map((name) => layers.builder.input(name, side)) as [Tensor, Tensor];
    layers.builder.output(layers.convolution("head", layers.builder.add("joined", concat, [a, b], {}), 5, 3));
    return layers.builder.build();
  };
  const fold: Rewrite = (graph) => foldHead(graph, ["sample"]);

  it("makes the part of a convolution that reads what does not change a convolution of its own", async () => {
    expect(await rewritten(head("content", "sample"), fold)).toMatchInlineSnapshot(`
      "
      joined 2×3×5×16 = concat(content, sample)
      head 2×3×5×5 = conv2d(joined)
      →
      head.fixed 2×3×5×5 = conv2d(content)
      head 2×3×5×5 = conv2d(sample, head.fixed) residual
      "
    `);
    expect(await rewritten(head("sample", "content"), fold)).toMatchInlineSnapshot(`
      "
      joined 2×3×5×16 = concat(sample, content)
      head 2×3×5×5 = conv2d(joined)
      →
      head.fixed 2×3×5×5 = conv2d(content)
      head 2×3×5×5 = conv2d(sample, head.fixed) residual
      "
    `);
    const { once, step } = splitGraph(fold(head("content", "sample")), ["sample"]);
    expect([once.nodes.length, step.nodes.length]).toEqual([1, 1]);
  });

  it("keeps a convolution that reads only one kind", () => {
    expectKept(head("content", "sample"), (graph) => foldHead(graph, []));
    expectKept(head("content", "sample"), (graph) => foldHead(graph, ["content", "sample"]));
  });
});

describe("foldSelfAttention", () => {
  const selfAttention = (readTwice = false): Graph => {
    const layers = new Layers();
    const x = layers.builder.input("x", { batch: 2, height: 3, width: 5, channels: 12 });
    const [q, k, v] = ["q", "k", "v"].map((name) => layers.convolution(name, x, 12, 1)) as [Tensor, Tensor, Tensor];
    const attended = layers.builder.add("attended", attention, [q, k, v], { heads: 1, scale: 1 / Math.sqrt(12) });
    layers.builder.output(layers.builder.add("sum", elementwise, [x, layers.convolution("projected", attended, 12, 1)], { operation: "add" }));
    if (readTwice) layers.builder.output(attended);
    return layers.builder.build();
  };

  it("takes two of four projections away", async () => {
    expect(await rewritten(selfAttention(), foldSelfAttention)).toMatchInlineSnapshot(`
      "
      q 2×3×5×12 = conv2d(x)
      k 2×3×5×12 = conv2d(x)
      v 2×3×5×12 = conv2d(x)
      attended 2×3×5×12 = attention(q, k, v) heads=1 scale=0.2886751345948129
      projected 2×3×5×12 = conv2d(attended)
      sum 2×3×5×12 = elementwise(x, projected) operation=add
      →
      q.folded 2×3×5×12 = conv2d(x)
      v.folded 2×3×5×12 = conv2d(x)
      projected 2×3×5×12 = attention(q.folded, x, v.folded) heads=1 scale=0.2886751345948129
      sum 2×3×5×12 = elementwise(x, projected) operation=add
      "
    `);
  });

  it("keeps an attention whose result is read elsewhere", () => expectKept(selfAttention(true), foldSelfAttention));
});

describe("foldCrossQueries", () => {
  it("takes norm and projection away from the queries and rescales the keys", async () => {
    expect(await rewritten(block({ channels: 8, condition: 12 }), foldCrossQueries)).toMatchInlineSnapshot(`
      "
      norm_cond(first) 1×2×3×12 = groupNorm(first) groups=4 epsilon=0.00001
      k(first) 1×2×3×8 = conv2d(norm_cond(first))
      v(first) 1×2×3×8 = conv2d(norm_cond(first))
      norm_cond(second) 1×2×3×12 = groupNorm(second) groups=4 epsilon=0.00001
      k(second) 1×2×3×8 = conv2d(norm_cond(second))
      v(second) 1×2×3×8 = conv2d(norm_cond(second))
      norm_x#0 1×5×7×8 = groupNorm(h) groups=4 epsilon=0.00001
      q#0 1×5×7×8 = conv2d(norm_x#0)
      cross#0 1×5×7×8 = attention(q#0, k(first), v(first)) heads=1 scale=0.35355339059327373
      norm_x#1 1×5×7×8 = groupNorm(cross#0) groups=4 epsilon=0.00001
      q#1 1×5×7×8 = conv2d(norm_x#1)
      cross#1 1×5×7×8 = attention(q#1, k(second), v(second)) heads=1 scale=0.35355339059327373
      cross#2 1×5×7×8 = attention(q#0, k(second), v(second)) heads=1 scale=0.35355339059327373
      norm_x#3 1×5×7×8 = groupNorm(cross#2) groups=4 epsilon=0.00001
      q#3 1×5×7×8 = conv2d(norm_x#3)
      cross#3 1×5×7×8 = attention(q#3, k(first), v(first)) heads=1 scale=0.35355339059327373
      sum 1×5×7×8 = elementwise(cross#1, cross#3) operation=add
      pair 1×5×7×16 = concat(cross#1, cross#3)
      joined 1×5×7×24 = concat(pair, sum)
      out 1×5×7×8 = conv2d(joined)
      →
      first.normalised 1×2×3×12 = groupNorm(first) groups=4 epsilon=0.00001
      k(first).folded 1×2×3×9 = conv2d(first.normalised)
      norm_x#0.statistics 1×1×2×8 = groupStatistics(h) groups=4 epsilon=0.00001
      cross#0.keys 1×2×3×9 = scaleKeys(k(first).folded, norm_x#0.statistics)
      v(first).folded 1×2×3×8 = conv2d(first.normalised)
      cross#0 1×5×7×8 = attention(h, cross#0.keys[0:8], v(first).folded, cross#0.keys[8:9]) heads=1 scale=0.35355339059327373
      second.normalised 1×2×3×12 = groupNorm(second) groups=4 epsilon=0.00001
      k(second).folded 1×2×3×9 = conv2d(second.normalised)
      norm_x#1.statistics 1×1×2×8 = groupStatistics(cross#0) groups=4 epsilon=0.00001
      cross#1.keys 1×2×3×9 = scaleKeys(k(second).folded, norm_x#1.statistics)
      v(second).folded 1×2×3×8 = conv2d(second.normalised)
      cross#1 1×5×7×8 = attention(cross#0, cross#1.keys[0:8], v(second).folded, cross#1.keys[8:9]) heads=1 scale=0.35355339059327373
      cross#2.keys 1×2×3×9 = scaleKeys(k(second).folded, norm_x#0.statistics)
      cross#2 1×5×7×8 = attention(h, cross#2.keys[0:8], v(second).folded, cross#2.keys[8:9]) heads=1 scale=0.35355339059327373
      norm_x#3.statistics 1×1×2×8 = groupStatistics(cross#2) groups=4 epsilon=0.00001
      cross#3.keys 1×2×3×9 = scaleKeys(k(first).folded, norm_x#3.statistics)
      cross#3 1×5×7×8 = attention(cross#2, cross#3.keys[0:8], v(first).folded, cross#3.keys[8:9]) heads=1 scale=0.35355339059327373
      sum 1×5×7×8 = elementwise(cross#1, cross#3) operation=add
      pair 1×5×7×16 = concat(cross#1, cross#3)
      joined 1×5×7×24 = concat(pair, sum)
      out 1×5×7×8 = conv2d(joined)
      "
    `);
  });

  it("of blocks that are wider than the condition, of two images", async () => {
    await rewritten(block({ batch: 2, channels: 24, condition: 8 }), foldCrossQueries);
  });
});

describe("foldConditionRank", () => {
  it("takes scores, weighted sums and the combination in the condition's channels", async () => {
    expect(await rewritten(block({ channels: 24, condition: 8 }), foldConditionRank)).toMatchInlineSnapshot(`
      "
      norm_cond(first) 1×2×3×8 = groupNorm(first) groups=4 epsilon=0.00001
      k(first) 1×2×3×24 = conv2d(norm_cond(first))
      v(first) 1×2×3×24 = conv2d(norm_cond(first))
      norm_cond(second) 1×2×3×8 = groupNorm(second) groups=4 epsilon=0.00001
      k(second) 1×2×3×24 = conv2d(norm_cond(second))
      v(second) 1×2×3×24 = conv2d(norm_cond(second))
      norm_x#0 1×5×7×24 = groupNorm(h) groups=4 epsilon=0.00001
      q#0 1×5×7×24 = conv2d(norm_x#0)
      cross#0 1×5×7×24 = attention(q#0, k(first), v(first)) heads=1 scale=0.20412414523193154
      norm_x#1 1×5×7×24 = groupNorm(cross#0) groups=4 epsilon=0.00001
      q#1 1×5×7×24 = conv2d(norm_x#1)
      cross#1 1×5×7×24 = attention(q#1, k(second), v(second)) heads=1 scale=0.20412414523193154
      cross#2 1×5×7×24 = attention(q#0, k(second), v(second)) heads=1 scale=0.20412414523193154
      norm_x#3 1×5×7×24 = groupNorm(cross#2) groups=4 epsilon=0.00001
      q#3 1×5×7×24 = conv2d(norm_x#3)
      cross#3 1×5×7×24 = attention(q#3, k(first), v(first)) heads=1 scale=0.20412414523193154
      sum 1×5×7×24 = elementwise(cross#1, cross#3) operation=add
      pair 1×5×7×48 = concat(cross#1, cross#3)
      joined 1×5×7×72 = concat(pair, sum)
      out 1×5×7×24 = conv2d(joined)
      →
      norm_x#0 1×5×7×24 = groupNorm(h) groups=4 epsilon=0.00001
      q#0.rank 1×5×7×8 = conv2d(norm_x#0)
      first.normalised 1×2×3×8 = groupNorm(first) groups=4 epsilon=0.00001
      cross#0.rank 1×5×7×8 = attention(q#0.rank, first.normalised, first.normalised) heads=1 scale=0.20412414523193154
      second.normalised 1×2×3×8 = groupNorm(second) groups=4 epsilon=0.00001
      k(second).folded 1×2×3×25 = conv2d(second.normalised)
      cross#0.covariance 1×1×9×8 = covariance(cross#0.rank)
      norm_x#1.statistics 1×1×2×24 = projectedStatistics(cross#0.covariance) groups=4 epsilon=0.00001
      cross#1.keys 1×2×3×25 = scaleKeys(k(second).folded, norm_x#1.statistics)
      cross#1.keys.rank 1×2×3×8 = conv2d(cross#1.keys[0:24])
      cross#1.rank 1×5×7×8 = attention(cross#0.rank, cross#1.keys.rank, second.normalised, cross#1.keys[24:25]) heads=1 scale=0.20412414523193154
      cross#2.rank 1×5×7×8 = attention(q#0.rank, second.normalised, second.normalised) heads=1 scale=0.20412414523193154
      k(first).folded 1×2×3×25 = conv2d(first.normalised)
      cross#2.covariance 1×1×9×8 = covariance(cross#2.rank)
      norm_x#3.statistics 1×1×2×24 = projectedStatistics(cross#2.covariance) groups=4 epsilon=0.00001
      cross#3.keys 1×2×3×25 = scaleKeys(k(first).folded, norm_x#3.statistics)
      cross#3.keys.rank 1×2×3×8 = conv2d(cross#3.keys[0:24])
      cross#3.rank 1×5×7×8 = attention(cross#2.rank, cross#3.keys.rank, first.normalised, cross#3.keys[24:25]) heads=1 scale=0.20412414523193154
      pair.rank 1×5×7×16 = concat(cross#1.rank, cross#3.rank)
      out.inside 1×5×7×1 = fill(h) value=1 channels=1
      joined.rank 1×5×7×17 = concat(pair.rank, out.inside)
      out 1×5×7×24 = conv2d(joined.rank)
      "
    `);
  });

  it("joins its inputs of the combination without a copy", () => {
    const plan = compile(foldConditionRank(block({ channels: 24, condition: 8 })), PORTABLE_TRAITS);
    expect(plan.dispatches.filter(({ operator }) => operator === "concat")).toEqual([]);
  });

  it("of two images, with more keys than a tile of the attention has", async () => {
    await rewritten(block({ batch: 2, size: [3, 5], keys: [7, 11], channels: 40, condition: 32 }), foldConditionRank);
  });

  it("of a picture of one pixel, all of it border", async () => {
    await rewritten(block({ size: [1, 1], keys: [1, 2], channels: 24, condition: 8 }), foldConditionRank);
  });

  it("keeps blocks that are not wider than the condition, and results that are read elsewhere", () => {
    expectKept(block({ channels: 8, condition: 8 }), foldConditionRank);
    const graph = block({ channels: 24, condition: 8 });
    for (const name of ["cross#0", "cross#1"]) {
      const read = graph.nodes.map(({ output }) => output).filter((output) => output.name === name);
      expectKept({ ...graph, outputs: [...graph.outputs, ...read] }, foldConditionRank);
    }
  });
});

describe("foldCombine", () => {
  it("takes the sum of two tensors out of a convolution", async () => {
    const layers = new Layers();
    const { builder } = layers;
    const [a, b] = ["a", "b"].map((name) => builder.input(name, { batch: 2, height: 3, width: 5, channels: 8 })) as [Tensor, Tensor];
    const sum = builder.add("sum", elementwise, [a, b], { operation: "add" });
    builder.output(layers.convolution("out", builder.add("joined", concat, [builder.add("pair", concat, [a, b], {}), sum], {}), 6, 3));
    expect(await rewritten(builder.build(), foldCombine)).toMatchInlineSnapshot(`
      "
      sum 2×3×5×8 = elementwise(a, b) operation=add
      pair 2×3×5×16 = concat(a, b)
      joined 2×3×5×24 = concat(pair, sum)
      out 2×3×5×6 = conv2d(joined)
      →
      pair 2×3×5×16 = concat(a, b)
      out 2×3×5×6 = conv2d(pair)
      "
    `);
  });
});

describe("foldMaskDifuser", () => {
  it("chooses by block: the condition's rank where a block is wider, else queries in the keys", () => {
    const operators = (sizes: Sizes, names?: Parameters<typeof foldMaskDifuser>[2]): string[] => [...new Set(foldMaskDifuser(block(sizes), [], names).nodes.map(({ operator }) => operator.name))];
    expect(operators({ channels: 24, condition: 8 })).toEqual(["groupNorm", "conv2d", "attention", "covariance", "projectedStatistics", "scaleKeys", "concat", "fill"]);
    expect(operators({ channels: 8, condition: 8 })).toEqual(["groupNorm", "conv2d", "groupStatistics", "scaleKeys", "attention", "concat"]);
    expect(operators({ channels: 24, condition: 8 }, [])).toEqual(["groupNorm", "conv2d", "attention", "elementwise", "concat"]);
  });

  it("puts all of the work that does not change before the steps", () => {
    const { once, step } = splitGraph(foldMaskDifuser(block({ channels: 24, condition: 8 }), ["h"]), ["h"]);
    expect(once.nodes.map(({ output }) => output.name)).toEqual(["first.normalised", "second.normalised", "k(second).folded", "k(first).folded"]);
    expect(step.nodes.filter(({ inputs }) => inputs.every((tensor) => once.outputs.includes(tensor)))).toEqual([]);
  });

  it.each(PUBLISHED_WORK)("takes of a step's multiply-adds at $height×$width what was computed for the published sizes", ({ height, width, without, combine, most, all }) => {
    const { weights, config } = shapesOnly(maskDifuserFormat.published);
    const whole = networkGraph({ weights, config }, [1, height, width]);
    const step = (names?: readonly MaskDifuserRewrite[]): number => multiplyAdds(splitGraph(foldMaskDifuser(whole, CHANGING, names), CHANGING).step) / 1e9;
    const [none, combined] = [step([]), step(["foldCombine"])];
    // As published, keys and values are made in every step and the input's query twice: `without` counts them.
    expect(none / without).toBeGreaterThan(0.98);
    expect((none - combined) / without).toBeCloseTo(combine, 3);
    expect(1 - step(["foldHead", "foldCombine", "foldCrossQueries"]) / without).toBeCloseTo(most, 2);
    expect(1 - step() / without).toBeCloseTo(all, 2);
  });
});

describe("the whole network", () => {
  it.each([
    ["no block wider than the condition", {}],
    ["blocks wider than the condition", { groups: 8, contentChannels: 16, semanticChannels: 32, semanticHeads: 2 }],
  ] as const)("%s: the same numbers with all rewrites", { timeout: MINUTES }, async (_, changes) => {
    const model = syntheticModel({ ...maskDifuserFormat.published, channels: 32, multipliers: [1, 2], attentionLevels: [1], crossAttentionLevels: [0, 1], residualBlocks: 1, ...changes });
    const shape = [1, 32, 48, 3] as const;
    const pictures = { first: randomTensor(shape, 1), second: randomTensor(shape, 2), sample: randomTensor(shape, 3) };
    const inputs = networkInputs(model, pictures, [200]);
    const plain = networkGraph(model, shape);
    const expected = (await runGraph(gpu, plain, inputs))["tail"] ?? [];
    const folded = (graph: Graph): Graph => rewriteAll(foldMaskDifuser(graph, CHANGING));
    expect(relativeError((await runGraph(gpu, folded(plain), inputs))["tail"] ?? [], expected)).toBeLessThanOrEqual(2e-5);
    const halves = networkGraph(model, shape, "f16");
    const [before, after] = [await runGraph(gpu, rewriteAll(halves), inputs), await runGraph(gpu, folded(halves), inputs)].map((outputs) => relativeError(outputs["tail"] ?? [], expected)) as [number, number];
    expect(before).toBeLessThanOrEqual(1e-2);
    expect(after).toBeLessThanOrEqual(1e-2);
  });

  it.skipIf(!hasGoldens).each([
    ["tiny", tinyModel],
    ["c4", c4Model],
  ] as const)("%s with all rewrites agrees with the published program (needs ../shared/golden)", { timeout: MINUTES }, async (name, load) => {
    const model = load();
    const golden = goldenTensors(`${name}_forward.safetensors`);
    const pictures = { first: golden("img_a"), second: golden("img_b"), sample: golden("x_t") };
    const graph = rewriteAll(foldMaskDifuser(networkGraph(model, pictures.sample.shape), CHANGING));
    for (const timestep of [0, 200, 999]) {
      const { tail } = await runGraph(gpu, graph, networkInputs(model, pictures, [timestep]));
      expect(largestDifference(tail, golden(`eps_t${timestep}`).data)).toBeLessThanOrEqual(1e-3);
    }
  });
});

/** Inputs of a step that change. */
const CHANGING = ["sample", "time"];

/** Conditions and one step as one graph. */
function networkGraph({ weights, config }: GoldenModel, [batch, height, width]: readonly number[], elementType: ElementType = "f32"): Graph {
  const builder = new GraphBuilder();
  const shape = { batch: batch ?? 1, height: height ?? 1, width: width ?? 1, channels: 3 };
  const [first, second, sample] = ["first", "second", "sample"].map((name) => builder.input(name, shape, elementType)) as [Tensor, Tensor, Tensor];
  const time = builder.input("time", { batch: shape.batch, height: 1, width: 1, channels: maskDifuserTimeChannels(config) }, elementType);
  builder.output(maskDifuserStep(builder, weights, config, maskDifuserConditions(builder, weights, config, first, second), sample, time));
  return builder.build();
}

function networkInputs({ weights, config }: GoldenModel, pictures: Readonly<Record<string, ReferenceTensor>>, timesteps: readonly number[]): Record<string, Float32Array> {
  const time = timesteps.flatMap((timestep) => [...maskDifuserTimeBiases(weights, config, timestep)]);
  return { ...Object.fromEntries(Object.entries(pictures).map(([name, { data }]) => [name, Float32Array.from(data)])), time: Float32Array.from(time) };
}

/** Weights of the right shapes without numbers. */
function shapesOnly(config: MaskDifuserConfig): GoldenModel {
  const shapes = maskDifuserFormat.expectedTensors(config);
  const vectors = new Map<string, Float32Array>();
  return {
    config,
    weights: (name) => {
      const shape = shapes.get(name) ?? [];
      const data = vectors.get(name) ?? (shape.length === 1 ? new Float32Array(shape[0] ?? 0) : new Float32Array());
      vectors.set(name, data);
      return { name, shape, data };
    },
  };
}

/** Multiply-adds of everything that is a product of matrices. */
function multiplyAdds({ nodes }: Graph): number {
  return nodes.reduce((sum, node) => {
    const { batch, height, width, channels } = node.output.shape;
    const pixels = batch * height * width;
    const [first, second] = node.inputs;
    const convolution = nodeOf(node, conv2d);
    if (convolution) return sum + pixels * convolution.attributes.weight.shape.reduce((product, size) => product * size, 1);
    if (nodeOf(node, attention) && first && second) return sum + pixels * second.shape.height * second.shape.width * (first.shape.channels + channels);
    if (nodeOf(node, covariance) && first) return sum + (first.shape.height * first.shape.width * first.shape.channels ** 2) / 2;
    return nodeOf(node, projectedStatistics) && first ? sum + channels * first.shape.channels ** 2 : sum;
  }, 0);
}
