import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Graph } from "../src/graph/graph.ts";
import type { ElementType } from "../src/kernels/tensor.ts";
import { writeSafetensors } from "../src/checkpoints/safetensors.ts";
import { fromFloat32 } from "../src/checkpoints/tensor.ts";
import type { Weight } from "../src/kernels/weights.ts";
import type { SamplingJob } from "../src/fusion/sampling.ts";
import { packageRoot } from "../src/platform/files.ts";
import { scatteredValues } from "./statistics.ts";

export interface Size {
  readonly width: number;
  readonly height: number;
}

export const formatSize = ({ width, height }: Size): string => `${width}×${height}`;

export const sameSize = (a: Size, b: Size): boolean => a.width === b.width && a.height === b.height;

export const cacheFolder = (): string => join(packageRoot(), ".cache/bench");

/** A part of a network that runs as one plan. */
export interface Part {
  /** `fusion`, or of a diffusion model `once` (what is done once a pair) and `step`. */
  readonly name: string;
  /** After all rewrites. */
  readonly graph: Graph;
}

/** A network with weights, ready to be measured at any size. */
export interface Workload {
  readonly network: "refusion" | "mask-difuser";
  /** Name and configuration, for reports. */
  readonly title: string;
  /** For reports: the weights' file within the package, its name, or how they were made. */
  readonly weightsName: string;
  /** Where they were read from, if they were. */
  readonly weightsFile?: string;
  readonly elementType: ElementType;
  /** Both sides of a picture must be multiples of it. */
  readonly multiple: number;
  parts(size: Size): Part[];
  /** The sampler's part in a fusion, for a diffusion model. */
  sampling?(size: Size): SamplingJob;
  /** Inputs `first` and `second`. */
  pictures(size: Size): Pictures;
  /** The network that other engines run too; absent where only Sinter knows it. */
  peer?(size: Size): PeerNetwork;
}

export type Pictures = Readonly<Record<"first" | "second", Float32Array>>;

/** The same computation for Sinter and for the ONNX file that bench/peers/export_onnx.py writes; tensors of one are those of the other. */
export interface PeerNetwork {
  /** What is compared, for reports. */
  readonly name: string;
  /** File name of the ONNX file. */
  readonly file: string;
  /** Arguments of export_onnx.py. */
  readonly exportArguments: readonly string[];
  /** After rewrites, with one output. */
  readonly graph: Graph;
  /** The same before rewrites. */
  readonly plainGraph: Graph;
  readonly inputs: Readonly<Record<string, Float32Array>>;
  readonly theirInputs: Readonly<Record<string, PeerTensor>>;
  /** Values of the output in Sinter's order, from those of the peer. */
  outputToOurs(values: Float32Array): Float32Array;
  /** Heads of the network's channel attention, where it has one. */
  readonly heads: number;
}

/** Values in PyTorch's order of dimensions. */
export interface PeerTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

/** Random values in 0..1. */
export const randomPicture = (count: number, seed: number): Float32Array => scatteredValues(count, seed, 0.5).map((value) => value + 0.5);

/** Writes weights in float32 for the peers. */
export function writeWeights(file: string, weights: Iterable<Weight>): void {
  const tensors = new Map([...weights].map(({ name, shape, data }) => [name, fromFloat32(data, shape, "F32")]));
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, writeSafetensors({ tensors, metadata: {} }));
}

/** [channel][pixel] → [pixel][channel], for a batch of one. */
export function channelsLast(values: Float32Array, channels: number): Float32Array {
  const pixels = values.length / channels;
  const result = new Float32Array(values.length);
  for (let c = 0; c < channels; c++) {
    for (let p = 0; p < pixels; p++) result[p * channels + c] = values[c * pixels + p] ?? 0;
  }
  return result;
}

/** [pixel][channel] → [channel][pixel], for a batch of one. */
export function channelsFirst(values: Float32Array, channels: number): Float32Array {
  const pixels = values.length / channels;
  const result = new Float32Array(values.length);
  for (let c = 0; c < channels; c++) {
    for (let p = 0; p < pixels; p++) result[c * pixels + p] = values[p * channels + c] ?? 0;
  }
  return result;
}
