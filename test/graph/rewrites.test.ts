import { beforeAll, describe, expect, it } from "vitest";
import { formatGraph, type Graph, GraphBuilder, type Tensor } from "../../src/graph/graph.ts";
import { foldLayerNorm, foldProjection, fuseActivation, fuseGate, fuseResidual, type Rewrite, splitConvolution } from "../../src/graph/rewrites.ts";
import { applyMatrix } from "../../src/kernels/apply-matrix/apply-matrix.ts";
import { conv2d, type Conv2dAttributes } from "../../src/kernels/conv2d/conv2d.ts";
import { depthwiseConv2d } from "../../src/kernels/depthwise-conv2d/depthwise-conv2d.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";
import { groupNorm } from "../../src/kernels/group-norm/group-norm.ts";
import { layerNorm } from "../../src/kernels/layer-norm/layer-norm.ts";
import { openTestGpu, runGraph, type TestGpu } from "../gpu.ts";
import { randomWeight } from "../kernels/operators.ts";
import { elementCount, randomValues, relativeError } from "../reference/tensor.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

let seed = 100;
const weight = (name: string, ...shape: number[]) => randomWeight(name, shape, seed++);
const size = { batch: 2, height: 3, width: 5 };

/** Attributes of a 1×1 convolution. */
const pointwise = (name: string, outputs: number, inputs: number, options: Partial<Conv2dAttributes> = {}): Conv2dAttributes => ({
  weight: weight(name, outputs, inputs, 1, 1),
  stride: 1,
  padding: 0,
  dilation: 1,
  ...options,
});

const depthwise = (name: string, channels: number) => ({ weight: weight(name, channels, 1, 3, 3), stride: 1, padding: 1, dilation: 1 });

const norm = (name: string, channels: number) => ({ weight: weight(`${name}.weight`, channels), bias: weight(`${name}.bias`, channels), epsilon: 1e-5 });

/** A graph whose input is `x`. */
function build(channels: number, body: (builder: GraphBuilder, x: Tensor) => Tensor | Tensor[]): Graph {
  const builder = new GraphBuilder();
  const outputs = body(builder, builder.input("x", { ...size, channels }));
  for (const tensor of [outputs].flat()) builder.output(tensor);
  return builder.build();
}

/** Rewrites a graph, expects equal numbers from both, and returns both as text. */
async function rewritten(graph: Graph, rewrite: Rewrite): Promise<string> {
  const after = rewrite(graph);
  expect(after.outputs.map(({ name }) => name)).toEqual(graph.outputs.map(({ name }) => name));
  const inputs = Object.fromEntries(graph.inputs.map(({ name, shape }) => [name, Float32Array.from(randomValues(elementCount(Object.values(shape)), 1))]));
  const expected = await runGraph(gpu, graph, inputs);
  const actual = await runGraph(gpu, after, inputs);
  for (const { name } of graph.outputs) expect(relativeError(actual[name] ?? [], expected[name] ?? [])).toBeLessThan(1e-5);
  return `\n${formatGraph(graph)}\n→\n${formatGraph(after)}\n`;
}

/** Expects a graph to stay as it is. */
const expectKept = (graph: Graph, rewrite: Rewrite): void => expect(formatGraph(rewrite(graph))).toBe(formatGraph(graph));

