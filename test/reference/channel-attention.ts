import { softmax } from "./softmax.ts";
import { at, buildTensor, requireLength, requireSameShape, valueAt } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** Smallest norm a query or key is divided by, as in `torch.nn.functional.normalize`. */
const SMALLEST_NORM = 1e-12;

/**
 * Transposed attention: channels attend to channels (Zamir et al., Restormer, CVPR 2022, section 3.1).
 *
 * Within a head, every query and key channel is divided by its L2 norm over all pixels; the weights are
 * softmax over j of temperature · Σ_pixels q_i k_j, and output channel i is Σ_j weight_ij v_j.
 * @param temperature one factor a head
 */
export function channelAttention(
  query: ReferenceTensor,
  key: ReferenceTensor,
  value: ReferenceTensor,
  heads: number,
  temperature: ArrayLike<number>,
): ReferenceTensor {
  requireSameShape(query, key);
  requireSameShape(query, value);
  requireLength("temperature", temperature, heads);
  const [batches, height, width, channels] = query.shape;
  if (channels % heads !== 0) {
    throw new RangeError(`${channels} channels cannot be divided into ${heads} heads.`);
  }
  const headSize = channels / heads;
  const normalisedQuery = normaliseOverPixels(query);
  const normalisedKey = normaliseOverPixels(key);

  // [batch, 0, i, j]: query channel i against key channel j of the same head.
  const scores = buildTensor([batches, 1, channels, headSize], (batch, _, i, j) => {
    const head = Math.floor(i / headSize);
    let sum = 0;
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        sum +=
          valueAt(normalisedQuery, batch, row, column, i) *
          valueAt(normalisedKey, batch, row, column, head * headSize + j);
      }
    }
    return sum * at(temperature, head);
  });
  const weights = softmax(scores);
  return buildTensor(query.shape, (batch, row, column, i) => {
    const head = Math.floor(i / headSize);
    let sum = 0;
    for (let j = 0; j < headSize; j++) {
      sum += valueAt(weights, batch, 0, i, j) * valueAt(value, batch, row, column, head * headSize + j);
    }
    return sum;
  });
}

function normaliseOverPixels(input: ReferenceTensor): ReferenceTensor {
  const [batches, height, width, channels] = input.shape;
  const norms = buildTensor([batches, 1, 1, channels], (batch, _row, _column, channel) => {
    let sum = 0;
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        sum += valueAt(input, batch, row, column, channel) ** 2;
      }
    }
    return Math.max(Math.sqrt(sum), SMALLEST_NORM);
  });
  return buildTensor(
    input.shape,
    (batch, row, column, channel) =>
      valueAt(input, batch, row, column, channel) / valueAt(norms, batch, 0, 0, channel),
  );
}
