import type { DeviceTraits, SubgroupMatrix } from "../../runtime/device.ts";
import { defineKernel, type Dispatch, enabling, type OperatorJob } from "../kernel.ts";
import type { Convolution } from "./convolution.ts";
import { estimatedTime, gemmDispatches, type GemmKernel } from "./gemm.ts";
import activationCode from "../common/activation.wgsl";
import gemmCode from "./gemm.wgsl";
import matrixCode from "./matrix.wgsl";

/** Sizes of matrix.wgsl in pixels × output channels: what a workgroup makes, and what each of its subgroups makes. */
interface Tile {
  readonly pixels: number;
  readonly channels: number;
  readonly subgroupPixels: number;
  readonly subgroupChannels: number;
}

/** Four subgroups each. The largest tile reads least memory for each product, but its sums take half of a thread's registers. */
const TILES = {
  "matrix-128x128": { pixels: 128, channels: 128, subgroupPixels: 64, subgroupChannels: 64 },
  "matrix-128x64": { pixels: 128, channels: 64, subgroupPixels: 64, subgroupChannels: 32 },
  "matrix-64x64": { pixels: 64, channels: 64, subgroupPixels: 32, subgroupChannels: 32 },
  "matrix-128x32": { pixels: 128, channels: 32, subgroupPixels: 32, subgroupChannels: 32 },
} as const satisfies Readonly<Record<string, Tile>>;

export type MatrixTileName = keyof typeof TILES;

export const MATRIX_TILE_NAMES = Object.keys(TILES) as readonly MatrixTileName[];

/** Vectors of input channels staged at a time: the most that fit. */
const CHUNKS = [8, 4];

/** For subgroup matrices of any size. */
export const MATRIX_KERNEL = enabling(["chromium_experimental_subgroup_matrix", "subgroups"], defineKernel("conv2d/matrix", activationCode, gemmCode, matrixCode));
/** The same for subgroups of a size that the kernel requires. */
const SIZED_KERNEL = enabling(["subgroup_size_control"], MATRIX_KERNEL);

/** The matrix product of f16 with sums in f32 that does most at once; undefined where the device has none that divides the tile. */
function bestMatrix({ subgroupMatrices }: DeviceTraits, { subgroupPixels, subgroupChannels }: Tile): SubgroupMatrix | undefined {
  const size = ({ M, N, K }: SubgroupMatrix): number => M * N * K;
  return subgroupMatrices
    .filter(({ componentType, resultComponentType }) => componentType === "f16" && resultComponentType === "f32")
    .filter(({ M, N, K }) => subgroupPixels % M === 0 && subgroupChannels % N === 0 && N % 4 === 0 && K % 4 === 0 && CHUNKS.some((chunk) => (chunk * 4) % K === 0))
    .toSorted((a, b) => size(b) - size(a))[0];
}

/** The kernel with a tile's sizes; undefined where the device cannot run it. */
function matrixKernel({ output, normalise, traits }: Convolution, tile: Tile): GemmKernel | undefined {
  const { pixels, channels, subgroupPixels, subgroupChannels } = tile;
  const matrix = bestMatrix(traits, tile);
  // The threads of a workgroup are counted by subgroups, which must not vary in size.
  const lanes = traits.subgroupSize || traits.requiredSubgroupSize;
  if (!matrix || output.storage.elementType !== "f16" || lanes === 0) return undefined;
  const { M, N, K } = matrix;
  const subgroupsAcross = channels / subgroupChannels;
  const subgroups = (pixels / subgroupPixels) * subgroupsAcross;
  const threads = subgroups * lanes;
  const vectors = channels / 4;
  const bytes = (chunk: number): number =>
    8 * (pixels * (chunk + 2) + chunk * 4 * (vectors + 2)) + subgroups * M * N * 4 + pixels * 8 + (normalise ? pixels * 8 + threads * 4 : 0);
  const chunk = CHUNKS.find((size) => (size * 4) % K === 0 && bytes(size) <= traits.maxComputeWorkgroupStorageSize);
  if (chunk === undefined || threads > traits.maxComputeInvocationsPerWorkgroup) return undefined;
  return {
    kernel: traits.requiredSubgroupSize > 0 ? SIZED_KERNEL : MATRIX_KERNEL,
    defines: {
      SUBGROUP_SIZE: traits.requiredSubgroupSize,
      M,
      N,
      K,
      FRAGMENTS_DOWN: subgroupPixels / M,
      FRAGMENTS_ACROSS: subgroupChannels / N,
      SUBGROUPS_ACROSS: subgroupsAcross,
      SUBGROUPS: subgroups,
    },
    tilePixels: pixels,
    tileVectors: vectors,
    threads,
    chunk,
    // Numbers read from workgroup and from global memory for a multiplication.
    cost: 1 + 16 / subgroupPixels + 16 / subgroupChannels + 16 / pixels + 16 / channels,
  };
}

/**
 * A convolution in f16 on matrix units, with sums in f32: any kernel size, stride and dilation; normalisation, activation and residual
 * included. A matrix that was computed in f32 is rounded to f16.
 *
 * @param scratch memory for partial sums, used where the picture gives too few workgroups
 * @returns undefined where the variant is no tile of this kernel, the device has no such matrix units, or the tensors are not f16
 */
export function convolveByMatrices(convolution: Convolution, variant: string, scratch: OperatorJob<unknown>["scratch"]): Dispatch[] | undefined {
  const tile = (TILES as Readonly<Record<string, Tile>>)[variant];
  const gemm = tile && matrixKernel(convolution, tile);
  return gemm && gemmDispatches(convolution, gemm, scratch);
}

/** The tiles that the device can run for a convolution, by estimated time. */
export function matrixVariants(convolution: Convolution): readonly MatrixTileName[] {
  return MATRIX_TILE_NAMES.flatMap((tile) => {
    const gemm = matrixKernel(convolution, TILES[tile]);
    return gemm ? [{ tile, time: estimatedTime(convolution, gemm) }] : [];
  })
    .toSorted((a, b) => a.time - b.time)
    .map(({ tile }) => tile);
}
