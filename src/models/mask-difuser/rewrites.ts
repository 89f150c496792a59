import type { Graph } from "../../graph/graph.ts";
import { foldCombine } from "./rewrites/combine.ts";
import { foldConditionRank, foldCrossQueries } from "./rewrites/cross-attention.ts";
import { foldHead } from "./rewrites/head.ts";
import { foldSelfAttention } from "./rewrites/self-attention.ts";

export { foldCombine, foldConditionRank, foldCrossQueries, foldHead, foldSelfAttention };

/**
 * The network's own rewrites, in the order in which they are applied: less work for the same function. `foldConditionRank` takes the blocks
 * that are wider than the semantic features, so `foldCrossQueries` and `foldCombine` get the others.
 */
export const MASK_DIFUSER_REWRITES = { foldHead, foldSelfAttention, foldConditionRank, foldCrossQueries, foldCombine };

export type MaskDifuserRewrite = keyof typeof MASK_DIFUSER_REWRITES;

/**
 * Applies the network's own rewrites; they come before the general ones.
 *
 * @param changing names of the graph's inputs that change from step to step
 * @param names which rewrites; all unless told
 */
export function foldMaskDifuser(graph: Graph, changing: readonly string[], names?: readonly MaskDifuserRewrite[]): Graph {
  const chosen = Object.entries(MASK_DIFUSER_REWRITES).filter(([name]) => !names || names.includes(name as MaskDifuserRewrite));
  return chosen.reduce((rewritten, [, rewrite]) => rewrite(rewritten, changing), graph);
}