describe("foldLayerNorm", () => {
  it("folds a layer norm into every 1×1 convolution that reads it", async () => {
    const graph = build(4, (builder, x) => {
      const normed = builder.add("norm", layerNorm, [x], norm("norm", 4));
      const a = builder.add("a", conv2d, [normed], pointwise("a", 4, 4));
      const b = builder.add("b", conv2d, [normed], pointwise("b", 3, 4, { bias: weight("b.bias", 3) }));
      return [a, b];
    });
    expect(await rewritten(graph, foldLayerNorm)).toMatchInlineSnapshot(`
      "
      norm 2×3×5×4 = layerNorm(x) epsilon=0.00001
      a 2×3×5×4 = conv2d(norm)
      b 2×3×5×3 = conv2d(norm)
      →
      a 2×3×5×4 = conv2d(x) normalise(0.00001)
      b 2×3×5×3 = conv2d(x) normalise(0.00001)
      "
    `);
  });

  it("keeps the layer norm for those that cannot take it", async () => {
    const graph = build(4, (builder, x) => {
      const normed = builder.add("norm", layerNorm, [x], norm("norm", 4));
      const a = builder.add("a", conv2d, [normed], pointwise("a", 4, 4));
      return builder.add("sum", elementwise, [a, normed], { operation: "add" });
    });
    expect(await rewritten(graph, foldLayerNorm)).toMatchInlineSnapshot(`
      "
      norm 2×3×5×4 = layerNorm(x) epsilon=0.00001
      a 2×3×5×4 = conv2d(norm)
      sum 2×3×5×4 = elementwise(a, norm) operation=add
      →
      norm 2×3×5×4 = layerNorm(x) epsilon=0.00001
      a 2×3×5×4 = conv2d(x) normalise(0.00001)
      sum 2×3×5×4 = elementwise(a, norm) operation=add
      "
    `);
    expectKept(
      build(4, (builder, x) => {
        const normed = builder.add("norm", layerNorm, [x], norm("norm", 4));
        return builder.add("a", conv2d, [normed], { ...pointwise("a", 4, 4), padding: 1 });
      }),
      foldLayerNorm,
    );
  });
});

describe("foldProjection", () => {
  const withMatrix = (options: Partial<Conv2dAttributes>, both = false): Graph =>
    build(4, (builder, x) => {
      const matrix = builder.input("matrix", { batch: 2, height: 1, width: 4, channels: 4 });
      const applied = builder.add("applied", applyMatrix, [x, matrix], {});
      const projected = builder.add("projected", conv2d, [applied], pointwise("w", 3, 4, options));
      return both ? [applied, projected] : projected;
    });

  it("applies the convolution to the matrix instead of to the picture", async () => {
    expect(await rewritten(withMatrix({}), foldProjection)).toMatchInlineSnapshot(`
      "
      applied 2×3×5×4 = applyMatrix(x, matrix)
      projected 2×3×5×3 = conv2d(applied)
      →
      projected.matrix 2×1×4×3 = conv2d(matrix)
      projected 2×3×5×3 = applyMatrix(x, projected.matrix)
      "
    `);
  });

  it("keeps a convolution that is not linear, and a result that is read elsewhere", () => {
    expectKept(withMatrix({ bias: weight("bias", 3) }), foldProjection);
    expectKept(withMatrix({ activation: { kind: "relu" } }), foldProjection);
    expectKept(withMatrix({ normalise: { epsilon: 1e-5 } }), foldProjection);
    expectKept(withMatrix({}, true), foldProjection);
  });
});

describe("fuseGate", () => {
  it("makes one kernel of two depthwise convolutions and their gate", async () => {
    const graph = build(4, (builder, x) => {
      const a = builder.add("a", depthwiseConv2d, [x], { ...depthwise("a", 4), bias: weight("a.bias", 4) });
      const b = builder.add("b", depthwiseConv2d, [x], depthwise("b", 4));
      return builder.add("gated", elementwise, [a, b], { operation: "gatedGelu" });
    });
    expect(await rewritten(graph, fuseGate)).toMatchInlineSnapshot(`
      "
      a 2×3×5×4 = depthwiseConv2d(x)
      b 2×3×5×4 = depthwiseConv2d(x)
      gated 2×3×5×4 = elementwise(a, b) operation=gatedGelu
      →
      gated 2×3×5×4 = depthwiseConv2d(x, x) gated()
      "
    `);
  });

  it("convolves only the slices of the input that are gated", async () => {
    const graph = build(12, (builder, x) => {
      const all = builder.add("all", depthwiseConv2d, [x], { ...depthwise("all", 12), bias: weight("all.bias", 12) });
      const halves = [builder.slice("first", all, 0, 4), builder.slice("second", all, 8, 4)];
      return builder.add("gated", elementwise, halves, { operation: "gatedGelu" });
    });
    expect(await rewritten(graph, fuseGate)).toMatchInlineSnapshot(`
      "
      all 2×3×5×12 = depthwiseConv2d(x)
      gated 2×3×5×4 = elementwise(first, second) operation=gatedGelu
      →
      gated 2×3×5×4 = depthwiseConv2d(x[0:4], x[8:12]) gated()
      "
    `);
  });

  it("keeps a gate over anything else", () => {
    const gate = (padding: number, kernel: number): Graph =>
      build(4, (builder, x) => {
        const attributes = { weight: weight("w", 4, 1, kernel, kernel), stride: 1, padding, dilation: 1 };
        const convolved = builder.add("a", depthwiseConv2d, [x], attributes);
        return builder.add("gated", elementwise, [convolved, convolved], { operation: "gatedGelu" });
      });
    expectKept(gate(2, 5), fuseGate);
    expectKept(gate(0, 1), fuseGate);
    expectKept(build(4, (builder, x) => builder.add("gated", elementwise, [x, x], { operation: "gatedGelu" })), fuseGate);
  });
});

