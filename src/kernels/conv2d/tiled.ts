import { defineKernel, type Dispatch, type OperatorJob } from "../kernel.ts";
import { elementBytes } from "../tensor.ts";
import type { Convolution } from "./convolution.ts";
import { estimatedTime, gemmDispatches, type GemmKernel } from "./gemm.ts";
import activationCode from "../common/activation.wgsl";
import gemmCode from "./gemm.wgsl";
import tiledCode from "./tiled.wgsl";

/** Sizes of tiled.wgsl: what a workgroup makes, what a thread of it makes, and how much of the inner dimension they take at a time. */
interface Tile {
  readonly pixels: number;
  /** Of four output channels. */
  readonly vectors: number;
  readonly threadPixels: number;
  readonly threadVectors: number;
  /** Vectors of four input channels. */
  readonly chunk: number;
}

/**
 * By pixels × output channels. Few output channels ask for narrow tiles; large tiles read less memory for each product, but keep 64 sums
 * a thread in registers and need a large picture to fill the GPU.
 */
const TILES = {
  "tiled-128x128": { pixels: 128, vectors: 32, threadPixels: 8, threadVectors: 2, chunk: 2 },
  "tiled-128x64": { pixels: 128, vectors: 16, threadPixels: 8, threadVectors: 2, chunk: 4 },
  "tiled-64x64": { pixels: 64, vectors: 16, threadPixels: 4, threadVectors: 2, chunk: 4 },
  "tiled-32x64": { pixels: 32, vectors: 16, threadPixels: 4, threadVectors: 1, chunk: 4 },
  "tiled-128x32": { pixels: 128, vectors: 8, threadPixels: 4, threadVectors: 2, chunk: 4 },
  "tiled-64x32": { pixels: 64, vectors: 8, threadPixels: 4, threadVectors: 2, chunk: 4 },
  "tiled-64x16": { pixels: 64, vectors: 4, threadPixels: 4, threadVectors: 1, chunk: 4 },
} as const satisfies Readonly<Record<string, Tile>>;

export type TileName = keyof typeof TILES;

export const TILE_NAMES = Object.keys(TILES) as readonly TileName[];

const kernel = defineKernel("conv2d/tiled", activationCode, gemmCode, tiledCode);

/** The kernel with a tile's sizes; undefined where the device has too little memory or too few threads for a workgroup. */
function tiledKernel({ input, output, matrix, normalise, traits }: Convolution, tile: Tile): GemmKernel | undefined {
  const { pixels, vectors, threadPixels, threadVectors, chunk } = tile;
  const threads = (pixels / threadPixels) * (vectors / threadVectors);
  const inputBytes = 4 * elementBytes(input.storage.elementType);
  const weightBytes = "binding" in matrix ? 16 : 4 * elementBytes(output.storage.elementType);
  // Lanes that reach all banks at once (128 bytes) store a row of the tile each `chunk` lanes apart.
  const pad = 128 / inputBytes / chunk;
  const bytes = chunk * (pixels + pad) * inputBytes + chunk * 4 * vectors * weightBytes + pixels * 8 + (normalise ? pixels * 8 + threads * 4 : 0);
  if (threads > traits.maxComputeInvocationsPerWorkgroup || bytes > traits.maxComputeWorkgroupStorageSize) return undefined;
  return {
    kernel,
    defines: { THREAD_PIXELS: threadPixels, THREAD_VECTORS: threadVectors, PAD: pad },
    tilePixels: pixels,
    tileVectors: vectors,
    threads,
    chunk,
    // Vectors read from workgroup memory for a fma of vectors, and from global memory for a multiplication.
    cost: 1 + (1.5 * (threadPixels + 4 * threadVectors)) / (4 * threadPixels * threadVectors) + 8 / pixels + 2 / vectors,
  };
}

/**
 * A convolution by implicit GEMM with tiles in workgroup memory and registers, for GPUs that are not software: any kernel size, stride and
 * dilation; normalisation, activation and residual included; the matrix may be computed.
 *
 * @param scratch memory for partial sums, used where the picture gives too few workgroups
 * @returns undefined where the variant is no tile of this kernel, or the device cannot run such a workgroup
 */
export function convolveTiled(convolution: Convolution, variant: string, scratch: OperatorJob<unknown>["scratch"]): Dispatch[] | undefined {
  const tile = (TILES as Readonly<Record<string, Tile>>)[variant];
  const gemm = tile && tiledKernel(convolution, tile);
  return gemm && gemmDispatches(convolution, gemm, scratch);
}

/** The tiles that the device can run for a convolution, by estimated time. */
export function tiledVariants(convolution: Convolution): readonly TileName[] {
  return TILE_NAMES.flatMap((tile) => {
    const gemm = tiledKernel(convolution, TILES[tile]);
    return gemm ? [{ tile, time: estimatedTime(convolution, gemm) }] : [];
  })
    .toSorted((a, b) => a.time - b.time)
    .map(({ tile }) => tile);
}
