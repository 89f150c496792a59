import { laplacianPyramid, pyramidReduce, restorePyramid, zip } from "./pyramid.ts";
import { buildTensor, valueAt } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** Exposure fusion of Mertens, Kautz and Van Reeth (2007) with all exponents 1; pictures in 0–1, of one or three channels each. */

/** A picture of one channel as three equal ones. */
export function toRgb(input: ReferenceTensor): ReferenceTensor {
  const [batches, height, width, channels] = input.shape;
  return buildTensor([batches, height, width, 3], (batch, row, column, channel) =>
    valueAt(input, batch, row, column, channels === 1 ? 0 : channel),
  );
}

function quality(input: ReferenceTensor, useSaturation: boolean): ReferenceTensor {
  const [batches, height, width, channels] = input.shape;
  const pixel = (batch: number, row: number, column: number): number[] =>
    Array.from({ length: channels }, (_, channel) => valueAt(input, batch, row, column, channel));
  const inside = (index: number, size: number): number => (size === 1 ? 0 : index < 0 ? 1 : index === size ? size - 2 : index);
  const grey = buildTensor([batches, height, width, 1], (batch, row, column) => {
    const [red = 0, green = red, blue = red] = pixel(batch, row, column);
    return 0.299 * red + 0.587 * green + 0.114 * blue;
  });
  return buildTensor(grey.shape, (batch, row, column) => {
    const around = [
      [inside(row - 1, height), column],
      [inside(row + 1, height), column],
      [row, inside(column - 1, width)],
      [row, inside(column + 1, width)],
    ] as const;
    const centre = valueAt(grey, batch, row, column, 0);
    const contrast = Math.abs(around.reduce((sum, [y, x]) => sum + valueAt(grey, batch, y, x, 0) - centre, 0));
    const values = pixel(batch, row, column);
    const mean = values.reduce((a, b) => a + b) / channels;
    const saturation = useSaturation ? Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / channels) : 1;
    const exposedness = values.reduce((product, value) => product * Math.exp(-((value - 0.5) ** 2) / (2 * 0.2 ** 2)), 1);
    return contrast * saturation * exposedness + 1e-12;
  });
}

/** The first picture's weight, one channel; the second has the rest to one. */
export function exposureWeights(first: ReferenceTensor, second: ReferenceTensor): ReferenceTensor {
  const grey = first.shape[3] === 1 && second.shape[3] === 1;
  const useSaturation = first.shape[3] === 3 && second.shape[3] === 3;
  const [a, b] = [first, second].map((picture) => quality(grey ? picture : toRgb(picture), useSaturation)) as [ReferenceTensor, ReferenceTensor];
  return zip(a, b, (one, two) => one / (one + two));
}

/** The fused picture, not clipped, from pyramids that are reduced `levels` times. */
export function exposureFusion(first: ReferenceTensor, second: ReferenceTensor, levels: number): ReferenceTensor {
  const weights = [exposureWeights(first, second)];
  for (let level = 0; level < levels; level++) weights.push(pyramidReduce(weights[level] ?? first));
  const colour = first.shape[3] === 3 || second.shape[3] === 3;
  const pyramid = (picture: ReferenceTensor): ReferenceTensor[] => laplacianPyramid(colour ? toRgb(picture) : picture, levels);
  const [a, b] = [pyramid(first), pyramid(second)];
  return restorePyramid(
    a.map((level, index) => {
      const weight = weights[index] ?? level;
      const other = b[index] ?? level;
      return buildTensor(level.shape, (batch, row, column, channel) => {
        const share = valueAt(weight, batch, row, column, 0);
        return share * valueAt(level, batch, row, column, channel) + (1 - share) * valueAt(other, batch, row, column, channel);
      });
    }),
  );
}