describe("splitConvolution", () => {
  /** A convolution to eight channels; each half goes through `read`. */
  const halved = (read: (builder: GraphBuilder, half: Tensor, i: number) => Tensor, options: Partial<Conv2dAttributes> = {}): Graph =>
    build(4, (builder, x) => {
      const all = builder.add("all", conv2d, [x], pointwise("all", 8, 4, options));
      return [0, 4].map((first, i) => read(builder, builder.slice(`half${i}`, all, first, 4), i));
    });

  it("makes each slice just before the node that reads it", async () => {
    const graph = halved((builder, half, i) => builder.add(`d${i}`, depthwiseConv2d, [half], depthwise(`d${i}`, 4)), { bias: weight("all.bias", 8) });
    expect(await rewritten(graph, splitConvolution)).toMatchInlineSnapshot(`
      "
      all 2×3×5×8 = conv2d(x)
      d0 2×3×5×4 = depthwiseConv2d(half0)
      d1 2×3×5×4 = depthwiseConv2d(half1)
      →
      all[0:4] 2×3×5×4 = conv2d(x)
      d0 2×3×5×4 = depthwiseConv2d(all[0:4])
      all[4:8] 2×3×5×4 = conv2d(x)
      d1 2×3×5×4 = depthwiseConv2d(all[4:8])
      "
    `);
  });

  it("splits a convolution of a slice that is itself split off", async () => {
    const graph = halved((builder, half, i) => {
      const inner = builder.add(`inner${i}`, conv2d, [half], pointwise(`inner${i}`, 8, 4));
      const relu = { operation: "activation", activation: { kind: "relu" } } as const;
      const parts = [0, 4].map((first, j) => builder.add(`r${i}${j}`, elementwise, [builder.slice(`s${i}${j}`, inner, first, 4)], relu));
      return builder.add(`sum${i}`, elementwise, parts, { operation: "add" });
    });
    expect(await rewritten(graph, splitConvolution)).toMatchInlineSnapshot(`
      "
      all 2×3×5×8 = conv2d(x)
      inner0 2×3×5×8 = conv2d(half0)
      r00 2×3×5×4 = elementwise(s00) operation=activation activation(relu)
      r01 2×3×5×4 = elementwise(s01) operation=activation activation(relu)
      sum0 2×3×5×4 = elementwise(r00, r01) operation=add
      inner1 2×3×5×8 = conv2d(half1)
      r10 2×3×5×4 = elementwise(s10) operation=activation activation(relu)
      r11 2×3×5×4 = elementwise(s11) operation=activation activation(relu)
      sum1 2×3×5×4 = elementwise(r10, r11) operation=add
      →
      all[0:4] 2×3×5×4 = conv2d(x)
      inner0[0:4] 2×3×5×4 = conv2d(all[0:4])
      r00 2×3×5×4 = elementwise(inner0[0:4]) operation=activation activation(relu)
      inner0[4:8] 2×3×5×4 = conv2d(all[0:4])
      r01 2×3×5×4 = elementwise(inner0[4:8]) operation=activation activation(relu)
      sum0 2×3×5×4 = elementwise(r00, r01) operation=add
      all[4:8] 2×3×5×4 = conv2d(x)
      inner1[0:4] 2×3×5×4 = conv2d(all[4:8])
      r10 2×3×5×4 = elementwise(inner1[0:4]) operation=activation activation(relu)
      inner1[4:8] 2×3×5×4 = conv2d(all[4:8])
      r11 2×3×5×4 = elementwise(inner1[4:8]) operation=activation activation(relu)
      sum1 2×3×5×4 = elementwise(r10, r11) operation=add
      "
    `);
  });

  it("tells apart slices that begin at one channel and end at others", async () => {
    const graph = build(4, (builder, x) => {
      const all = builder.add("all", conv2d, [x], pointwise("all", 8, 4));
      const relu = { operation: "activation", activation: { kind: "relu" } } as const;
      return [4, 8].map((channels) => builder.add(`r${channels}`, elementwise, [builder.slice(`s${channels}`, all, 0, channels)], relu));
    });
    expect(await rewritten(graph, splitConvolution)).toMatchInlineSnapshot(`
      "
      all 2×3×5×8 = conv2d(x)
      r4 2×3×5×4 = elementwise(s4) operation=activation activation(relu)
      r8 2×3×5×8 = elementwise(s8) operation=activation activation(relu)
      →
      all[0:4] 2×3×5×4 = conv2d(x)
      r4 2×3×5×4 = elementwise(all[0:4]) operation=activation activation(relu)
      all[0:8] 2×3×5×8 = conv2d(x)
      r8 2×3×5×8 = elementwise(all[0:8]) operation=activation activation(relu)
      "
    `);
  });

  it("keeps a convolution that one node reads in two slices, or that is read whole", () => {
    expectKept(
      build(4, (builder, x) => {
        const all = builder.add("all", conv2d, [x], pointwise("all", 8, 4));
        return builder.add("sum", elementwise, [builder.slice("a", all, 0, 4), builder.slice("b", all, 4, 4)], { operation: "add" });
      }),
      splitConvolution,
    );
    expectKept(
      build(4, (builder, x) => {
        const all = builder.add("all", conv2d, [x], pointwise("all", 8, 4));
        return [all, builder.add("a", depthwiseConv2d, [builder.slice("half", all, 0, 4)], depthwise("a", 4))];
      }),
      splitConvolution,
    );
  });
});

