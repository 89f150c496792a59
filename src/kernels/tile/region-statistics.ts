import { bandBinding, chunksOf, defineKernel, type Dispatch, type Operator, rowBands, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import { formatShape, type TensorView, vectors } from "../tensor.ts";
import correctCode from "./correct-statistics.wgsl";
import mergeMomentsCode from "../common/merge-moments.wgsl";
import mergeCode from "./merge-statistics.wgsl";
import regionCode from "./region-statistics.wgsl";

export interface RegionStatisticsAttributes {
  readonly groups: number;
  readonly epsilon: number;
}

const regionKernel = defineKernel("tile/region-statistics", regionCode);
const mergeKernel = defineKernel("tile/merge-statistics", mergeMomentsCode, mergeCode);
const correctKernel = defineKernel("tile/correct-statistics", correctCode);
const LANES = 64;

/**
 * What `groupStatistics` gives, but of rectangles of one image. Inputs: the tensor; the rectangles, 1 × 1 × count × 4 in f32: first row, row
 * after the last, first column, column after the last, as shares of height and width; each has one pixel at least.
 * Output: 1 × count × 2 × channels, f32.
 */
export const regionStatistics: Operator<RegionStatisticsAttributes> = {
  name: "regionStatistics",

  outputShape(inputs, { groups }) {
    const [input, regions] = inputs;
    if (!input || !regions || inputs.length !== 2 || input.batch !== 1) return shapeError("regionStatistics", "expected one image and rectangles", inputs);
    if (regions.batch !== 1 || regions.height !== 1 || regions.channels !== 4) return shapeError("regionStatistics", "expected four numbers a rectangle", inputs);
    if (input.channels % groups !== 0 || input.channels % 4 !== 0) return shapeError("regionStatistics", `${groups} groups or vectors of four do not divide the channels`, inputs);
    return { batch: 1, height: regions.width, width: 2, channels: input.channels };
  },

  outputType: () => "f32",

  dispatches({ inputs, output, attributes: { groups, epsilon }, traits, scratch }) {
    const [input, regions] = inputs as [TensorView, TensorView];
    const { height, width, channels } = input.shape;
    const count = output.shape.height;
    const chunks = chunksOf(input.shape);
    const partialResults = scratch("partial results", { batch: count, height: chunks.count, width: 3, channels });
    const operations = 3 * height * width * channels;
    return [
      ...rowBands(input, [], operations, traits, chunks.rows).map((band): Dispatch => {
        const source = bandBinding(band, input, traits);
        return {
          kernel: regionKernel,
          defines: { F16: input.storage.elementType === "f16" ? 1 : 0 },
          constants: { LANES },
          uniforms: {
            input: viewUniform(source),
            channel_vectors: vectors(channels),
            height,
            chunk_rows: chunks.rows,
            first_chunk: band.firstRow / chunks.rows,
            chunks: chunks.count,
          },
          bindings: { input: source, regions: wholeBinding(regions), partial_results: wholeBinding(partialResults) },
          workgroups: [Math.ceil(band.rowCount / chunks.rows), vectors(channels), count],
          operations: (operations / height) * band.rowCount,
        };
      }),
      {
        kernel: mergeKernel,
        defines: {},
        constants: { LANES },
        uniforms: { channel_vectors: vectors(channels), group_channels: channels / groups, chunks: chunks.count, epsilon },
        bindings: { partial_results: wholeBinding(partialResults), output: wholeBinding(output) },
        workgroups: [groups, count, 1],
        operations: count * channels * chunks.count * 10,
      },
    ];
  },
};

/**
 * An estimate of the statistics of a whole picture from those of a part and a comparison of the two in a reduced picture: what differs there
 * between whole and part, differs here. Inputs, as `groupStatistics` gives them: those of the part; of the reduced whole; of all parts of the
 * reduced picture (`regionStatistics`); and which part it is, 1 × 1 × 1 × 1 in f32. Output: 1 × 1 × 2 × channels.
 */
export const correctStatistics: Operator<Record<never, never>> = {
  name: "correctStatistics",

  outputShape(inputs) {
    const [own, whole, regions, part] = inputs;
    if (!own || !whole || !regions || !part || inputs.length !== 4) return shapeError("correctStatistics", "expected three statistics and the part", inputs);
    const expected = { batch: 1, height: 1, width: 2, channels: own.channels };
    if ([own, whole, { ...regions, height: 1 }].some((shape) => formatShape(shape) !== formatShape(expected))) return shapeError("correctStatistics", "expected statistics of one tensor", inputs);
    return own;
  },

  dispatches({ inputs, output }) {
    const [own, whole, regions, part] = inputs as [TensorView, TensorView, TensorView, TensorView];
    const count = vectors(output.shape.channels);
    return [
      {
        kernel: correctKernel,
        defines: {},
        constants: { LANES },
        uniforms: { vectors: count, parts: regions.shape.height },
        bindings: { own: wholeBinding(own), whole: wholeBinding(whole), regions: wholeBinding(regions), part: wholeBinding(part), output: wholeBinding(output) },
        workgroups: [Math.ceil(count / LANES), 1, 1],
        operations: count * 32,
      },
    ];
  },
};
