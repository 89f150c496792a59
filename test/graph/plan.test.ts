import { beforeAll, describe, expect, it } from "vitest";
import { type Graph, GraphBuilder } from "../../src/graph/graph.ts";
import { compile, type Plan } from "../../src/graph/plan.ts";
import { channelAttentionWeights } from "../../src/kernels/channel-attention/channel-attention.ts";
import { concat } from "../../src/kernels/concat/concat.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";
import { layerNorm } from "../../src/kernels/layer-norm/layer-norm.ts";
import { PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openTestGpu, runGraph, type TestGpu } from "../gpu.ts";
import { randomWeight } from "../kernels/operators.ts";
import { randomValues } from "../reference/tensor.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const size = { batch: 2, height: 3, width: 5 };
const relu = { operation: "activation", activation: { kind: "relu" } } as const;
const double = (builder: GraphBuilder, name: string, input: Parameters<GraphBuilder["slice"]>[1]) => builder.add(name, elementwise, [input, input], { operation: "add" });
const operators = (plan: Plan): string[] => plan.dispatches.map(({ operator }) => operator);

/** Values 1, 2, 3, … */
const counted = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => i + 1);

/** Channels `first` to `first + count` of values in [pixel][channel]. */
const channelsOf = (data: Float32Array, stride: number, first: number, count: number): number[] => [...data].filter((_, i) => i % stride >= first && i % stride < first + count);

