import { at, bothDirections, elementCount, requireLength, valueAt } from "./tensor.ts";
import type { Pair, ReferenceShape, ReferenceTensor, ReferenceWeight } from "./tensor.ts";

/** Weights as PyTorch stores them: inputs first. */
export type ConvTranspose2dWeight = ReferenceWeight<
  readonly [inputs: number, outputsPerGroup: number, kernelHeight: number, kernelWidth: number]
>;

/** Stride 1, no padding, dilation 1 and one group unless told. */
export interface ConvTranspose2dOptions {
  readonly stride?: Pair;
  /** Rows and columns cut from every side of the full result. */
  readonly padding?: Pair;
  /** Rows and columns added at the bottom and right. */
  readonly outputPadding?: Pair;
  readonly dilation?: Pair;
  readonly groups?: number;
}

/** Transposed convolution as in `torch.nn.ConvTranspose2d`: every input value scatters one kernel into the output. */
export function convTranspose2d(
  input: ReferenceTensor,
  weight: ConvTranspose2dWeight,
  bias?: ArrayLike<number>,
  options: ConvTranspose2dOptions = {},
): ReferenceTensor {
  const [batches, height, width, inputs] = input.shape;
  const [weightInputs, outputsPerGroup, kernelHeight, kernelWidth] = weight.shape;
  const [strideY, strideX] = bothDirections(options.stride ?? 1);
  const [paddingY, paddingX] = bothDirections(options.padding ?? 0);
  const [outputPaddingY, outputPaddingX] = bothDirections(options.outputPadding ?? 0);
  const [dilationY, dilationX] = bothDirections(options.dilation ?? 1);
  const groups = options.groups ?? 1;
  if (weightInputs !== inputs || inputs % groups !== 0) {
    throw new RangeError(`Weights ${weight.shape.join("×")} in ${groups} groups do not fit ${inputs} input channels.`);
  }
  const outputs = outputsPerGroup * groups;
  const inputsPerGroup = inputs / groups;
  requireLength("weight", weight.data, elementCount(weight.shape));
  if (bias) {
    requireLength("bias", bias, outputs);
  }
  const outputHeight = (height - 1) * strideY - 2 * paddingY + dilationY * (kernelHeight - 1) + outputPaddingY + 1;
  const outputWidth = (width - 1) * strideX - 2 * paddingX + dilationX * (kernelWidth - 1) + outputPaddingX + 1;
  const shape: ReferenceShape = [batches, outputHeight, outputWidth, outputs];
  const data = new Float64Array(elementCount(shape));
  if (bias) {
    for (let index = 0; index < data.length; index++) {
      data[index] = at(bias, index % outputs);
    }
  }
  for (let batch = 0; batch < batches; batch++) {
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) {
        for (let channel = 0; channel < inputs; channel++) {
          const value = valueAt(input, batch, row, column, channel);
          const firstOutput = Math.floor(channel / inputsPerGroup) * outputsPerGroup;
          for (let kernelRow = 0; kernelRow < kernelHeight; kernelRow++) {
            const outputRow = row * strideY - paddingY + kernelRow * dilationY;
            if (outputRow < 0 || outputRow >= outputHeight) {
              continue;
            }
            for (let kernelColumn = 0; kernelColumn < kernelWidth; kernelColumn++) {
              const outputColumn = column * strideX - paddingX + kernelColumn * dilationX;
              if (outputColumn < 0 || outputColumn >= outputWidth) {
                continue;
              }
              for (let output = 0; output < outputsPerGroup; output++) {
                const weightIndex =
                  ((channel * outputsPerGroup + output) * kernelHeight + kernelRow) * kernelWidth + kernelColumn;
                const index =
                  ((batch * outputHeight + outputRow) * outputWidth + outputColumn) * outputs + firstOutput + output;
                data[index] = at(data, index) + value * at(weight.data, weightIndex);
              }
            }
          }
        }
      }
    }
  }
  return { shape, data };
}
