import { beforeAll, describe, expect, it } from "vitest";
import { maskDifuserFormat } from "../../src/checkpoints/mask-difuser-format.ts";
import { formatGraph, type Graph, GraphBuilder, nodeOf } from "../../src/graph/graph.ts";
import { splitGraph } from "../../src/graph/split.ts";
import { attention } from "../../src/kernels/attention/attention.ts";
import { concat } from "../../src/kernels/concat/concat.ts";
import { conv2d } from "../../src/kernels/conv2d/conv2d.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import type { Weight } from "../../src/kernels/weights.ts";
import { maskDifuserConditions, type MaskDifuserConfig, maskDifuserStep, maskDifuserTimeBiases, maskDifuserTimeChannels, maskDifuserTimeEmbedding } from "../../src/models/mask-difuser/network.ts";
import { foldCombine } from "../../src/models/mask-difuser/rewrites.ts";
import { hasGoldens } from "../diffusion/golden.ts";
import { openTestGpu, rewriteAll, runGraph, type TestGpu } from "../gpu.ts";
import { randomWeight } from "../kernels/operators.ts";
import { randomValues, relativeError, type ReferenceTensor } from "../reference/tensor.ts";
import { c4Model, fixtures, goldenNchw, goldenTensors, type GoldenModel, largestDifference, smallModel, tinyModel } from "./mask-difuser-goldens.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** Conditions and one step as one graph, whose outputs are `tail`, the conditions and the tensors called `keep`. */
function networkGraph({ weights, config }: GoldenModel, [batch, height, width]: readonly number[], elementType: ElementType = "f32", keep: readonly string[] = []): Graph {
  const builder = new GraphBuilder();
  const shape = { batch: batch ?? 1, height: height ?? 1, width: width ?? 1, channels: 3 };
  const [first, second, sample] = ["first", "second", "sample"].map((name) => builder.input(name, shape, elementType)) as [never, never, never];
  const time = builder.input("time", { batch: shape.batch, height: 1, width: 1, channels: maskDifuserTimeChannels(config) }, elementType);
  const conditions = maskDifuserConditions(builder, weights, config, first, second);
  builder.output(maskDifuserStep(builder, weights, config, conditions, sample, time));
  for (const tensor of [conditions.first, conditions.second, conditions.content]) builder.output(tensor);
  const graph = builder.build();
  const kept = graph.nodes.map(({ output }) => output).filter(({ name }) => keep.includes(name));
  return { ...graph, outputs: [...graph.outputs, ...kept] };
}

function networkInputs({ weights, config }: GoldenModel, pictures: { readonly first: ReferenceTensor; readonly second: ReferenceTensor; readonly sample: ReferenceTensor }, timesteps: readonly number[]): Record<string, Float32Array> {
  const time = timesteps.flatMap((timestep) => [...maskDifuserTimeBiases(weights, config, timestep)]);
  return { ...Object.fromEntries(Object.entries(pictures).map(([name, { data }]) => [name, Float32Array.from(data)])), time: Float32Array.from(time) };
}

/** All rewrites that a fusion uses. */
const rewriteWhole = (graph: Graph): Graph => foldCombine(rewriteAll(graph));

const LAST_LAYER = "encoder.layer3";
const TOLERANCE = { eps: 1e-3, conditions: 1e-4 };

/** A software adapter takes its time to compile some sixty pipelines. */
const MINUTES = 1_200_000;

