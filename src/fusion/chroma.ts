import type { GraphBuilder, Tensor } from "../graph/graph.ts";
import { colour } from "../kernels/colour/colour.ts";
import type { Shape } from "../kernels/tensor.ts";
import type { FusionJob } from "./recipe.ts";

/** The two pictures as inputs of a recipe's graph, with three channels where they are coloured. */
export function addPictures(builder: GraphBuilder, { width, height, firstColoured, secondColoured }: FusionJob): readonly [Tensor, Tensor] {
  const shape = (coloured: boolean): Shape => ({ batch: 1, height, width, channels: coloured ? 3 : 1 });
  return [builder.input("first", shape(firstColoured)), builder.input("second", shape(secondColoured))];
}

/**
 * Gives a fused luma the colour of the pictures it comes from: the chroma of the coloured one, or of both, each weighted by its
 * distance from `delta`.
 *
 * @param luma in 0..limit
 * @param delta what stands for no colour in Cr and Cb
 * @returns RGB in 0..limit; undefined when neither picture has colour
 */
export function addChroma(
  builder: GraphBuilder,
  pictures: readonly Tensor[],
  luma: Tensor,
  { delta, limit }: { readonly delta: number; readonly limit: number },
): Tensor | undefined {
  const [one, two] = pictures
    .filter(({ shape }) => shape.channels === 3)
    .map((picture) => builder.add(`${picture.name} chroma`, colour, [picture], { operation: "rgbToYCrCb", delta }));
  if (!one) return undefined;
  const chroma = two ? builder.add("chroma", colour, [one, two], { operation: "mergeChroma", neutral: delta, epsilon: 1e-4 }) : one;
  return builder.add("rgb", colour, [luma, chroma], { operation: "yCrCbToRgb", delta, limit });
}
