import { softmaxOf } from "./softmax.ts";
import { at, elementCount } from "./tensor.ts";
import type { ReferenceShape, ReferenceTensor } from "./tensor.ts";

/**
 * Multi-head attention with pixels as tokens: softmax(q kᵀ · scale) v for every head.
 *
 * `query` has its own pixels; `key` and `value` share theirs. Head h owns channels h·size … (h+1)·size − 1, as in
 * `torch.nn.MultiheadAttention`; value channels may differ in number from query and key channels. The result has the
 * query's pixels and the value's channels.
 * @param scale factor of the scores; 1/√(query channels a head) by default
 * @param bias one number a key, added to the scores of all heads before they are scaled
 */
export function attention(
  query: ReferenceTensor,
  key: ReferenceTensor,
  value: ReferenceTensor,
  heads: number,
  scale = 1 / Math.sqrt(query.shape[3] / heads),
  bias?: ReferenceTensor,
): ReferenceTensor {
  const [batches, height, width, channels] = query.shape;
  const [, keyHeight, keyWidth, keyChannels] = key.shape;
  const valueChannels = value.shape[3];
  const fits =
    key.shape[0] === batches && keyChannels === channels && channels % heads === 0 && valueChannels % heads === 0 &&
    key.shape.slice(0, 3).join() === value.shape.slice(0, 3).join();
  if (!fits) {
    const shapes = [query, key, value].map(({ shape }) => shape.join("×")).join(", ");
    throw new RangeError(`Query, key and value of ${shapes} do not fit ${heads} heads.`);
  }
  const headSize = channels / heads;
  const valueHeadSize = valueChannels / heads;
  const queryCount = height * width;
  const keyCount = keyHeight * keyWidth;
  const shape: ReferenceShape = [batches, height, width, valueChannels];
  const data = new Float64Array(elementCount(shape));
  for (let batch = 0; batch < batches; batch++) {
    for (let queryToken = 0; queryToken < queryCount; queryToken++) {
      for (let head = 0; head < heads; head++) {
        // Tokens are pixels row by row, so that token t of image b starts at (b · tokens + t) · channels.
        const queryStart = (batch * queryCount + queryToken) * channels + head * headSize;
        const scores = new Float64Array(keyCount);
        for (let keyToken = 0; keyToken < keyCount; keyToken++) {
          const keyStart = (batch * keyCount + keyToken) * channels + head * headSize;
          let sum = bias ? at(bias.data, batch * keyCount + keyToken) : 0;
          for (let channel = 0; channel < headSize; channel++) {
            sum += at(query.data, queryStart + channel) * at(key.data, keyStart + channel);
          }
          scores[keyToken] = sum * scale;
        }
        const weights = softmaxOf(scores);
        const outputStart = (batch * queryCount + queryToken) * valueChannels + head * valueHeadSize;
        for (let channel = 0; channel < valueHeadSize; channel++) {
          let sum = 0;
          for (let keyToken = 0; keyToken < keyCount; keyToken++) {
            const valueStart = (batch * keyCount + keyToken) * valueChannels + head * valueHeadSize;
            sum += at(weights, keyToken) * at(value.data, valueStart + channel);
          }
          data[outputStart + channel] = sum;
        }
      }
    }
  }
  return { shape, data };
}
