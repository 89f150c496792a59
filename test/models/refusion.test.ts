import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, vi } from "vitest";
import { detectModel } from "../../src/checkpoints/detect.ts";
import { readCheckpoint } from "../../src/checkpoints/read.ts";
import { readSafetensors } from "../../src/checkpoints/safetensors.ts";
import { type StoredTensor, toFloat32 } from "../../src/checkpoints/tensor.ts";
import { formatGraph } from "../../src/graph/graph.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { type ReFusionConfig, reFusionGraph, type Weights } from "../../src/models/refusion/network.ts";
import { openTestGpu, rewriteAll, runGraph, type TestGpu } from "../gpu.ts";
import { relativeError } from "../reference/tensor.ts";

interface Network {
  readonly weights: Weights;
  readonly config: ReFusionConfig;
}

interface Sources {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly first: Float32Array;
  readonly second: Float32Array;
}

// The first run of a network compiles all its kernels, which on a software adapter on a busy machine takes minutes.
vi.setConfig({ testTimeout: 600_000 });

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

function weightsOf(tensors: ReadonlyMap<string, StoredTensor>): Weights {
  return (name) => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`no weight ${name}`);
    return { name, shape: tensor.shape, data: toFloat32(tensor) };
  };
}

/** The output of the network with all rewrites. */
async function output({ weights, config }: Network, sources: Sources, type: ElementType = "f32"): Promise<Float32Array> {
  const graph = rewriteAll(reFusionGraph(weights, config, sources, type));
  const outputs = await runGraph(gpu, graph, { first: sources.first, second: sources.second });
  return outputs["output"] ?? new Float32Array();
}

function largestDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((actual[i] ?? NaN) - (expected[i] ?? NaN));
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

describe("ReFusion's network with small random weights", () => {
  const path = "test/fixtures/refusion/small.safetensors";
  const { tensors, metadata } = readSafetensors(readFileSync(path), path);
  const network: Network = { weights: weightsOf(tensors), config: JSON.parse(metadata["config"] ?? "") as ReFusionConfig };
  const values = (name: string): Float32Array => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`no tensor ${name}`);
    return toFloat32(tensor);
  };
  const sources = (size: string): Sources => {
    const [batch = 0, height = 0, width = 0] = tensors.get(`${size}.output`)?.shape ?? [];
    return { batch, height, width, first: values(`${size}.first`), second: values(`${size}.second`) };
  };

  it.each(["13x11", "1x7", "9x1"])("computes what PyTorch does: %s", async (size) => {
    expect(largestDifference(await output(network, sources(size)), values(`${size}.output`))).toBeLessThanOrEqual(2e-5);
  });

  it("computes the same in f16", async () => {
    expect(largestDifference(await output(network, sources("13x11"), "f16"), values("13x11.output"))).toBeLessThanOrEqual(1e-2);
  });

  it("runs a transformer block as eight nodes after the rewrites", () => {
    const graph = reFusionGraph(network.weights, network.config, { batch: 1, height: 8, width: 8 });
    const lines = formatGraph(rewriteAll(graph)).split("\n");
    expect(graph.nodes).toHaveLength(70);
    expect(lines.filter((line) => line.startsWith("encoder1.0") || line.includes(" = conv2d(encoder1.0"))).toMatchInlineSnapshot(`
      [
        "encoder1.0.attn.qkv 1×8×8×24 = conv2d(project_in_1) normalise(0.00001)",
        "encoder1.0.attn.qkv_dwconv 1×8×8×24 = depthwiseConv2d(encoder1.0.attn.qkv)",
        "encoder1.0.attn.attention 1×1×8×8 = channelAttentionWeights(encoder1.0.attn.q, encoder1.0.attn.k) heads=4",
        "encoder1.0.attn.matrix 1×1×8×8 = conv2d(encoder1.0.attn.attention)",
        "encoder1.0.residual 1×8×8×8 = applyMatrix(encoder1.0.attn.v, encoder1.0.attn.matrix, project_in_1) residual",
        "encoder1.0.ffn.project_in 1×8×8×32 = conv2d(encoder1.0.residual) normalise(0.00001)",
        "encoder1.0.ffn.gated 1×8×8×16 = depthwiseConv2d(encoder1.0.ffn.project_in[0:16], encoder1.0.ffn.project_in[16:32]) gated()",
        "encoder1.0 1×8×8×8 = conv2d(encoder1.0.ffn.gated, encoder1.0.residual) residual",
        "FM.qkv1 1×8×8×24 = conv2d(encoder1.0)",
      ]
    `);
  });
});

