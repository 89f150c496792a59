import { SinterError } from "../../errors.ts";
import { convolutionCandidates, convolve } from "../conv2d/conv2d.ts";
import type { Convolution } from "../conv2d/convolution.ts";
import { type Operator, shapeError, type VariantJob, wholeBinding } from "../kernel.ts";
import { formatShape, type TensorView, vectors } from "../tensor.ts";
import { packVector, UNIFORM_SIZES } from "../weights.ts";

/**
 * A 1×1 convolution by a matrix that was computed for each image.
 * Inputs: the tensor; the matrix, batch × 1 × input channels × output channels, f32; with `residual`, a tensor of the output's shape.
 */
export interface ApplyMatrixAttributes {
  /** Adds the third input to the result. */
  readonly residual?: boolean;
}

export const applyMatrix: Operator<ApplyMatrixAttributes> = {
  name: "applyMatrix",

  outputShape(inputs, { residual }) {
    const [input, matrix, added] = inputs;
    if (!input || !matrix || inputs.length !== (residual ? 3 : 2)) return shapeError("applyMatrix", `expected ${residual ? 3 : 2} inputs`, inputs);
    // The kernel reads input channels in vectors of four, so the matrix has a row for each channel of padding too.
    if (matrix.batch !== input.batch || matrix.height !== 1 || matrix.width !== vectors(input.channels) * 4) {
      return shapeError("applyMatrix", `expected a matrix of ${input.batch}×1×${vectors(input.channels) * 4}×outputs`, inputs);
    }
    const output = { ...input, channels: matrix.channels };
    if (added && formatShape(added) !== formatShape(output)) return shapeError("applyMatrix", `the residual must be ${formatShape(output)}`, inputs);
    return output;
  },

  outputType([input = "f32", matrix]) {
    if (matrix !== "f32") throw new SinterError("SHAPE", `applyMatrix: the matrix must be f32, not ${matrix}`, { where: "applyMatrix" });
    return input;
  },

  variants: (job) => convolutionCandidates(convolutionOf(job)),

  dispatches: (job) => convolve(convolutionOf(job), job.variant, job.scratch),
};

function convolutionOf({ inputs, output, traits }: VariantJob<ApplyMatrixAttributes>): Convolution {
  const [input, view, residual] = inputs as [TensorView, TensorView, TensorView?];
  const { batch, width, channels } = view.shape;
  const stride = width * vectors(channels);
  // All variants refuse what a uniform buffer cannot hold, so that a graph runs everywhere or nowhere.
  if (batch * stride > Math.max(...UNIFORM_SIZES)) {
    throw new SinterError("SHAPE", `${view.storage.name}: a matrix of ${width}×${channels} for each of ${batch} images passes the 64 KiB of a uniform buffer`);
  }
  const matrix = { binding: wholeBinding(view), stride, count: batch };
  const bias = { constant: packVector(undefined, output.shape.channels) };
  return { input, output, matrix, bias, residual, kernelHeight: 1, kernelWidth: 1, stride: 1, padding: 0, dilation: 1, traits };
}
