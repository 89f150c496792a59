import { type Graph, GraphBuilder, type Tensor } from "../graph/graph.ts";
import { clip } from "../kernels/clip/clip.ts";
import { colour } from "../kernels/colour/colour.ts";
import { combine } from "../kernels/combine/combine.ts";
import { exposureWeights } from "../kernels/exposure-weights/exposure-weights.ts";
import { minMax } from "../kernels/min-max/min-max.ts";
import { pyramidExpand, pyramidReduce } from "../kernels/pyramid/pyramid.ts";
import { addChroma, addPictures } from "./chroma.ts";
import { type FusionJob, pictureScale, type Recipe } from "./recipe.ts";

/**
 * Methods without weights to compare models with, by the name that `--model` takes. They treat every task alike, and compute in f32
 * whatever the precision asked for.
 */
export const BASELINES: Readonly<Record<string, Recipe>> = {
  /** The mean of both pictures, channel by channel; a grey picture beside a coloured one has three equal channels. */
  average: { graph: (job) => pixelwiseGraph(job, "mean") },

  /** The larger value of both pictures, channel by channel; a grey picture beside a coloured one has three equal channels. */
  maximum: { graph: (job) => pixelwiseGraph(job, "maximum") },

  /**
   * Laplacian pyramids of both lumas (Burt and Adelson 1983): at each of four levels, fewer for pictures under 16 pixels, the
   * coefficient of larger magnitude; of what remains above them the mean. Chroma comes from the coloured side; of two coloured
   * sides it is weighted by its distance from grey, as for ReFusion.
   */
  laplacian: { graph: laplacianGraph },

  /**
   * Exposure fusion (Mertens, Kautz and Van Reeth 2007): Laplacian pyramids of both pictures, blended with Gaussian pyramids of
   * weights from contrast, saturation and well-exposedness (`exposureWeights`), all with exponent 1 as in the paper; OpenCV's
   * MergeMertens leaves well-exposedness out unless it is asked for. The depth is that of the authors' program, ⌊log₂ of the
   * smaller side⌋ levels with the top; the paper names none, and one level more, as OpenCV has, makes the whole picture several grey
   * levels lighter or darker. The paper is about colour; saturation counts only where both pictures have it.
   */
  mertens: { graph: mertensGraph },
};

const LAPLACIAN_LEVELS = 4;

/** How often the smaller side can be halved. */
const halvings = ({ width, height }: FusionJob): number => Math.floor(Math.log2(Math.min(width, height)));

function pixelwiseGraph(job: FusionJob, operation: "mean" | "maximum"): Graph {
  const builder = new GraphBuilder();
  const fused = builder.add("fused", combine, addPictures(builder, job), { operation });
  builder.output(fused);
  builder.output(builder.add("range", minMax, [fused], {}));
  return builder.build();
}

function laplacianGraph(job: FusionJob): Graph {
  const builder = new GraphBuilder();
  const [first, second] = addPictures(builder, job);
  const luma = (tensor: Tensor): Tensor =>
    tensor.shape.channels === 1
      ? tensor
      : builder.add(`${tensor.name} luma`, colour, [tensor], { operation: "luma", limit: 1, elementType: "f32" });
  const fused = fusePyramids(builder, luma(first), luma(second), Math.min(LAPLACIAN_LEVELS, halvings(job)), (name, one, two, level) =>
    builder.add(name, combine, [one, two], { operation: level === "top" ? "mean" : "largerMagnitude" }),
  );
  const range = builder.add("range", minMax, [fused], {});

  const limit = pictureScale(job);
  builder.output(addChroma(builder, [first, second], fused, { delta: 0, limit }) ?? builder.add("clipped", clip, [fused], { limit }));
  builder.output(range);
  return builder.build();
}

function mertensGraph(job: FusionJob): Graph {
  const builder = new GraphBuilder();
  const limit = pictureScale(job);
  const [first, second] = addPictures(builder, job);
  const levels = Math.max(0, halvings(job) - 1);
  const weights = gaussianPyramid(builder, builder.add("weights", exposureWeights, [first, second], { limit }), levels);
  const fused = fusePyramids(builder, first, second, levels, (name, one, two, level) => {
    const weight = weights.at(level === "top" ? -1 : level);
    return builder.add(name, combine, [one, two, ...(weight ? [weight] : [])], { operation: "weightedMean" });
  });
  builder.output(builder.add("clipped", clip, [fused], { limit }));
  builder.output(builder.add("range", minMax, [fused], {}));
  return builder.build();
}

/** The tensor and `levels` reductions of it, finest first. */
function gaussianPyramid(builder: GraphBuilder, tensor: Tensor, levels: number): Tensor[] {
  const pyramid = [tensor];
  for (let level = 1; level <= levels; level++) {
    pyramid.push(builder.add(`${tensor.name} level ${level}`, pyramidReduce, pyramid.slice(-1), {}));
  }
  return pyramid;
}

/**
 * Fuses the Laplacian pyramids of two tensors level by level and puts the result together again.
 *
 * @param levels how many levels of detail, each half as large as the one before; above them lies the top, a reduced picture
 * @param fuse adds the fused level, called `name`; `level` counts from 0, the finest
 */
function fusePyramids(
  builder: GraphBuilder,
  first: Tensor,
  second: Tensor,
  levels: number,
  fuse: (name: string, first: Tensor, second: Tensor, level: number | "top") => Tensor,
): Tensor {
  const sides = [gaussianPyramid(builder, first, levels), gaussianPyramid(builder, second, levels)] as const;
  const [firstTop, secondTop] = sides.map((pyramid) => pyramid.at(-1) ?? first) as [Tensor, Tensor];
  let fused = fuse("fused top", firstTop, secondTop, "top");
  for (let level = levels - 1; level >= 0; level--) {
    const [one, two] = sides.map((pyramid) =>
      builder.add(`${pyramid[0]?.name} detail ${level}`, pyramidExpand, pyramid.slice(level, level + 2), { operation: "detail" }),
    ) as [Tensor, Tensor];
    const detail = fuse(`fused detail ${level}`, one, two, level);
    fused = builder.add(`fused level ${level}`, pyramidExpand, [detail, fused], { operation: "restore" });
  }
  return fused;
}
