import { at, buildTensor, valueAt } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** Mean of the channel's group over all pixels and 1/√(variance + epsilon): batch × 1 × 2 × channels. */
export function groupStatistics(input: ReferenceTensor, groups: number, epsilon: number): ReferenceTensor {
  const [batches, height, width, channels] = input.shape;
  const size = channels / groups;
  return buildTensor([batches, 1, 2, channels], (batch, _, column, channel) => {
    const first = Math.floor(channel / size) * size;
    const average = (term: (value: number) => number): number => {
      let sum = 0;
      for (let pixel = 0; pixel < height * width; pixel++) {
        for (let c = first; c < first + size; c++) sum += term(valueAt(input, batch, Math.floor(pixel / width), pixel % width, c));
      }
      return sum / (height * width * size);
    };
    const mean = average((value) => value);
    return column === 0 ? mean : 1 / Math.sqrt(average((value) => (value - mean) ** 2) + epsilon);
  });
}

/** Means of the channels over all pixels, then their covariances, one row a channel: batch × 1 × (1 + channels) × channels. */
export function covariance(input: ReferenceTensor): ReferenceTensor {
  const [batches, height, width, channels] = input.shape;
  const average = (term: (row: number, column: number) => number): number => {
    let sum = 0;
    for (let pixel = 0; pixel < height * width; pixel++) sum += term(Math.floor(pixel / width), pixel % width);
    return sum / (height * width);
  };
  const means = buildTensor([batches, 1, 1, channels], (batch, _r, _c, channel) => average((row, column) => valueAt(input, batch, row, column, channel)));
  const mean = (batch: number, channel: number): number => valueAt(means, batch, 0, 0, channel);
  return buildTensor([batches, 1, 1 + channels, channels], (batch, _, other, channel) =>
    other === 0
      ? mean(batch, channel)
      : average((row, column) => (valueAt(input, batch, row, column, other - 1) - mean(batch, other - 1)) * (valueAt(input, batch, row, column, channel) - mean(batch, channel))),
  );
}

/** Group statistics of W x + bias from the `covariance` of x; the means are less the bias. `weight`: one row a channel of the result. */
export function projectedStatistics(input: ReferenceTensor, weight: ArrayLike<number>, bias: ArrayLike<number>, groups: number, epsilon: number): ReferenceTensor {
  const [batches, , , inputs] = input.shape;
  const channels = bias.length;
  const size = channels / groups;
  const product = (batch: number, channel: number, row: number): number => {
    let sum = 0;
    for (let i = 0; i < inputs; i++) sum += at(weight, channel * inputs + i) * valueAt(input, batch, 0, row, i);
    return sum;
  };
  return buildTensor([batches, 1, 2, channels], (batch, _, column, channel) => {
    const group = Array.from({ length: size }, (__, i) => Math.floor(channel / size) * size + i);
    const means = group.map((c) => product(batch, c, 0) + at(bias, c));
    const mean = means.reduce((a, b) => a + b) / size;
    if (column === 0) return mean - at(bias, channel);
    let variance = 0;
    for (const [k, c] of group.entries()) {
      variance += ((means[k] ?? 0) - mean) ** 2 / size;
      for (let i = 0; i < inputs; i++) variance += (at(weight, c * inputs + i) * product(batch, c, 1 + i)) / size;
    }
    return 1 / Math.sqrt(variance + epsilon);
  });
}

/** u ⊙ r and b − m · (u ⊙ r) of keys whose last channel is b; m and r as `groupStatistics` gives them. */
export function scaleKeys(keys: ReferenceTensor, statistics: ReferenceTensor): ReferenceTensor {
  const last = keys.shape[3] - 1;
  const scaled = (batch: number, row: number, column: number, c: number): number => valueAt(keys, batch, row, column, c) * valueAt(statistics, batch, 0, 1, c);
  return buildTensor(keys.shape, (batch, row, column, channel) => {
    if (channel < last) return scaled(batch, row, column, channel);
    let bias = valueAt(keys, batch, row, column, last);
    for (let c = 0; c < last; c++) bias -= valueAt(statistics, batch, 0, 0, c) * scaled(batch, row, column, c);
    return bias;
  });
}
