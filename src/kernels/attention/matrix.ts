import type { DeviceTraits } from "../../runtime/device.ts";
import { defineKernel, enabling } from "../kernel.ts";
import type { ElementType } from "../tensor.ts";
import type { AttentionKernel } from "./tiled.ts";
import operandsCode from "./operands.wgsl";
import code from "./matrix.wgsl";

/** For subgroup matrices of any size. */
export const MATRIX_KERNEL = enabling(["chromium_experimental_subgroup_matrix", "subgroups"], defineKernel("attention/matrix", operandsCode, code));
/** The same for subgroups of a size that the kernel requires. */
const SIZED_KERNEL = enabling(["subgroup_size_control"], MATRIX_KERNEL);

const SUBGROUPS = 4;
/** More value channels would take more than half of a thread's registers for sums. */
const MAX_VALUE_CHANNELS = 256;

/** Queries and keys that a workgroup takes at a time, and vectors of channels that it stages for their scores: the most that fit. */
const TILES = [
  { queries: 64, keys: 64, chunk: 8 },
  { queries: 64, keys: 32, chunk: 8 },
  { queries: 64, keys: 16, chunk: 4 },
  { queries: 32, keys: 32, chunk: 8 },
];

/**
 * Attention in f16 on matrix units, with sums in f32, for `valueVectors` vectors of four value channels a head.
 *
 * @returns undefined where the device has no matrices of f16 with sums in f32, for other tensors, and for heads of more than 256 value channels
 */
export function matrixAttention(valueVectors: number, elementType: ElementType, traits: DeviceTraits): AttentionKernel | undefined {
  const { subgroupMatrices, subgroupSize, requiredSubgroupSize, maxComputeInvocationsPerWorkgroup, maxComputeWorkgroupStorageSize } = traits;
  const lanes = SUBGROUPS * (subgroupSize || requiredSubgroupSize);
  if (elementType !== "f16" || lanes === 0 || lanes > maxComputeInvocationsPerWorkgroup || valueVectors * 4 > MAX_VALUE_CHANNELS) return undefined;
  const candidates = subgroupMatrices
    .filter(({ componentType, resultComponentType }) => componentType === "f16" && resultComponentType === "f32")
    .toSorted((a, b) => b.M * b.N * b.K - a.M * a.N * a.K)
    .flatMap(({ M, N, K }) =>
      TILES.map(({ queries, keys, chunk }) => {
        const across = Math.ceil((valueVectors * 4) / N);
        const stage = Math.max((queries + keys) * (chunk + 2), K * ((across * N) / 4 + 2));
        const bytes = stage * 8 + queries * (keys / 4 + 1) * 16 + queries * (keys / 4 + 2) * 8 + lanes * 8;
        const fits = (queries / SUBGROUPS) % M === 0 && keys % N === 0 && keys % K === 0 && (chunk * 4) % K === 0 && N % 4 === 0 && lanes % queries === 0;
        return { M, N, K, queries, keys, chunk, across, stage, fits: fits && bytes <= maxComputeWorkgroupStorageSize };
      }),
    );
  const best = candidates.find(({ fits }) => fits);
  if (!best) return undefined;
  const { M, N, K, queries, keys, chunk, across, stage } = best;
  return {
    kernel: requiredSubgroupSize > 0 ? SIZED_KERNEL : MATRIX_KERNEL,
    defines: {
      SUBGROUP_SIZE: requiredSubgroupSize,
      M,
      N,
      K,
      QUERIES: queries,
      KEYS: keys,
      SUBGROUPS,
      DOWN: queries / SUBGROUPS / M,
      ACROSS: keys / N,
      VALUES_ACROSS: across,
      CHUNK: chunk,
      STAGE: stage,
    },
    lanes,
    queries,
    valueBlocks: 1,
  };
}
