import { type Graph, GraphBuilder, type Tensor } from "../graph/graph.ts";
import { colour } from "../kernels/colour/colour.ts";
import { minMax, stretch } from "../kernels/min-max/min-max.ts";
import { type ReFusionConfig, reFusionNetwork, type Weights } from "../models/refusion/network.ts";
import { addChroma, addPictures } from "./chroma.ts";
import { type FusionJob, pictureScale, type Recipe } from "./recipe.ts";

/**
 * ReFusion from two pictures to one (test.py of the authors' repository): luma of both through the network, its output stretched
 * to the whole range, chroma from the coloured side or from both.
 *
 * The chroma of two coloured pictures is weighted by its distance from grey. The published program does so too, although it
 * subtracts 0.5 and not 128: it converts floats, whose chroma OpenCV centres at 0.5 whatever their range. With `reference` numbers
 * are in 0..255 and the finished colour picture is stretched once more, as the published program does.
 */
export const reFusionRecipe = (weights: Weights, config: ReFusionConfig): Recipe => ({
  graph: (job) => reFusionJobGraph(weights, config, job),
});

function reFusionJobGraph(weights: Weights, config: ReFusionConfig, job: FusionJob): Graph {
  const { elementType, reference } = job;
  const builder = new GraphBuilder();
  const scale = pictureScale(job);
  const pictures = addPictures(builder, job);
  const [first, second] = pictures;
  const luma = (name: string, tensor: Tensor): Tensor => builder.add(name, colour, [tensor], { operation: "luma", limit: scale, elementType });

  const raw = reFusionNetwork(builder, weights, config, luma("first luma", first), luma("second luma", second));
  const range = builder.add("range", minMax, [raw], {});
  const stretched = builder.add("stretched", stretch, [raw, range], { scale });
  const rgb = addChroma(builder, pictures, stretched, { delta: reference ? 0.5 : 0, limit: scale });
  // The published program saves colour through a function that stretches whatever it is given.
  const saved = rgb && reference ? builder.add("saved", stretch, [rgb, builder.add("rgb range", minMax, [rgb], {})], { scale }) : rgb;
  for (const tensor of [saved ?? stretched, raw, range]) builder.output(tensor);
  return builder.build();
}
