import { describe, expect, it } from "vitest";
import { collectedAs, collectGraph, estimateGraph, globalLevels, grownBefore, tileGraph } from "../../src/graph/global.ts";
import { formatGraph, type Graph, GraphBuilder } from "../../src/graph/graph.ts";
import { channelAttentionWeights } from "../../src/kernels/channel-attention/channel-attention.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";
import { globalPool } from "../../src/kernels/global-pool/global-pool.ts";
import { groupNorm } from "../../src/kernels/group-norm/group-norm.ts";
import { randomWeight } from "../kernels/operators.ts";

const PICTURES = ["fixed", "sample"];
const SIZES = { count: 6, picture: { height: 64, width: 96 }, inner: { height: 32, width: 32 } };

/** A network of two pictures, one of which changes: norm and mean of the fixed one, then a norm of both together; and attention of the sample. */
function network(height: number, width: number): Graph {
  const builder = new GraphBuilder();
  const shape = { batch: 1, height, width, channels: 4 };
  const norm = { groups: 2, epsilon: 1e-5, weight: randomWeight("weight", [4] as const, 1), bias: randomWeight("bias", [4] as const, 2) };
  const [fixed, sample] = PICTURES.map((name) => builder.input(name, shape));
  if (!fixed || !sample) throw new Error("no pictures");
  const normed = builder.add("normed", groupNorm, [fixed], norm);
  const mean = builder.add("mean", globalPool, [normed], { operation: "mean" });
  // Of a tensor that holds numbers of the whole already, so that it is no business of the tiles.
  const small = builder.add("small", groupNorm, [mean], norm);
  const scaled = builder.add("scaled", elementwise, [builder.add("both", elementwise, [normed, sample], { operation: "add" }), small], { operation: "multiply" });
  builder.output(builder.add("out", groupNorm, [scaled], norm));
  builder.output(builder.add("attention", channelAttentionWeights, [sample, sample], { heads: 2, temperature: randomWeight("t", [2] as const, 3) }));
  return builder.build();
}

const lines = (...text: string[]): string => text.join("\n");
const operators = (graph: Graph): string[] => formatGraph(graph).split("\n").map((line) => line.replace(/ 1×.* = (\w+)\(.*/, " = $1"));

describe("a network in tiles", () => {
  const graph = network(48, 48);
  const { levels, rest } = globalLevels(graph, PICTURES, ["sample"]);

  it("has levels of operators that look at all pixels, and a rest that depends on what changes", () => {
    expect(levels).toEqual([["normed"], ["mean"]]);
    expect(rest).toEqual(["out", "attention"]);
    expect(globalLevels(graph, PICTURES, [])).toEqual({ levels: [["normed", "attention"], ["mean"], ["out"]], rest: [] });
  });

  it("collects a level from the levels before, and computes nothing else", () => {
    const first = collectGraph(graph, PICTURES, SIZES, ["normed"], []);
    expect(operators(first)).toEqual(["normed: own = regionStatistics", "normed so far = pool", "normed: collected = pooledStatistics", "normed: parts so far = paste"]);
    const second = collectGraph(graph, PICTURES, SIZES, ["mean"], ["normed"]);
    expect(operators(second)).toEqual(["normed = normalise", "mean: own 0 = gather", "mean: pooled = globalPool", "mean so far = pool"]);
    expect(second.inputs.map(({ name }) => name)).toContain("normed: whole");
  });

  it("estimates the rest from the reduced picture, and then from every tile", () => {
    expect(estimateGraph(network(32, 48), PICTURES, 6, rest).outputs.map(({ name }) => name)).toEqual(["out: whole", "out: parts", "attention: whole"]);
    const collect = collectGraph(graph, PICTURES, SIZES, rest, levels.flat());
    const names = collect.outputs.map(({ name }) => name);
    expect(names).toEqual(["out so far", "out: collected", "out: parts so far", "attention so far", "attention: collected"]);
    expect(names.map(grownBefore)).toEqual(["out so far before", undefined, "out: parts so far before", "attention so far before", undefined]);
    expect(names.map((name) => collectedAs(name, names))).toEqual([undefined, "out: whole", "out: parts", undefined, "attention: whole"]);
    const inputs = new Map(collect.inputs.map(({ name, shape }) => [name, shape]));
    expect(inputs.get("out: parts so far before")).toMatchObject({ height: 6, width: 2, channels: 4 });
    expect([...inputs.keys()]).not.toContain("normed so far before");
  });

  it("takes everything from outside in the end", () => {
    expect(formatGraph(tileGraph(graph, PICTURES))).toBe(
      lines(
        "normed 1×48×48×4 = normalise(fixed, normed: whole)",
        "small 1×1×1×4 = groupNorm(mean) groups=2 epsilon=0.00001",
        "both 1×48×48×4 = elementwise(normed, sample) operation=add",
        "scaled 1×48×48×4 = elementwise(both, small) operation=multiply",
        "out 1×48×48×4 = normalise(scaled, out: whole)",
      ),
    );
  });
});
