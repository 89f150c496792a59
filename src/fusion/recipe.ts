import type { Graph } from "../graph/graph.ts";
import type { ElementType } from "../kernels/tensor.ts";
import type { TiledRecipe } from "./tiles.ts";

/** What decides the graph of a fusion: sizes and options, never pixels. */
export interface FusionJob {
  readonly width: number;
  readonly height: number;
  /** Whether each side has colour; a grey side has one channel. */
  readonly firstColoured: boolean;
  readonly secondColoured: boolean;
  /** How tensors of a network are stored. */
  readonly elementType: ElementType;
  /** The published program to the letter. */
  readonly reference: boolean;
}

/** Largest value of the pictures that go into a recipe's graph and come out: published programs compute in 0..255. */
export const pictureScale = ({ reference }: Pick<FusionJob, "reference">): number => (reference ? 255 : 1);

/** How one model fuses: everything between upload and read-back as one graph. */
export interface Recipe {
  /**
   * Inputs `first` and `second`, 1 × height × width × (3 where coloured, else 1), in 0..`pictureScale`. The first output is the
   * fused picture in the same range, three channels if either side is coloured. Further outputs, by name: `range`, the result of
   * `minMax` of the fused picture or of what it is made from; `output`, a network's own output.
   */
  graph(job: FusionJob): Graph;
  /** The same in tiles, which need less memory; formulas have none. */
  tiles?(job: FusionJob): TiledRecipe;
}
