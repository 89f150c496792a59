import type { ReferenceTensor } from "./tensor.ts";

/** Smallest and largest value of every image of the batch, over all its pixels and channels. */
export function minimumMaximum(input: ReferenceTensor): { minimum: Float64Array; maximum: Float64Array } {
  const [batches, height, width, channels] = input.shape;
  const minimum = new Float64Array(batches);
  const maximum = new Float64Array(batches);
  const imageSize = height * width * channels;
  for (let batch = 0; batch < batches; batch++) {
    const image = input.data.subarray(batch * imageSize, (batch + 1) * imageSize);
    minimum[batch] = image.reduce((smallest, value) => Math.min(smallest, value), Infinity);
    maximum[batch] = image.reduce((largest, value) => Math.max(largest, value), -Infinity);
  }
  return { minimum, maximum };
}