describe("compile", () => {
  it("reads slices of channels where they lie, and writes nothing for them", async () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", { ...size, channels: 10 });
    const doubled = double(builder, "doubled", x);
    for (const [name, first, count] of [["low", 0, 4], ["high", 4, 6]] as const) builder.output(double(builder, name, builder.slice(`${name} part`, doubled, first, count)));
    builder.output(builder.slice("shown", doubled, 4, 6));
    const graph = builder.build();
    const data = counted(300);
    const { low, high, shown } = await runGraph(gpu, graph, { x: data });
    expect([...(low ?? [])]).toEqual(channelsOf(data, 10, 0, 4).map((value) => value * 4));
    expect([...(high ?? [])]).toEqual(channelsOf(data, 10, 4, 6).map((value) => value * 4));
    expect([...(shown ?? [])]).toEqual(channelsOf(data, 10, 4, 6).map((value) => value * 2));
    expect(operators(compile(graph, gpu.device.traits))).toEqual(["elementwise", "elementwise", "elementwise"]);
  });

  /** [2x, 4x] of x, both parts made by nodes. */
  function joined(first: number, second: number): Graph {
    const builder = new GraphBuilder();
    const x = builder.input("x", { ...size, channels: first });
    const y = builder.input("y", { ...size, channels: second });
    const joint = builder.add("joint", concat, [double(builder, "a", x), double(builder, "b", y)], {});
    builder.output(double(builder, "out", joint));
    builder.output(joint);
    return builder.build();
  }

  it.each([
    [4, 5, ["elementwise", "elementwise", "elementwise"]],
    [8, 4, ["elementwise", "elementwise", "elementwise"]],
    [5, 4, ["elementwise", "elementwise", "concat", "elementwise"]],
  ])("concatenates %i and %i channels, without a copy where the first fill their vectors", async (first, second, expected) => {
    const graph = joined(first, second);
    expect(operators(compile(graph, gpu.device.traits))).toEqual(expected);
    const x = counted(30 * first);
    const y = counted(30 * second).map((value) => value + 0.5);
    const { joint, out } = await runGraph(gpu, graph, { x, y });
    const all = first + second;
    expect(channelsOf(joint ?? x, all, 0, first)).toEqual([...x].map((value) => value * 2));
    expect(channelsOf(joint ?? x, all, first, second)).toEqual([...y].map((value) => value * 2));
    expect([...(out ?? [])]).toEqual([...(joint ?? [])].map((value) => value * 2));
  });

  it("copies inputs of the graph, a tensor joined with itself, and one that the other is made from", async () => {
    const data = counted(120);
    const run = async (body: (builder: GraphBuilder, x: ReturnType<GraphBuilder["input"]>) => void): Promise<[string[], Float32Array]> => {
      const builder = new GraphBuilder();
      body(builder, builder.input("x", { ...size, channels: 4 }));
      const graph = builder.build();
      const { joint } = await runGraph(gpu, graph, { x: data });
      return [operators(compile(graph, gpu.device.traits)), joint ?? new Float32Array()];
    };
    const join = (builder: GraphBuilder, ...parts: Parameters<GraphBuilder["add"]>[2]) => builder.output(builder.add("joint", concat, parts, {}));
    const check = ([ran, joint]: [string[], Float32Array], [a, b]: [number, number], copies: number): void => {
      expect(channelsOf(joint, 8, 0, 4)).toEqual([...data].map((value) => value * a));
      expect(channelsOf(joint, 8, 4, 4)).toEqual([...data].map((value) => value * b));
      expect(ran.filter((name) => name === "concat")).toHaveLength(copies);
    };
    check(await run((builder, x) => join(builder, x, double(builder, "a", x))), [1, 2], 1);
    check(
      await run((builder, x) => {
        const a = double(builder, "a", x);
        join(builder, a, a);
      }),
      [2, 2],
      1,
    );
    check(
      await run((builder, x) => {
        const a = double(builder, "a", x);
        join(builder, a, double(builder, "b", a));
      }),
      [2, 4],
      1,
    );
  });

  it("joins what was joined before, also where a part is made from a part of the inner one", async () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", { ...size, channels: 4 });
    const a = double(builder, "a", x);
    const b = builder.add("b", elementwise, [x], relu);
    const inner = builder.add("inner", concat, [a, b], {});
    const c = double(builder, "c", a);
    builder.output(builder.add("joint", concat, [inner, c], {}));
    const data = counted(120);
    const { joint } = await runGraph(gpu, builder.build(), { x: data });
    for (const [first, factor] of [[0, 2], [4, 1], [8, 4]] as const) expect(channelsOf(joint ?? data, 12, first, 4)).toEqual([...data].map((value) => value * factor));
  });

  it("keeps the padding of a joined tensor zero", async () => {
    // A layer norm sums whole vectors, so a padding that is not zero would show in its mean.
    const builder = new GraphBuilder();
    const x = builder.input("x", { ...size, channels: 4 });
    const y = builder.input("y", { ...size, channels: 1 });
    const joint = builder.add("joint", concat, [builder.add("a", elementwise, [x], relu), builder.add("b", elementwise, [y], { operation: "activation", activation: { kind: "sigmoid" } })], {});
    const ones = { name: "ones", shape: [5], data: new Float32Array(5).fill(1) };
    const zeros = { name: "zeros", shape: [5], data: new Float32Array(5) };
    builder.output(builder.add("normed", layerNorm, [joint], { weight: ones, bias: zeros, epsilon: 1e-5 }));
    const { normed } = await runGraph(gpu, builder.build(), { x: Float32Array.from(randomValues(120, 1)), y: Float32Array.from(randomValues(30, 2)) });
    for (let pixel = 0; pixel < 30; pixel++) expect(Math.abs((normed ?? new Float32Array()).slice(pixel * 5, pixel * 5 + 5).reduce((a, b) => a + b, 0))).toBeLessThan(1e-5);
  });

  it("binds no buffer for reading and for writing in one dispatch, and knows its memory beforehand", () => {
    const builder = new GraphBuilder();
    let x = builder.input("x", { batch: 1, height: 64, width: 64, channels: 8 });
    for (let i = 0; i < 6; i++) {
      const weights = builder.add(`weights${i}`, channelAttentionWeights, [x, x], { heads: 2, temperature: randomWeight(`t${i}`, [2] as const, i) });
      x = double(builder, `x${i}`, x);
      builder.output(weights);
    }
    builder.output(x);
    const plan = compile(builder.build(), PORTABLE_TRAITS);
    for (const { shader, places } of plan.dispatches) {
      const buffers = (type: string): number[] => shader.bindings.filter((binding) => binding.type === type).flatMap(({ name }) => (places[name] && "buffer" in places[name] ? [places[name].buffer] : []));
      const written = buffers("storage");
      expect(buffers("read-only-storage").filter((buffer) => written.includes(buffer))).toEqual([]);
    }
    expect(plan.peakBytes).toBeGreaterThan(plan.buffers.reduce((a, b) => a + b, 0));
    // Six steps of a chain share the memory of two tensors.
    expect(plan.buffers.reduce((a, b) => a + b, 0)).toBeLessThan(4 * 64 * 64 * 8 * 4);
  });

  it("makes the same plan of the same graph", () => {
    const summary = ({ dispatches, buffers }: Plan) => ({ buffers, dispatches: dispatches.map(({ label, places, constants, defines, workgroups }) => ({ label, places: JSON.stringify(places), constants, defines, workgroups })) });
    expect(summary(compile(joined(5, 4), PORTABLE_TRAITS))).toEqual(summary(compile(joined(5, 4), PORTABLE_TRAITS)));
  });

  it("refuses a tensor larger than the device's largest buffer, with the bytes", () => {
    const builder = new GraphBuilder();
    builder.output(double(builder, "large", builder.input("x", { batch: 1, height: 10_000, width: 10_000, channels: 1 })));
    expect(() => compile(builder.build(), PORTABLE_TRAITS)).toThrow(
      expect.objectContaining({ code: "OUT_OF_MEMORY", where: "x", message: "x needs 1600000000 bytes; the device's largest buffer has 268435456" }),
    );
  });

  it("refuses a picture of which not one row can be bound", () => {
    const builder = new GraphBuilder();
    builder.output(double(builder, "wide", builder.input("x", { batch: 1, height: 2, width: 100, channels: 4 })));
    const traits = { ...PORTABLE_TRAITS, maxStorageBufferBindingSize: 1024 };
    expect(() => compile(builder.build(), traits)).toThrow(expect.objectContaining({ code: "TOO_WIDE", message: "1 rows of 1×2×100×4 need a binding over the device's limit of 1024 bytes" }));
  });
});
