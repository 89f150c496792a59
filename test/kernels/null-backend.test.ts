import { beforeAll, describe, expect, it } from "vitest";
import { reFusionRecipe } from "../../src/fusion/refusion.ts";
import { expectedRefusionTensors } from "../../src/checkpoints/refusion-format.ts";
import { compile, type Plan } from "../../src/graph/plan.ts";
import { GraphBuilder, type Graph, type Tensor } from "../../src/graph/graph.ts";
import type { Activation } from "../../src/kernels/activation.ts";
import { applyMatrix } from "../../src/kernels/apply-matrix/apply-matrix.ts";
import { blend } from "../../src/kernels/blend/blend.ts";
import { channelAttentionWeights } from "../../src/kernels/channel-attention/channel-attention.ts";
import { colour } from "../../src/kernels/colour/colour.ts";
import { concat } from "../../src/kernels/concat/concat.ts";
import { conv2d } from "../../src/kernels/conv2d/conv2d.ts";
import { convTranspose2d } from "../../src/kernels/conv-transpose2d/conv-transpose2d.ts";
import { covariance } from "../../src/kernels/covariance/covariance.ts";
import { depthwiseConv2d } from "../../src/kernels/depthwise-conv2d/depthwise-conv2d.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";
import { fill } from "../../src/kernels/fill/fill.ts";
import { groupStatistics } from "../../src/kernels/group-statistics/group-statistics.ts";
import { layerNorm } from "../../src/kernels/layer-norm/layer-norm.ts";
import { minMax, stretch } from "../../src/kernels/min-max/min-max.ts";
import { pool2d } from "../../src/kernels/pool2d/pool2d.ts";
import { projectedStatistics } from "../../src/kernels/projected-statistics/projected-statistics.ts";
import { resize } from "../../src/kernels/resize/resize.ts";
import { scaleKeys } from "../../src/kernels/scale-keys/scale-keys.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { type ReFusionConfig, reFusionGraph, type Weights } from "../../src/models/refusion/network.ts";
import { PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openNullGpu, rewriteAll, runPlan, type TestGpu } from "../gpu.ts";
import { randomWeight } from "./operators.ts";

/** Dawn's null backend checks types, layouts, limits and buffer usage; its numbers mean nothing and are not looked at. */
let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openNullGpu();
});

const ACTIVATIONS: readonly (Activation | undefined)[] = [undefined, { kind: "leakyRelu", slope: 0.25 }];

