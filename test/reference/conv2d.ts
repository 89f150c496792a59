import { at, bothDirections, buildTensor, pixelIndex, requireLength } from "./tensor.ts";
import type { Pair, ReferenceTensor, ReferenceWeight } from "./tensor.ts";

/** Weights as PyTorch stores them, OIHW. */
export type Conv2dWeight = ReferenceWeight<
  readonly [outputs: number, inputsPerGroup: number, kernelHeight: number, kernelWidth: number]
>;

/** Stride 1, no padding, dilation 1 and one group unless told. */
export interface Conv2dOptions {
  readonly stride?: Pair;
  /** Rows and columns of zeros on either side. */
  readonly padding?: Pair;
  readonly dilation?: Pair;
  /** As many groups as input channels make a depthwise convolution. */
  readonly groups?: number;
}

/** Two-dimensional convolution (cross-correlation, as in `torch.nn.Conv2d`) with zero padding. `bias`: one an output. */
export function conv2d(
  input: ReferenceTensor,
  weight: Conv2dWeight,
  bias?: ArrayLike<number>,
  options: Conv2dOptions = {},
): ReferenceTensor {
  const [batches, height, width, inputs] = input.shape;
  const [outputs, inputsPerGroup, kernelHeight, kernelWidth] = weight.shape;
  const [strideY, strideX] = bothDirections(options.stride ?? 1);
  const [paddingY, paddingX] = bothDirections(options.padding ?? 0);
  const [dilationY, dilationX] = bothDirections(options.dilation ?? 1);
  const groups = options.groups ?? 1;
  if (inputsPerGroup * groups !== inputs || outputs % groups !== 0) {
    throw new RangeError(`Weights ${weight.shape.join("×")} in ${groups} groups do not fit ${inputs} input channels.`);
  }
  requireLength("weight", weight.data, outputs * inputsPerGroup * kernelHeight * kernelWidth);
  if (bias) {
    requireLength("bias", bias, outputs);
  }
  const outputHeight = Math.floor((height + 2 * paddingY - dilationY * (kernelHeight - 1) - 1) / strideY) + 1;
  const outputWidth = Math.floor((width + 2 * paddingX - dilationX * (kernelWidth - 1) - 1) / strideX) + 1;
  const outputsPerGroup = outputs / groups;

  return buildTensor([batches, outputHeight, outputWidth, outputs], (batch, row, column, output) => {
    const firstInput = Math.floor(output / outputsPerGroup) * inputsPerGroup;
    let sum = bias ? at(bias, output) : 0;
    for (let kernelRow = 0; kernelRow < kernelHeight; kernelRow++) {
      const inputRow = row * strideY - paddingY + kernelRow * dilationY;
      if (inputRow < 0 || inputRow >= height) {
        continue;
      }
      for (let kernelColumn = 0; kernelColumn < kernelWidth; kernelColumn++) {
        const inputColumn = column * strideX - paddingX + kernelColumn * dilationX;
        if (inputColumn < 0 || inputColumn >= width) {
          continue;
        }
        const firstIndex = pixelIndex(input, batch, inputRow, inputColumn) + firstInput;
        for (let channel = 0; channel < inputsPerGroup; channel++) {
          const weightIndex =
            ((output * inputsPerGroup + channel) * kernelHeight + kernelRow) * kernelWidth + kernelColumn;
          sum += at(input.data, firstIndex + channel) * at(weight.data, weightIndex);
        }
      }
    }
    return sum;
  });
}
