import mirrorCode from "../common/mirror.wgsl";
import { type BandedInput, defineKernel, type Operator, perPixelDispatches, shapeError } from "../kernel.ts";
import { formatShape, type TensorView } from "../tensor.ts";
import code from "./exposure-weights.wgsl";

/**
 * Weights of exposure fusion (Mertens, Kautz and Van Reeth 2007, section 3.1, equation 2 with all exponents 1). For each of two
 * pictures: contrast, the magnitude of the Laplacian filter (0 1 0, 1 −4 1, 0 1 0) of luma, borders mirrored about the outermost pixels;
 * times saturation, the standard deviation of R, G and B; times well-exposedness, exp(−(x − 0.5)² / (2 × 0.2²)) multiplied over
 * the channels. Saturation tells nothing of a grey picture and counts only where both have colour; beside a picture with colour a
 * grey one has three equal channels.
 *
 * Inputs: two pictures, f32, batch × height × width × (1 or 3), in 0..limit. Output: batch × height × width × 1, the first's share
 * of the sum of both weights; where neither picture has any weight it is 0.5. Contrast below 1e-6 of the range, within the rounding
 * of f32, counts as none.
 */
export interface ExposureWeightsAttributes {
  readonly limit: number;
}

const kernel = defineKernel("exposure-weights", mirrorCode, code);

export const exposureWeights: Operator<ExposureWeightsAttributes> = {
  name: "exposureWeights",

  outputShape(inputs) {
    const [first, second] = inputs;
    if (!first || !second || inputs.length !== 2) return shapeError("exposureWeights", "expected two inputs", inputs);
    if (inputs.some(({ channels }) => channels !== 1 && channels !== 3)) {
      return shapeError("exposureWeights", "expected one or three channels", inputs);
    }
    const output = { ...first, channels: 1 };
    if (formatShape(output) !== formatShape({ ...second, channels: 1 })) return shapeError("exposureWeights", "expected equal sizes", inputs);
    return output;
  },

  outputType: () => "f32",

  dispatches({ inputs, output, attributes, traits }) {
    const [first, second] = inputs as [TensorView, TensorView];
    const halo = (view: TensorView): BandedInput => ({ view, rowsRead: (rows) => rows + 2, firstRowRead: (row) => row - 1 });
    return perPixelDispatches({
      kernel,
      constants: { FIRST_CHANNELS: first.shape.channels, SECOND_CHANNELS: second.shape.channels },
      inputs: { first: halo(first), second: halo(second) },
      output,
      uniforms: { limit: attributes.limit },
      operationsPerPixel: 100,
      traits,
    });
  },
};