/** Every operator with every option that chooses another kernel or variant, as one graph. */
function everyOperator(type: ElementType): Graph {
  const builder = new GraphBuilder();
  let count = 0;
  const name = (): string => `tensor${count++}`;
  const weight = (...shape: number[]) => randomWeight(name(), shape, 1);
  const input = (height: number, width: number, channels: number, elementType = type): Tensor => builder.input(name(), { batch: 2, height, width, channels }, elementType);
  const tensors = new Map([1, 5, 16, 32, 48, 144].map((channels) => [channels, input(9, 7, channels)]));
  const of = (channels: number): Tensor => tensors.get(channels) ?? input(9, 7, channels);

  for (const [inputs, outputs] of [[1, 1], [5, 3], [5, 33], [32, 48], [48, 48], [144, 16]] as const) {
    const x = of(inputs);
    for (const activation of ACTIVATIONS) {
      for (const [kernel, stride, padding, dilation] of [[1, 1, 0, 1], [1, 2, 0, 1], [3, 1, 1, 1], [3, 2, 1, 1], [3, 1, 2, 2], [5, 1, 2, 1]] as const) {
        const attributes = { weight: weight(outputs, inputs, kernel, kernel), stride, padding, dilation, ...(activation && { activation }) };
        const plain = builder.add(name(), conv2d, [x], attributes);
        builder.add(name(), conv2d, [x, plain], { ...attributes, bias: weight(outputs), residual: true });
        if (kernel === 1 && stride === 1) builder.add(name(), conv2d, [x], { ...attributes, normalise: { epsilon: 1e-5 } });
      }
    }
    const rows = Math.ceil(inputs / 4) * 4;
    const matrix = builder.input(name(), { batch: 2, height: 1, width: rows, channels: outputs });
    const applied = builder.add(name(), applyMatrix, [x, matrix], {});
    builder.add(name(), applyMatrix, [x, matrix, applied], { residual: true });
  }
  for (const channels of [1, 5, 48]) {
    const x = of(channels);
    const rolling = { weight: weight(channels, 1, 3, 3), stride: 1, padding: 1, dilation: 1 };
    builder.add(name(), depthwiseConv2d, [x], rolling);
    builder.add(name(), depthwiseConv2d, [x], { ...rolling, bias: weight(channels), activation: { kind: "relu" } });
    builder.add(name(), depthwiseConv2d, [x, x], { ...rolling, gated: { weight: weight(channels, 1, 3, 3), bias: weight(channels) } });
    builder.add(name(), depthwiseConv2d, [x], { ...rolling, stride: 2 });
    builder.add(name(), depthwiseConv2d, [x], { weight: weight(channels, 1, 5, 5), stride: 1, padding: 2, dilation: 1, activation: { kind: "gelu" } });
    builder.add(name(), layerNorm, [x], { weight: weight(channels), bias: weight(channels), epsilon: 1e-5 });
    for (const kind of ["relu", "gelu", "silu", "sigmoid", "relu6"] as const) builder.add(name(), elementwise, [x], { operation: "activation", activation: { kind } });
    builder.add(name(), elementwise, [x], { operation: "prelu", slope: weight(channels) });
    for (const operation of ["add", "multiply", "gatedGelu"] as const) builder.add(name(), elementwise, [x, x], { operation });
    builder.add(name(), concat, [x, of(5)], {});
    builder.add(name(), stretch, [x, builder.add(name(), minMax, [x], {})], { scale: 255 });
  }
  for (const mode of [{ mode: "nearest" }, { alignCorners: false }, { mode: "bicubic", alignCorners: true }] as const) {
    builder.add(name(), resize, [of(5)], { height: 4, width: 15, ...mode });
  }
  for (const operation of ["mean", "maximum"] as const) builder.add(name(), pool2d, [of(5)], { operation, kernelSize: 3, stride: 2, padding: 1 });
  for (const [inputs, outputs, kernel] of [[1, 1, 2], [5, 33, 3], [48, 144, 4]] as const) {
    const attributes = { weight: weight(inputs, outputs, kernel, kernel), stride: 2, padding: 1, outputPadding: 0 };
    builder.add(name(), convTranspose2d, [of(inputs)], attributes);
    builder.add(name(), convTranspose2d, [of(inputs)], { ...attributes, bias: weight(outputs), activation: { kind: "gelu" } });
  }
  for (const [channels, heads] of [[1, 1], [5, 5], [16, 8], [32, 8], [48, 8], [48, 6], [144, 9]] as const) {
    builder.add(name(), channelAttentionWeights, [of(channels), of(channels)], { heads, temperature: weight(heads) });
  }
  for (const [x, moments] of [1, 5, 48].map((channels) => [of(channels), builder.add(name(), covariance, [of(channels)], {})] as const)) {
    const attributes = { weight: weight(144, x.shape.channels, 1, 1), bias: weight(144), groups: 9, epsilon: 1e-5 };
    builder.add(name(), scaleKeys, [input(9, 7, 145), builder.add(name(), projectedStatistics, [moments], attributes)], {});
    builder.add(name(), fill, [x], { value: 1, channels: 1 });
  }
  builder.add(name(), groupStatistics, [of(48)], { groups: 6, epsilon: 1e-5 });
  const [rgb, grey] = [input(9, 7, 3, "f32"), input(9, 7, 1, "f32")];
  builder.add(name(), colour, [rgb], { operation: "rgbToYCrCb", delta: 0.5 });
  builder.add(name(), colour, [grey, rgb], { operation: "yCrCbToRgb", delta: 0.5, limit: 1 });
  builder.add(name(), colour, [rgb, rgb], { operation: "mergeChroma", neutral: 0, epsilon: 1e-4 });
  const [one, two] = [input(9, 7, 3), input(9, 7, 3)];
  builder.add(name(), blend, [of(5), one, two], {});
  for (const x of [rgb, grey]) builder.add(name(), colour, [x], { operation: "luma", limit: 1, elementType: type });
  return builder.build();
}