describe.skipIf(!hasGoldens)("Mask-DiFuser's network against the published program (needs ../shared/golden)", () => {
  it.each([
    ["tiny, as published", "tiny", tinyModel, (graph: Graph) => graph],
    ["tiny, rewritten", "tiny", tinyModel, rewriteWhole],
    ["c4, rewritten", "c4", c4Model, rewriteWhole],
  ] as const)("%s, three timesteps", { timeout: MINUTES }, async (_, name, load, rewrite) => {
    const model = load();
    const golden = goldenTensors(`${name}_forward.safetensors`);
    const pictures = { first: golden("img_a"), second: golden("img_b"), sample: golden("x_t") };
    const graph = rewrite(networkGraph(model, pictures.sample.shape));
    for (const timestep of [0, 200, 999]) {
      const outputs = await runGraph(gpu, graph, networkInputs(model, pictures, [timestep]));
      expect(largestDifference(outputs["tail"], golden(`eps_t${timestep}`).data)).toBeLessThanOrEqual(TOLERANCE.eps);
      expect(largestDifference(outputs[`${LAST_LAYER}(first)`], golden("fa").data)).toBeLessThanOrEqual(TOLERANCE.conditions);
      expect(largestDifference(outputs[`${LAST_LAYER}(second)`], golden("fb").data)).toBeLessThanOrEqual(TOLERANCE.conditions);
      expect(largestDifference(outputs["content_encoder"], golden("f_f").data)).toBeLessThanOrEqual(TOLERANCE.conditions);
    }
  });

  it.each([
    ["tiny", tinyModel],
    ["c4", c4Model],
  ] as const)("%s, two pictures with timesteps of their own", { timeout: MINUTES }, async (name, load) => {
    const model = load();
    const golden = goldenTensors(`${name}_forward.safetensors`);
    const timesteps = [...(goldenNchw(`${name}_forward.safetensors`).get("batch2.t")?.data ?? [])];
    const pictures = { first: golden("batch2.img_a"), second: golden("batch2.img_b"), sample: golden("batch2.x_t") };
    const outputs = await runGraph(gpu, rewriteWhole(networkGraph(model, pictures.sample.shape)), networkInputs(model, pictures, timesteps));
    expect(largestDifference(outputs["tail"], golden("batch2.eps").data)).toBeLessThanOrEqual(TOLERANCE.eps);
  });

  it("tiny, in f16 within 1e-2", { timeout: MINUTES }, async () => {
    const model = tinyModel();
    const golden = goldenTensors("tiny_forward.safetensors");
    const pictures = { first: golden("img_a"), second: golden("img_b"), sample: golden("x_t") };
    const outputs = await runGraph(gpu, rewriteWhole(networkGraph(model, pictures.sample.shape, "f16")), networkInputs(model, pictures, [200]));
    expect(relativeError(outputs["tail"] ?? [], golden("eps_t200").data)).toBeLessThanOrEqual(1e-2);
  });

  it("tiny has the activations of every module", { timeout: MINUTES }, async () => {
    const model = tinyModel();
    const stored = goldenNchw("tiny_intermediates.safetensors");
    const golden = goldenTensors("tiny_intermediates.safetensors");
    const input = golden("input");
    const channels = (first: number): ReferenceTensor => {
      const [batch, height, width] = input.shape;
      return { shape: [batch, height, width, 3], data: input.data.filter((_, i) => Math.floor((i % 9) / 3) * 3 === first) };
    };
    const pictures = { first: channels(0), second: channels(3), sample: channels(6) };
    const [timestep = 0] = stored.get("t")?.data ?? [];

    const time = stored.get("act.time_embedding")?.data ?? new Float32Array();
    expect(relativeError(maskDifuserTimeEmbedding(model.weights, model.config, timestep), time)).toBeLessThanOrEqual(1e-5);

    // "act.encoder.layer0(img_a) [tokens,batch,128]" is what we call "encoder.layer0(first)".
    const ours = (key: string): string => key.slice(4).replace(/ .*/, "").replace("(img_a)", "(first)");
    const keys = [...stored.keys()].filter((key) => key.startsWith("act.") && key !== "act.time_embedding");
    const outputs = await runGraph(gpu, networkGraph(model, pictures.sample.shape, "f32", keys.map(ours)), networkInputs(model, pictures, [timestep]));
    for (const key of keys) {
      const tensor = stored.get(key);
      const expected = tensor?.shape.length === 4 ? golden(key).data : (tensor?.data ?? []);
      // Late layers have gathered the rounding of all before them, as the published program's own have.
      expect(relativeError(outputs[ours(key)] ?? [], expected), key).toBeLessThanOrEqual(1e-3);
    }
    expect(keys.length).toBeGreaterThan(45);
  });
});

describe("Mask-DiFuser's network in the sizes that we train, against PyTorch in float64", () => {
  it.each([
    ["as built", "f32", (graph: Graph) => graph],
    ["rewritten", "f32", rewriteWhole],
    ["rewritten", "f16", rewriteWhole],
  ] as const)("%s, in %s", { timeout: MINUTES }, async (_, elementType, rewrite) => {
    const model = smallModel();
    expect(model.config).toMatchObject({ output: "blend", prediction: "x0", crossAttentionLevels: [1], groups: 2 });
    const golden = goldenTensors("mask-difuser-small-io.safetensors", fixtures);
    const pictures = { first: golden("first"), second: golden("second"), sample: golden("x_t") };
    const graph = rewrite(networkGraph(model, pictures.sample.shape, elementType, ["tail"]));
    const expected = (timestep: number): Record<string, string> => ({
      tail: `network.${timestep}`,
      blended: `x0.${timestep}`,
      content_encoder: "content",
      "encoder.layer0(first)": "semantic_first",
      "encoder.layer0(second)": "semantic_second",
    });
    for (const timestep of [999, 400]) {
      const outputs = await runGraph(gpu, graph, networkInputs(model, pictures, [timestep]));
      for (const [name, key] of Object.entries(expected(timestep))) {
        const { data } = golden(key);
        const isOutput = name === "tail" || name === "blended";
        if (elementType === "f16") expect(relativeError(outputs[name] ?? [], data), key).toBeLessThanOrEqual(1e-2);
        else expect(largestDifference(outputs[name], data), key).toBeLessThanOrEqual(isOutput ? TOLERANCE.eps : TOLERANCE.conditions);
      }
    }
  });
});

