import { type Graph, GraphBuilder, type Tensor } from "../graph/graph.ts";
import { rewriteAll } from "../graph/rewrites.ts";
import { colour } from "../kernels/colour/colour.ts";
import { minMax, stretch } from "../kernels/min-max/min-max.ts";
import { type ReFusionConfig, reFusionNetwork, type Weights } from "../models/refusion/network.ts";
import { addChroma, addPictures } from "./chroma.ts";
import { type FusionJob, pictureScale, type Recipe } from "./recipe.ts";
import type { TiledRecipe } from "./tiles.ts";

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
  tiles: (job) => reFusionTiles(weights, config, job),
});

function reFusionJobGraph(weights: Weights, config: ReFusionConfig, job: FusionJob): Graph {
  const builder = new GraphBuilder();
  const pictures = addPictures(builder, job);
  const [first, second] = addLumas(builder, job, pictures);
  addFinish(builder, job, pictures, reFusionNetwork(builder, weights, config, first, second));
  return builder.build();
}

const LUMAS = ["first luma", "second luma"] as const;

function addLumas(builder: GraphBuilder, job: FusionJob, pictures: readonly Tensor[]): [Tensor, Tensor] {
  const attributes = { operation: "luma", limit: pictureScale(job), elementType: job.elementType } as const;
  return pictures.map((picture) => builder.add(`${picture.name} luma`, colour, [picture], attributes)) as [Tensor, Tensor];
}

/** From the network's output to the picture. */
function addFinish(builder: GraphBuilder, job: FusionJob, pictures: readonly Tensor[], raw: Tensor): void {
  const { reference } = job;
  const scale = pictureScale(job);
  const range = builder.add("range", minMax, [raw], {});
  const stretched = builder.add("stretched", stretch, [raw, range], { scale });
  const rgb = addChroma(builder, pictures, stretched, { delta: reference ? 0.5 : 0, limit: scale });
  // The published program saves colour through a function that stretches whatever it is given.
  const saved = rgb && reference ? builder.add("saved", stretch, [rgb, builder.add("rgb range", minMax, [rgb], {})], { scale }) : rgb;
  for (const tensor of [saved ?? stretched, raw, range]) builder.output(tensor);
}

function reFusionTiles(weights: Weights, config: ReFusionConfig, job: FusionJob): TiledRecipe {
  const { height, width, elementType } = job;
  const prepare = new GraphBuilder();
  for (const luma of addLumas(prepare, job, addPictures(prepare, job))) prepare.output(luma);
  const finish = new GraphBuilder();
  addFinish(finish, job, addPictures(finish, job), finish.input("output", { batch: 1, height, width, channels: 1 }));
  const finishing = finish.build();
  const graph = (tall: number, wide: number): Graph => {
    const builder = new GraphBuilder();
    const [first, second] = LUMAS.map((name) => builder.input(name, { batch: 1, height: tall, width: wide, channels: 1 }, elementType)) as [Tensor, Tensor];
    builder.output(reFusionNetwork(builder, weights, config, first, second));
    return rewriteAll(builder.build());
  };
  return {
    prepare: prepare.build(),
    network: { height, width, graph, pictures: LUMAS, changing: [], multiple: 1 },
    // A side without colour has nothing to say any more.
    finish: { ...finishing, inputs: finishing.inputs.filter(({ name, shape }) => name === "output" || shape.channels === 3) },
  };
}
