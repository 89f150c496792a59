import { readFileSync } from "node:fs";
import { join } from "node:path";
import { detectModel } from "../../src/checkpoints/detect.ts";
import { maskDifuserFormat } from "../../src/checkpoints/mask-difuser-format.ts";
import { readCheckpoint } from "../../src/checkpoints/read.ts";
import { readSafetensors } from "../../src/checkpoints/safetensors.ts";
import { toFloat32 } from "../../src/checkpoints/tensor.ts";
import type { Weight } from "../../src/kernels/weights.ts";
import type { MaskDifuserConfig, Weights } from "../../src/models/mask-difuser/network.ts";
import { fromNchw, type ReferenceTensor } from "../reference/tensor.ts";
import { ruleWeight } from "../weight-rule.ts";

const folder = join(process.cwd(), "../shared/golden/mask_difuser");

export interface GoldenModel {
  readonly config: MaskDifuserConfig;
  readonly weights: Weights;
}

/** Where the small network and its tensors lie; every clone has them. */
export const fixtures = join(process.cwd(), "test/fixtures");

const read = (file: string, from = folder): Uint8Array<ArrayBuffer> => Uint8Array.from(readFileSync(join(from, file)));

/** Bytes of the small checkpoint in the official format. */
export const tinyCheckpoint = (): Uint8Array => read("mask_difuser_tiny.pth");

/** The small network of the published sizes' kind from its checkpoint. */
export const tinyModel = (): GoldenModel => modelOf(tinyCheckpoint(), "mask_difuser_tiny.pth");

/** A network of the kind that we train: cross-attention at some levels only, a blend of the pictures as output. */
export const smallModel = (): GoldenModel => modelOf(read("mask-difuser-small.safetensors", fixtures), "mask-difuser-small.safetensors");

function modelOf(bytes: Uint8Array, name: string): GoldenModel {
  const detected = detectModel(readCheckpoint(bytes, name), name);
  if (detected.model !== "mask-difuser") throw new Error(`found ${detected.model}`);
  const known = new Map<string, Weight>();
  for (const [key, tensor] of detected.tensors) known.set(key, { name: key, shape: tensor.shape, data: toFloat32(tensor) });
  return { config: detected.config, weights: (key) => lookUp(known, key) };
}

/** The network of four levels, whose weights follow the rule. */
export function c4Model(): GoldenModel {
  const { c4 } = JSON.parse(readFileSync(join(folder, "state_keys.json"), "utf8")) as {
    readonly c4: {
      readonly seed: number;
      readonly gain: number;
      readonly bits: number;
      readonly multipliers_by_key_suffix: [string, number][];
      readonly keys: Readonly<Record<string, { readonly index: number; readonly shape: readonly number[] }>>;
    };
  };
  const table = goldenNchw("tables.safetensors").get("time_embedding_ch32_f32");
  const config = { ...maskDifuserFormat.published, channels: 32 };
  const known = new Map<string, Weight>();
  const weights = (name: string): Weight => {
    const key = c4.keys[name];
    if (!key) throw new Error(name);
    const weight = known.get(name) ?? { name, shape: key.shape, data: ruleWeight({ ...c4, multipliers: c4.multipliers_by_key_suffix }, name, key.index, key.shape) };
    known.set(name, weight);
    return weight;
  };
  return { config, weights: (name) => (name.startsWith("time_embedding.timembedding.0") && table ? { name, shape: [1000, 32], data: table.data } : weights(name)) };
}

/** A network whose weights are small numbers by the rule, for a clone without goldens. */
export function syntheticModel(config: MaskDifuserConfig): GoldenModel {
  const shapes = maskDifuserFormat.expectedTensors(config);
  const names = [...shapes.keys()].toSorted();
  const known = new Map<string, Weight>();
  return {
    config,
    weights: (name) => {
      const shape = shapes.get(name);
      if (!shape) throw new Error(name);
      const rule = { seed: 7, gain: 6, bits: 10, multipliers: [] };
      const weight = known.get(name) ?? { name, shape, data: ruleWeight(rule, name, names.indexOf(name), shape) };
      known.set(name, weight);
      return weight;
    },
  };
}

function lookUp(known: ReadonlyMap<string, Weight>, name: string): Weight {
  const weight = known.get(name);
  if (!weight) throw new Error(name);
  return weight;
}

/** A stored tensor as it is stored: PyTorch's order of dimensions. */
export interface GoldenTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** The tensors of a golden file. */
export function goldenNchw(file: string, from = folder): Map<string, GoldenTensor> {
  const { tensors } = readSafetensors(read(file, from), file);
  return new Map([...tensors].map(([name, tensor]) => [name, { shape: tensor.shape, data: toFloat32(tensor) }]));
}

/** The tensors of four dimensions in the order that kernels have: [batch][row][column][channel]. */
export function goldenTensors(file: string, from = folder): (name: string) => ReferenceTensor {
  const tensors = goldenNchw(file, from);
  return (name) => {
    const tensor = tensors.get(name);
    if (!tensor) throw new Error(`${file} has no ${name}`);
    return fromNchw(tensor.shape as [number, number, number, number], tensor.data);
  };
}

/** Largest absolute difference; NaN counts as infinite. */
export function largestDifference(actual: ArrayLike<number> | undefined, expected: ArrayLike<number>): number {
  if (actual?.length !== expected.length) return Infinity;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs((actual[i] ?? NaN) - (expected[i] ?? NaN));
    if (!(difference <= largest)) largest = difference;
  }
  return Number.isNaN(largest) ? Infinity : largest;
}
