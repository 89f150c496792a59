import { describe, expect, it } from "vitest";
import { countUses, formatGraph, GraphBuilder, replaceNode } from "../../src/graph/graph.ts";
import { concat } from "../../src/kernels/concat/concat.ts";
import { conv2d } from "../../src/kernels/conv2d/conv2d.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";
import { minMax } from "../../src/kernels/min-max/min-max.ts";
import { randomWeight } from "../kernels/operators.ts";

const size = { batch: 1, height: 2, width: 3 };

describe("GraphBuilder", () => {
  it("gives each tensor its shape and element type", () => {
    const builder = new GraphBuilder();
    const input = builder.input("input", { ...size, channels: 8 }, "f16");
    const part = builder.slice("part", input, 4, 4);
    const range = builder.add("range", minMax, [part], {});
    const sum = builder.add("sum", elementwise, [part, part], { operation: "add" });
    expect(part).toMatchObject({ shape: { ...size, channels: 4 }, elementType: "f16", slice: { of: input, firstChannel: 4 } });
    expect(range).toMatchObject({ shape: { batch: 1, height: 1, width: 1, channels: 3 }, elementType: "f32" });
    expect(sum).toMatchObject({ shape: { ...size, channels: 4 }, elementType: "f16" });
  });

  it("refuses a name given twice", () => {
    const builder = new GraphBuilder();
    builder.input("x", { ...size, channels: 1 });
    expect(() => builder.input("x", { ...size, channels: 1 })).toThrow(expect.objectContaining({ code: "GRAPH", where: "x", message: 'two tensors are called "x"' }));
  });

  it("refuses a slice between vectors, past the end, or of a slice", () => {
    const builder = new GraphBuilder();
    const input = builder.input("input", { ...size, channels: 8 });
    expect(() => builder.slice("a", input, 2, 4)).toThrow("cannot take channels 2–6 of input, 1×2×3×8");
    expect(() => builder.slice("b", input, 4, 5)).toThrow("cannot take channels 4–9 of input");
    const part = builder.slice("part", input, 0, 4);
    expect(() => builder.slice("c", part, 0, 4)).toThrow("cannot take channels 0–4 of part");
  });

  it("refuses a slice that would show other channels in its padding", () => {
    const builder = new GraphBuilder();
    const input = builder.input("input", { ...size, channels: 10 });
    expect(() => builder.slice("a", input, 0, 5)).toThrow("cannot take channels 0–5 of input");
    expect(builder.slice("b", input, 4, 6).shape.channels).toBe(6);
  });
});

describe("countUses", () => {
  it("counts readers of a tensor and of its slices, and outputs of the graph", () => {
    const builder = new GraphBuilder();
    const input = builder.input("input", { ...size, channels: 8 });
    const low = builder.slice("low", input, 0, 4);
    const sum = builder.add("sum", elementwise, [low, builder.slice("high", input, 4, 4)], { operation: "add" });
    builder.output(sum);
    builder.output(low);
    expect(countUses(builder.build())).toEqual(new Map([[input.id, 3], [sum.id, 1]]));
  });
});

describe("replaceNode", () => {
  it("keeps the output and checks that its shape stays", () => {
    const builder = new GraphBuilder();
    const input = builder.input("input", { ...size, channels: 4 });
    const sum = builder.add("sum", elementwise, [input, input], { operation: "add" });
    const [node] = builder.build().nodes;
    if (!node) throw new Error("no node");
    expect(replaceNode(node, elementwise, [input, input], { operation: "multiply" }).output).toBe(sum);
    expect(() => replaceNode(node, concat, [input, input], {})).toThrow("rewriting sum changed its shape to 1×2×3×8");
  });
});

describe("formatGraph", () => {
  it("shows one node a line, with what is fused into it", () => {
    const builder = new GraphBuilder();
    const input = builder.input("input", { ...size, channels: 4 });
    const weight = randomWeight("w", [4, 4, 1, 1] as const, 1);
    const a = builder.add("a", conv2d, [input], { weight, stride: 1, padding: 0, dilation: 1, activation: { kind: "leakyRelu", slope: 0.25 } });
    builder.add("b", conv2d, [a, input], { weight, stride: 1, padding: 0, dilation: 1, residual: true, normalise: { epsilon: 0.5 } });
    builder.add("c", elementwise, [a, input], { operation: "add" });
    expect(formatGraph(builder.build())).toMatchInlineSnapshot(`
      "a 1×2×3×4 = conv2d(input) activation(leakyRelu 0.25)
      b 1×2×3×4 = conv2d(a, input) residual normalise(0.5)
      c 1×2×3×4 = elementwise(a, input) operation=add"
    `);
  });
});
