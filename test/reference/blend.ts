import { buildTensor, type ReferenceTensor, valueAt } from "./tensor.ts";

/** Two RGB pictures blended by a network's five channels (src/kernels/blend/blend.ts), luma and chroma apart. */
export function blend(network: ReferenceTensor, first: ReferenceTensor, second: ReferenceTensor): ReferenceTensor {
  const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
  return buildTensor(first.shape, (batch, row, column, channel) => {
    const o = (index: number): number => valueAt(network, batch, row, column, index);
    const luma = (picture: ReferenceTensor): number =>
      0.299 * valueAt(picture, batch, row, column, 0) + 0.587 * valueAt(picture, batch, row, column, 1) + 0.114 * valueAt(picture, batch, row, column, 2);
    const chroma = (picture: ReferenceTensor): number => valueAt(picture, batch, row, column, channel) - luma(picture);
    const [ofLuma, ofChroma] = [sigmoid(o(3)), sigmoid(o(4))];
    return ofLuma * luma(first) + (1 - ofLuma) * luma(second) + ofChroma * chroma(first) + (1 - ofChroma) * chroma(second) + o(channel);
  });
}