describe("fuseActivation", () => {
  const leaky = { operation: "activation", activation: { kind: "leakyRelu", slope: 0.25 } } as const;

  it("applies an activation where the convolution stores its result", async () => {
    const graph = build(4, (builder, x) => {
      const a = builder.add("a", elementwise, [builder.add("dense", conv2d, [x], pointwise("dense", 4, 4))], leaky);
      const b = builder.add("b", elementwise, [builder.add("depthwise", depthwiseConv2d, [x], depthwise("depthwise", 4))], leaky);
      return [a, b];
    });
    expect(await rewritten(graph, fuseActivation)).toMatchInlineSnapshot(`
      "
      dense 2×3×5×4 = conv2d(x)
      a 2×3×5×4 = elementwise(dense) operation=activation activation(leakyRelu 0.25)
      depthwise 2×3×5×4 = depthwiseConv2d(x)
      b 2×3×5×4 = elementwise(depthwise) operation=activation activation(leakyRelu 0.25)
      →
      a 2×3×5×4 = conv2d(x) activation(leakyRelu 0.25)
      b 2×3×5×4 = depthwiseConv2d(x) activation(leakyRelu 0.25)
      "
    `);
  });

  it("keeps one whose input is read elsewhere, or has a residual or an activation already", () => {
    expectKept(
      build(4, (builder, x) => {
        const dense = builder.add("dense", conv2d, [x], pointwise("dense", 4, 4));
        return [dense, builder.add("a", elementwise, [dense], leaky)];
      }),
      fuseActivation,
    );
    const onto = (options: Partial<Conv2dAttributes>): Graph =>
      build(4, (builder, x) => builder.add("a", elementwise, [builder.add("dense", conv2d, options.residual ? [x, x] : [x], pointwise("dense", 4, 4, options))], leaky));
    expectKept(onto({ residual: true }), fuseActivation);
    expectKept(onto({ activation: { kind: "relu" } }), fuseActivation);
  });
});

