import { type Activation, activationNumber, activationSlope } from "../activation.ts";
import { SinterError } from "../../errors.ts";
import type { DeviceTraits } from "../../runtime/device.ts";
import type { Defines, UniformValues } from "../../runtime/shader.ts";
import { type Band, bandBinding, type Binding, defineKernel, type Dispatch, gridOf, haloBinding, type Kernel, type Operator, rowBands, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import { formatShape, type TensorView, vectors } from "../tensor.ts";
import { convolutionVectors, packConvolution, packVector, type Weight } from "../weights.ts";
import activationCode from "../common/activation.wgsl";
import conv2dCode from "./conv2d.wgsl";
import pointwiseCode from "./pointwise.wgsl";
import weightsCode from "./weights.wgsl";

/** Dense convolution with zero padding. Inputs: the tensor and, with `residual`, a tensor of the output's shape. */
export interface Conv2dAttributes {
  /** Output channels × input channels × kernel height × kernel width. */
  readonly weight: Weight;
  /** Output channels. */
  readonly bias?: Weight;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  /** Applied before the residual is added. */
  readonly activation?: Activation;
  /** Adds the second input to the result. */
  readonly residual?: boolean;
  /** Normalises each pixel over its channels first (layer norm without scale and shift); 1×1 only. */
  readonly normalise?: { readonly epsilon: number };
}

const conv2dKernel = defineKernel("conv2d", activationCode, weightsCode, conv2dCode);
const pointwiseKernel = defineKernel("conv2d/pointwise", activationCode, weightsCode, pointwiseCode);

export const conv2d: Operator<Conv2dAttributes> = {
  name: "conv2d",

  outputShape(inputs, attributes) {
    const { weight, bias, stride, padding, dilation, residual, normalise } = attributes;
    const [input, added] = inputs;
    const [outputs = 0, channels = 0, kernelHeight = 0, kernelWidth = 0] = weight.shape;
    if (!input || inputs.length !== (residual ? 2 : 1)) return shapeError("conv2d", `expected ${residual ? 2 : 1} inputs`, inputs);
    if (weight.shape.length !== 4 || input.channels !== channels) {
      return shapeError("conv2d", `weight ${weight.name} is ${weight.shape.join("×")}`, inputs);
    }
    if (bias && bias.data.length !== outputs) return shapeError("conv2d", `bias ${bias.name} has ${bias.data.length} values, not ${outputs}`, inputs);
    const size = (length: number, kernel: number): number => Math.floor((length + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
    const output = { batch: input.batch, height: size(input.height, kernelHeight), width: size(input.width, kernelWidth), channels: outputs };
    if (output.height < 1 || output.width < 1) return shapeError("conv2d", `the ${kernelHeight}×${kernelWidth} kernel does not fit`, inputs);
    if (added && formatShape(added) !== formatShape(output)) return shapeError("conv2d", `the residual must be ${formatShape(output)}`, inputs);
    if (normalise && !isPointwise(attributes)) return shapeError("conv2d", "only a 1×1 convolution can normalise its input", inputs);
    return output;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [input, residual] = inputs as [TensorView, TensorView?];
    const [, , kernelHeight = 1, kernelWidth = 1] = attributes.weight.shape;
    return convolve({
      ...attributes,
      kernelHeight,
      kernelWidth,
      input,
      output,
      residual,
      matrix: attributes.weight,
      bias: { constant: packVector(attributes.bias, output.shape.channels) },
      traits,
    });
  },
};

/** Whether the convolution is a product of each pixel with one matrix. */
export function isPointwise({ weight, stride, padding }: Conv2dAttributes): boolean {
  return weight.shape[2] === 1 && weight.shape[3] === 1 && stride === 1 && padding === 0;
}

/** A convolution whose matrix is a weight or was computed for each image. */
export interface Convolution {
  readonly input: TensorView;
  readonly output: TensorView;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  /** A weight, or a tensor batch × 1 × input channels × output channels in f32. */
  readonly matrix: Weight | TensorView;
  readonly bias: Binding;
  readonly residual?: TensorView | undefined;
  readonly activation?: Activation | undefined;
  readonly normalise?: { readonly epsilon: number } | undefined;
  readonly traits: DeviceTraits;
}

/** A kernel with its tile: how many pixels and output channels a workgroup makes. */
interface Variant {
  readonly kernel: Kernel;
  readonly defines: Defines;
  readonly constants: Readonly<Record<string, number>>;
  /** Uniforms beside those that all variants have. */
  readonly uniforms: (band: Band, matrixStride: number) => UniformValues;
  readonly workgroups: (band: Band) => readonly [number, number, number];
}

/** Vectors of a uniform buffer of 64 KiB, the most that every device can bind, and of the smaller of the two sizes compiled. */
const UNIFORM_SIZES = [1024, 4096];

/** How a convolution binds its matrix. */
function bindMatrix({ matrix, output }: Convolution): { binding: Binding; defines: Defines; stride: number } {
  if ("storage" in matrix) {
    const { batch, width, channels } = matrix.shape;
    const stride = width * vectors(channels);
    if (batch * stride > Math.max(...UNIFORM_SIZES)) {
      throw new SinterError("SHAPE", `${matrix.storage.name}: a matrix of ${width}×${channels} for each of ${batch} images passes the 64 KiB of a uniform buffer`);
    }
    return { binding: wholeBinding(matrix), defines: { UNIFORM_WEIGHTS: 1, WEIGHT_VECTORS: batch * stride }, stride };
  }
  const size = UNIFORM_SIZES.find((vectorCount) => vectorCount >= convolutionVectors(matrix));
  return size !== undefined
    ? { binding: { constant: packConvolution(matrix, "f32", size) }, defines: { UNIFORM_WEIGHTS: 1, WEIGHT_VECTORS: size }, stride: 0 }
    : { binding: { constant: packConvolution(matrix, output.storage.elementType) }, defines: { UNIFORM_WEIGHTS: 0 }, stride: 0 };
}

/** Four pixels × two vectors of channels are 32 sums: few enough to stay in registers, and the fastest but for tiles that compile twice as long. */
function chooseVariant({ input, output, kernelHeight, kernelWidth, stride, padding, dilation, normalise, traits }: Convolution): Variant {
  const { height, width, channels } = output.shape;
  const pixels = 4;
  const columns = vectors(channels) === 1 ? 1 : 2;
  const lanes = 32;
  if (kernelHeight === 1 && kernelWidth === 1 && stride === 1 && padding === 0) {
    return {
      kernel: pointwiseKernel,
      defines: { PIXELS: pixels, COLUMNS: columns, NORMALISE: normalise ? 1 : 0 },
      uniforms: (band, matrixStride) => ({
        height,
        row_count: band.rowCount,
        input_channels: input.shape.channels,
        output_channels: channels,
        matrix_stride: matrixStride,
        epsilon: normalise?.epsilon ?? 0,
      }),
      constants: { LANES: lanes },
      workgroups: (band) => [...gridOf(Math.ceil((band.rowCount * width) / (pixels * lanes)), traits), band.batchCount],
    };
  }
  return {
    kernel: conv2dKernel,
    defines: {
      PIXELS: pixels,
      COLUMNS: columns,
      KERNEL_WIDTH: kernelWidth,
      STRIDE: stride,
      DILATION: dilation,
      SPAN: (pixels - 1) * stride + (kernelWidth - 1) * dilation + 1,
    },
    uniforms: (band) => ({
      row_count: band.rowCount,
      input_height: input.shape.height,
      output_height: height,
      kernel_height: kernelHeight,
      padding,
      input_channels: input.shape.channels,
      output_channels: channels,
    }),
    constants: { LANES: lanes },
    workgroups: (band) => [
      ...gridOf(Math.ceil((band.rowCount * Math.ceil(width / pixels)) / lanes), traits),
      band.batchCount * Math.ceil(vectors(channels) / columns),
    ],
  };
}

export function convolve(convolution: Convolution): Dispatch[] {
  const { input, output, kernelHeight, kernelWidth, stride, padding, dilation, residual, activation, traits } = convolution;
  const { batch, height, width, channels } = output.shape;
  const variant = chooseVariant(convolution);
  const matrix = bindMatrix(convolution);
  const rowsRead = (rows: number): number => (rows - 1) * stride + (kernelHeight - 1) * dilation + 1;
  const reads = [{ view: input, rowsRead }, ...(residual ? [{ view: residual, rowsRead: (rows: number) => rows }] : [])];
  const operationsPerPixel = 2 * input.shape.channels * channels * kernelHeight * kernelWidth;
  return rowBands(output, reads, batch * height * width * operationsPerPixel, traits).map((band): Dispatch => {
    const bound = bandBinding(band, output, traits);
    const source = haloBinding(band, input, stride, padding, rowsRead(band.rowCount), traits);
    const added = residual && bandBinding(band, residual, traits);
    return {
      kernel: variant.kernel,
      defines: { ...variant.defines, ...matrix.defines, F16: output.storage.elementType === "f16" ? 1 : 0, RESIDUAL: residual ? 1 : 0 },
      constants: { ...variant.constants, ACTIVATION: activationNumber(activation) },
      uniforms: {
        input: viewUniform(source),
        residual: viewUniform(added ?? source),
        output: viewUniform(bound),
        first_batch: band.firstBatch,
        first_row: band.firstRow,
        slope: activationSlope(activation),
        ...variant.uniforms(band, matrix.stride),
      },
      bindings: { input: source, weights: matrix.binding, bias: convolution.bias, output: bound, ...(added && { residual: added }) },
      workgroups: variant.workgroups(band),
      operations: band.batchCount * band.rowCount * width * operationsPerPixel,
    };
  });
}