describe("foldCombine", () => {
  const side = { batch: 1, height: 5, width: 7, channels: 8 };

  /** A convolution over two tensors and their sum, as in every residual block. */
  function block(weight: Weight, bias: Weight): Graph {
    const builder = new GraphBuilder();
    const [a, b] = [builder.input("a", side), builder.input("b", side)];
    const sum = builder.add("sum", elementwise, [a, b], { operation: "add" });
    const joined = builder.add("joined", concat, [builder.add("pair", concat, [a, b], {}), sum], {});
    builder.output(builder.add("out", conv2d, [joined], { weight, bias, stride: 1, padding: 1, dilation: 1 }));
    return builder.build();
  }

  it("takes the sum of two tensors out of a convolution: a third of its work, the same numbers", async () => {
    const [weight, bias] = [randomWeight("weight", [6, 24, 3, 3] as const, 1), randomWeight("bias", [6] as const, 2)];
    const before = block(weight, bias);
    const after = foldCombine(before);
    expect(formatGraph(before)).toBe(
      ["sum 1×5×7×8 = elementwise(a, b) operation=add", "pair 1×5×7×16 = concat(a, b)", "joined 1×5×7×24 = concat(pair, sum)", "out 1×5×7×6 = conv2d(joined)"].join("\n"),
    );
    expect(formatGraph(after)).toBe(["pair 1×5×7×16 = concat(a, b)", "out 1×5×7×6 = conv2d(pair)"].join("\n"));
    const inputs = { a: Float32Array.from(randomValues(280, 3)), b: Float32Array.from(randomValues(280, 4)) };
    const [expected, actual] = [await runGraph(gpu, before, inputs), await runGraph(gpu, after, inputs)];
    expect(relativeError(actual["out"] ?? [], expected["out"] ?? [])).toBeLessThanOrEqual(2e-6);
  });

  it("saves what was computed for the published sizes: 7.1 % of a step at 640×480, 11.8 % at 256×256", () => {
    const config = maskDifuserFormat.published;
    // Of a step as published; ours has the keys and values before the steps, and one query of the block's input for both sides.
    for (const [height, width, total, shared, saved] of [[256, 256, 1189e9, 17.5e9, 0.118], [480, 640, 9342e9, 82e9, 0.071]] as const) {
      const step = splitGraph(networkGraph(shapesOnly(config), [1, height, width]), ["sample", "time"]).step;
      const [before, after] = [step, foldCombine(step)].map(multiplyAdds) as [number, number];
      expect((before + shared) / total).toBeCloseTo(1, 3);
      expect((before - after) / total).toBeCloseTo(saved, 3);
    }
  });
});

/** Weights of the right shapes without numbers. */
function shapesOnly(config: MaskDifuserConfig): GoldenModel {
  const shapes = maskDifuserFormat.expectedTensors(config);
  return {
    config,
    weights: (name) => {
      const shape = shapes.get(name) ?? [];
      return { name, shape, data: shape.length === 1 ? new Float32Array(shape[0] ?? 0) : new Float32Array() };
    },
  };
}

/** Multiply-adds of convolutions and attention. */
function multiplyAdds({ nodes }: Graph): number {
  return nodes.reduce((sum, node) => {
    const { batch, height, width, channels } = node.output.shape;
    const pixels = batch * height * width;
    const convolution = nodeOf(node, conv2d);
    if (convolution) return sum + pixels * convolution.attributes.weight.shape.reduce((product, size) => product * size, 1);
    const [query, key] = nodeOf(node, attention)?.inputs ?? [];
    return query && key ? sum + pixels * key.shape.height * key.shape.width * (query.shape.channels + channels) : sum;
  }, 0);
}