const folder = join(process.cwd(), "../shared/golden/refusion");
const hasGoldens = existsSync(folder);
if (!hasGoldens) console.warn("skipped: ReFusion against the published weights needs ../shared/golden/refusion");

describe.skipIf(!hasGoldens).each(["IVIF", "MIF", "MFIF", "MEIF"])("ReFusion's network with the published weights, %s", (task) => {
  let network: Network;
  let crop: ReadonlyMap<string, StoredTensor>;
  let sizes: ReadonlyMap<string, StoredTensor>;
  const read = (name: string): ReadonlyMap<string, StoredTensor> => readSafetensors(readFileSync(join(folder, name)), name).tensors;

  beforeAll(() => {
    const file = `weights/ReFusion_${task}.pth`;
    const detected = detectModel(readCheckpoint(readFileSync(join(folder, file)), file), file);
    if (detected.model !== "refusion") throw new Error(`${file} is ${detected.model}`);
    network = { weights: weightsOf(detected.tensors), config: detected.config };
    crop = read(`${task}_crop.safetensors`);
    sizes = read(`${task}_sizes.safetensors`);
  });

  const tensor = (tensors: ReadonlyMap<string, StoredTensor>, name: string): { shape: readonly number[]; data: Float32Array } => {
    const stored = tensors.get(name);
    if (!stored) throw new Error(`no tensor ${name}`);
    return { shape: stored.shape, data: toFloat32(stored) };
  };

  const cropSources = (): Sources => {
    const [first, second] = [tensor(crop, "y1"), tensor(crop, "y2")];
    const [height = 0, width = 0] = first.shape.slice(-2);
    return { batch: 1, height, width, first: first.data, second: second.data };
  };

  it("makes every activation of the published program", async () => {
    const names = [...crop.keys()].filter((name) => name.startsWith("act.")).map((name) => name.slice(4));
    const sources = cropSources();
    const graph = reFusionGraph(network.weights, network.config, sources, "f32", names);
    const activations = await runGraph(gpu, graph, { first: sources.first, second: sources.second });
    const errors = Object.fromEntries(names.map((name) => [name, activationError(activations[name] ?? new Float32Array(), tensor(crop, `act.${name}`))]));
    expect(names.length).toBeGreaterThan(15);
    expect(Object.entries(errors).filter(([, error]) => !(error <= 1e-4))).toEqual([]);
  });

  it("makes its output, with all rewrites, in f32 and f16", async () => {
    const expected = tensor(crop, "output").data;
    expect(largestDifference(await output(network, cropSources()), expected)).toBeLessThanOrEqual(2e-5);
    expect(largestDifference(await output(network, cropSources(), "f16"), expected)).toBeLessThanOrEqual(1e-2);
  });

  it("makes its output in every size, from one pixel up, and for a batch", async () => {
    const names = [...sizes.keys()].filter((name) => name.endsWith(".input")).map((name) => name.slice(0, -6));
    expect(names).toHaveLength(7);
    const errors: [string, number][] = [];
    for (const name of names) {
      const { shape, data } = tensor(sizes, `${name}.input`);
      const [batch = 0, , height = 0, width = 0] = shape;
      // Batch × 2 × height × width: both sources of an image lie one after the other.
      const side = (index: number): Float32Array => data.filter((_, i) => Math.floor(i / (height * width)) % 2 === index);
      const actual = await output(network, { batch, height, width, first: side(0), second: side(1) });
      errors.push([name, largestDifference(actual, tensor(sizes, `${name}.output`).data)]);
    }
    expect(errors.filter(([, error]) => !(error <= 2e-5))).toEqual([]);
  });
});

/** Error of an activation in [pixel][channel] against 1 × channels × height × width. */
function activationError(actual: Float32Array, { shape, data }: { shape: readonly number[]; data: Float32Array }): number {
  const [, channels = 0, height = 0, width = 0] = shape;
  const pixels = height * width;
  return relativeError(actual, Float32Array.from({ length: channels * pixels }, (_, i) => data[(i % channels) * pixels + Math.floor(i / channels)] ?? NaN));
}
