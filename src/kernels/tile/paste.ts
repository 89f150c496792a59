import { defineKernel, type Operator, perPixelDispatches, shapeError, wholeBinding } from "../kernel.ts";
import { formatShape, type Shape, type TensorView } from "../tensor.ts";
import code from "./paste.wgsl";

const kernel = defineKernel("tile/paste", code);

const row = (channels: number): Shape => ({ batch: 1, height: 1, width: 1, channels });

/**
 * Adds a tile to a picture. Inputs: the picture so far, f32; the tile; its place, a tensor 1 × 1 × 1 × 4: the picture's row and column at which it
 * starts, 1 where it is the first, so that the picture so far means nothing, else 0, and an unused number; a weight for each row and for each
 * column of the tile, 1 × 1 × 1 × count. These three in f32. A pixel of the tile gets the product of its two weights. Output: the picture's shape, f32.
 */
export const paste: Operator<Record<never, never>> = {
  name: "paste",

  outputShape(inputs) {
    const [picture, tile, place, rowWeights, columnWeights] = inputs;
    if (!picture || !tile || !place || !rowWeights || !columnWeights || inputs.length !== 5) return shapeError("paste", "expected five inputs", inputs);
    const { batch, height, width, channels } = tile;
    if (batch !== picture.batch || channels !== picture.channels) return shapeError("paste", "the tile must have the picture's channels", inputs);
    const expected = [row(4), row(height), row(width)].map(formatShape);
    if ([place, rowWeights, columnWeights].some((shape, i) => formatShape(shape) !== expected[i])) return shapeError("paste", `expected ${expected.join(", ")}`, inputs);
    return picture;
  },

  outputType: () => "f32",

  dispatches({ inputs, output, traits }) {
    const [picture, tile, place, rowWeights, columnWeights] = inputs as [TensorView, TensorView, TensorView, TensorView, TensorView];
    const { channels } = output.shape;
    return perPixelDispatches({
      kernel,
      defines: { F16: tile.storage.elementType === "f16" ? 1 : 0 },
      // Where the tile lies is not known when the plan is made, so every band may need all of it.
      inputs: { picture, tile: { view: tile, rowsRead: () => tile.shape.batch * tile.shape.height, firstRowRead: () => 0 } },
      output,
      uniforms: { channels, tile_height: tile.shape.height },
      bindings: { place: wholeBinding(place), row_weights: wholeBinding(rowWeights), column_weights: wholeBinding(columnWeights) },
      operationsPerPixel: 2 * channels,
      traits,
    });
  },
};