describe("fuseResidual", () => {
  it("adds where the result is stored, on whichever side of the sum it stands", async () => {
    const graph = build(4, (builder, x) => {
      const a = builder.add("a", elementwise, [x, builder.add("dense", conv2d, [x], pointwise("dense", 4, 4, { activation: { kind: "relu" } }))], { operation: "add" });
      const matrix = builder.input("matrix", { batch: 2, height: 1, width: 4, channels: 4 });
      return builder.add("b", elementwise, [builder.add("applied", applyMatrix, [a, matrix], {}), a], { operation: "add" });
    });
    expect(await rewritten(graph, fuseResidual)).toMatchInlineSnapshot(`
      "
      dense 2×3×5×4 = conv2d(x) activation(relu)
      a 2×3×5×4 = elementwise(x, dense) operation=add
      applied 2×3×5×4 = applyMatrix(a, matrix)
      b 2×3×5×4 = elementwise(applied, a) operation=add
      →
      a 2×3×5×4 = conv2d(x, x) activation(relu) residual
      b 2×3×5×4 = applyMatrix(a, matrix, a) residual
      "
    `);
  });

  it("adds one number a channel where the result is stored, not the result to it", async () => {
    const one = (builder: GraphBuilder, name: string, x: Tensor) => builder.add(name, conv2d, [x], pointwise(name, 4, x.shape.channels));
    const graph = ((): Graph => {
      const builder = new GraphBuilder();
      const x = builder.input("x", { batch: 1, height: 3, width: 5, channels: 4 });
      const numbers = builder.input("numbers", { batch: 1, height: 1, width: 1, channels: 8 });
      const timed = builder.add("timed", elementwise, [one(builder, "dense", x), builder.slice("time", numbers, 4, 4)], { operation: "add" });
      builder.output(builder.add("sum", elementwise, [timed, one(builder, "vector", numbers)], { operation: "add" }));
      return builder.build();
    })();
    expect(await rewritten(graph, fuseResidual)).toMatchInlineSnapshot(`
      "
      dense 1×3×5×4 = conv2d(x)
      timed 1×3×5×4 = elementwise(dense, time) operation=add
      vector 1×1×1×4 = conv2d(numbers)
      sum 1×3×5×4 = elementwise(timed, vector) operation=add
      →
      timed 1×3×5×4 = conv2d(x, time) residual
      vector 1×1×1×4 = conv2d(numbers)
      sum 1×3×5×4 = elementwise(timed, vector) operation=add
      "
    `);
  });

  it("adds to a group norm where it stores its result", async () => {
    const graph = build(8, (builder, x) => {
      const dense = builder.add("dense", conv2d, [x], pointwise("dense", 8, 8));
      return builder.add("sum", elementwise, [builder.add("norm", groupNorm, [dense], { ...norm("norm", 8), groups: 2, activation: { kind: "silu" } }), dense], { operation: "add" });
    });
    expect(await rewritten(graph, fuseResidual)).toMatchInlineSnapshot(`
      "
      dense 2×3×5×8 = conv2d(x)
      norm 2×3×5×8 = groupNorm(dense) epsilon=0.00001 groups=2 activation(silu)
      sum 2×3×5×8 = elementwise(norm, dense) operation=add
      →
      dense 2×3×5×8 = conv2d(x)
      sum 2×3×5×8 = groupNorm(dense, dense) epsilon=0.00001 groups=2 activation(silu) residual
      "
    `);
  });

  it("keeps a sum of a result that is read elsewhere, and of a result with itself", () => {
    expectKept(
      build(4, (builder, x) => {
        const dense = builder.add("dense", conv2d, [x], pointwise("dense", 4, 4));
        return [dense, builder.add("sum", elementwise, [x, dense], { operation: "add" })];
      }),
      fuseResidual,
    );
    expectKept(
      build(4, (builder, x) => {
        const dense = builder.add("dense", conv2d, [x], pointwise("dense", 4, 4));
        return builder.add("sum", elementwise, [dense, dense], { operation: "add" });
      }),
      fuseResidual,
    );
  });
});