/** Compiles, allocates and submits a plan; every rule of WebGPU that it breaks is an error. */
async function submit(plan: Plan): Promise<void> {
  const inputs = plan.inputs.map(({ tensor: { name, shape } }) => [name, new Float32Array(shape.batch * shape.height * shape.width * shape.channels)] as const);
  await runPlan(gpu, plan, Object.fromEntries(inputs));
}

const config: ReFusionConfig = { dim: 16, encoderBlocks: 2, decoderBlocks: 2, heads: 8, expansion: 2, bias: false };
const shapes = expectedRefusionTensors(config);
const weights: Weights = (name) => {
  const shape = shapes.get(name);
  if (!shape) throw new Error(`no weight ${name}`);
  return randomWeight(name, shape, 1);
};

describe("on the null backend", () => {
  it.each(["f32", "f16"] as const)("every variant of every operator compiles and runs, %s", async (type) => {
    const plan = compile(everyOperator(type), PORTABLE_TRAITS);
    await submit(plan);
    const kernels = new Set(plan.dispatches.map(({ kernel }) => kernel.name));
    expect(kernels.size).toBeGreaterThanOrEqual(13);
  });

  it.each(["f32", "f16"] as const)("every operator works in bands, %s", async (type) => {
    const limit = type === "f16" ? 2048 : 4096;
    const rows = (channels: number): Graph => {
      const builder = new GraphBuilder();
      const x = builder.input("x", { batch: 2, height: 40, width: 4, channels }, type);
      const convolved = builder.add("convolved", conv2d, [x], { weight: randomWeight("w", [channels, channels, 3, 3] as const, 1), stride: 1, padding: 1, dilation: 1 });
      const depthwise = builder.add("depthwise", depthwiseConv2d, [convolved], { weight: randomWeight("d", [channels, 1, 3, 3] as const, 1), stride: 1, padding: 1, dilation: 1 });
      builder.output(builder.add("sum", elementwise, [depthwise, x], { operation: "add" }));
      return builder.build();
    };
    const plan = compile(rows(16), { ...PORTABLE_TRAITS, maxStorageBufferBindingSize: limit });
    expect(plan.dispatches.length).toBeGreaterThan(3);
    await submit(plan);
  });

  it.each(["f32", "f16"] as const)("ReFusion's network runs with and without rewrites, %s", async (type) => {
    const graph = reFusionGraph(weights, config, { batch: 2, height: 9, width: 7 }, type);
    await submit(compile(graph, PORTABLE_TRAITS));
    await submit(compile(rewriteAll(graph), PORTABLE_TRAITS));
  });

  it.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])("a fusion by ReFusion runs, first side coloured: %s, second: %s", async (firstColoured, secondColoured) => {
    for (const elementType of ["f32", "f16"] as const) {
      for (const reference of [false, true]) {
        const graph = reFusionRecipe(weights, config).graph({ width: 7, height: 9, firstColoured, secondColoured, elementType, reference });
        await submit(compile(rewriteAll(graph), PORTABLE_TRAITS));
        expect(graph.outputs[0]?.shape.channels).toBe(firstColoured || secondColoured ? 3 : 1);
      }
    }
  });
});
