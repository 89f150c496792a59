import { buildTensor, valueAt } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** Concatenation along the channels. */
export function concat(inputs: readonly ReferenceTensor[]): ReferenceTensor {
  const [first] = inputs;
  if (!first) {
    throw new RangeError("There is nothing to concatenate.");
  }
  const [batches, height, width] = first.shape;
  if (inputs.some(({ shape }) => shape[0] !== batches || shape[1] !== height || shape[2] !== width)) {
    throw new RangeError(`Only channels may differ: ${inputs.map(({ shape }) => shape.join("×")).join(", ")}.`);
  }
  const sources = inputs.flatMap((tensor) => Array.from({ length: tensor.shape[3] }, (_, channel) => ({ tensor, channel })));
  return buildTensor([batches, height, width, sources.length], (batch, row, column, output) => {
    const source = sources[output];
    if (!source) {
      throw new RangeError(`No input has output channel ${output}.`);
    }
    return valueAt(source.tensor, batch, row, column, source.channel);
  });
}

/** Consecutive parts of the channels, of the given sizes; together they must be all channels. */
export function split(input: ReferenceTensor, sizes: readonly number[]): ReferenceTensor[] {
  const [batches, height, width, channels] = input.shape;
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total !== channels || !sizes.every(Number.isInteger)) {
    throw new RangeError(`${channels} channels cannot be split into ${sizes.join(", ")}.`);
  }
  let start = 0;
  return sizes.map((size) => {
    const first = start;
    start += size;
    return buildTensor([batches, height, width, size], (batch, row, column, channel) =>
      valueAt(input, batch, row, column, first + channel),
    );
  });
}
