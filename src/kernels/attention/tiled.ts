import type { DeviceTraits } from "../../runtime/device.ts";
import type { Defines } from "../../runtime/shader.ts";
import { defineKernel, type Kernel } from "../kernel.ts";
import { elementBytes, type ElementType } from "../tensor.ts";
import operandsCode from "./operands.wgsl";
import code from "./tiled.wgsl";

/** Tiles in workgroup memory, with eight or four queries a thread: the first reads less for each product, the second needs half the memory. */
export const ATTENTION_TILES = ["tiled-8", "tiled-4"] as const;

export type AttentionTile = (typeof ATTENTION_TILES)[number];

/** A kernel with its tile: what attention.ts needs of a variant. */
export interface AttentionKernel {
  readonly kernel: Kernel;
  /** Beside `F16` and `BIAS`. */
  readonly defines: Defines;
  /** Threads of a workgroup. */
  readonly lanes: number;
  /** Queries of a workgroup. */
  readonly queries: number;
  /** Workgroups that share the value channels of a head. */
  readonly valueBlocks: number;
}

const kernel = defineKernel("attention/tiled", operandsCode, code);

/** The most vectors of values that a thread sums for each of its queries: with eight queries, 64 numbers in registers. */
const VECTOR_TURNS = 2;

/**
 * Tiles for an attention of `valueVectors` vectors of four value channels a head, at most 128.
 *
 * @returns undefined where the device has too little memory or too few threads for a workgroup
 */
export function tiledAttention(tile: AttentionTile, valueVectors: number, elementType: ElementType, traits: DeviceTraits): AttentionKernel | undefined {
  const queryVectors = tile === "tiled-8" ? 2 : 1;
  const columns = Math.max(8, 2 ** Math.ceil(Math.log2(valueVectors / VECTOR_TURNS)));
  const turns = Math.ceil(valueVectors / columns);
  const lanes = columns > 16 ? 256 : 128;
  const groups = lanes / columns;
  const queries = groups * queryVectors * 4;
  const vectorBytes = 4 * elementBytes(elementType);
  const tiles = [4, 2].flatMap((keysPerLane) =>
    [4, 2].map((chunk) => {
      const keys = columns * keysPerLane;
      // As many keys as make two vectors of values for each thread to load.
      const valueKeys = Math.min(keys, (2 * lanes) / (columns * turns));
      // Lanes that reach all banks at once (128 bytes) store a row of the stage each `chunk` lanes apart.
      const pad = 128 / vectorBytes / chunk;
      const stage = Math.max(chunk * (queries + keys + 2 * pad), valueKeys * columns * turns);
      return { keysPerLane, chunk, keys, valueKeys, pad, stage, bytes: stage * vectorBytes + queries * keys * 4 };
    }),
  );
  const best = tiles.find(({ bytes }) => bytes <= traits.maxComputeWorkgroupStorageSize);
  if (!best || columns > 64 || lanes > traits.maxComputeInvocationsPerWorkgroup) return undefined;
  const { keysPerLane, chunk, keys, valueKeys, pad, stage } = best;
  return {
    kernel,
    defines: {
      COLUMNS: columns,
      GROUPS: groups,
      QUERY_VECTORS: queryVectors,
      KEYS_PER_LANE: keysPerLane,
      VECTOR_TURNS: turns,
      CHUNK: chunk,
      VALUE_KEYS: valueKeys,
      PAD: pad,
      QUERY_LOADS: Math.ceil((chunk * queries) / lanes),
      KEY_LOADS: Math.ceil((chunk * keys) / lanes),
      VALUE_LOADS: (valueKeys * columns * turns) / lanes,
      STAGE: stage,
    },
    lanes,
    queries,
    valueBlocks: 1,
  };
}
