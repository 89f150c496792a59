import { type Activation, activationNumber, activationSlope } from "../activation.ts";
import { type Band, type Binding, defineKernel, type Dispatch, type Operator, type OperatorJob, rowBands, rowsBinding, shapeError, viewUniform } from "../kernel.ts";
import { formatShape, type Shape, type TensorView, vectors } from "../tensor.ts";
import { packConvolution, packVector, type Weight } from "../weights.ts";
import activationCode from "../common/activation.wgsl";
import conv2dCode from "./conv2d.wgsl";
import pointwiseCode from "./pointwise.wgsl";

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

const conv2dKernel = defineKernel("conv2d", activationCode, conv2dCode);
export const pointwiseKernel = defineKernel("pointwise", activationCode, pointwiseCode);

/** Vectors of input channels that a thread can keep in registers. */
const REGISTER_VECTORS = 8;

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

  dispatches(job) {
    return isPointwise(job.attributes) ? pointwiseDispatches(job) : tapDispatches(job);
  },
};

/** Whether the convolution is a product of each pixel with one matrix. */
export function isPointwise({ weight, stride, padding }: Conv2dAttributes): boolean {
  return weight.shape[2] === 1 && weight.shape[3] === 1 && stride === 1 && padding === 0;
}

function pointwiseDispatches({ inputs, output, attributes, traits }: OperatorJob<Conv2dAttributes>): Dispatch[] {
  const [input, residual] = inputs as [TensorView, TensorView?];
  return pointwiseBands({
    input,
    output,
    matrix: { constant: packConvolution(attributes.weight, output.storage.elementType) },
    matrixStride: 0,
    bias: { constant: packVector(attributes.bias, output.shape.channels) },
    residual,
    activation: attributes.activation,
    normalise: attributes.normalise,
    traits,
  });
}

/** What the pointwise kernel needs, whether its matrix is a weight or was computed for each image. */
export interface PointwiseJob {
  readonly input: TensorView;
  readonly output: TensorView;
  readonly matrix: Binding;
  /** Vectors from one image's matrix to the next; 0 when all share one. */
  readonly matrixStride: number;
  readonly bias: Binding;
  readonly residual: TensorView | undefined;
  readonly activation: Activation | undefined;
  readonly normalise: { readonly epsilon: number } | undefined;
  readonly traits: OperatorJob<unknown>["traits"];
}

export function pointwiseBands(job: PointwiseJob): Dispatch[] {
  const { input, output, residual, traits, normalise } = job;
  const inputVectors = vectors(input.shape.channels);
  const inRegisters = inputVectors <= REGISTER_VECTORS;
  const pixels = 2;
  const columns = 4;
  const lanes = 32;
  const same = (rows: number): number => rows;
  const operationsPerPixel = 2 * input.shape.channels * output.shape.channels;
  const rows = output.shape.batch * output.shape.height;
  const reads = [input, ...(residual ? [residual] : [])].map((view) => ({ view, rowsRead: same }));
  return rowBands(output, reads, rows * output.shape.width * operationsPerPixel, traits).map((band): Dispatch => {
    const bound = bandBinding(band, output, traits);
    const source = bandBinding(band, input, traits);
    const added = residual && bandBinding(band, residual, traits);
    return {
      kernel: pointwiseKernel,
      defines: {
        F16: output.storage.elementType === "f16" ? 1 : 0,
        PIXELS: pixels,
        COLUMNS: columns,
        IN_REGISTERS: inRegisters ? 1 : 0,
        INPUT_VECTORS: inputVectors,
        NORMALISE: normalise ? 1 : 0,
        RESIDUAL: residual ? 1 : 0,
      },
      constants: {
        INPUT_CHANNELS: input.shape.channels,
        OUTPUT_CHANNELS: output.shape.channels,
        LANES: lanes,
        ACTIVATION: activationNumber(job.activation),
      },
      uniforms: {
        input: viewUniform(source),
        residual: viewUniform(added ?? source),
        output: viewUniform(bound),
        height: output.shape.height,
        first_batch: band.firstBatch,
        first_row: band.firstRow,
        row_count: band.rowCount,
        matrix_stride: job.matrixStride,
        epsilon: normalise?.epsilon ?? 0,
        slope: activationSlope(job.activation),
      },
      bindings: {
        input: source,
        weights: job.matrix,
        bias: job.bias,
        output: bound,
        ...(added && { residual: added }),
      },
      workgroups: [Math.ceil((band.rowCount * output.shape.width) / (pixels * lanes)), 1, band.batchCount],
      operations: band.batchCount * band.rowCount * output.shape.width * operationsPerPixel,
    };
  });
}

/** The rows of a band as a binding, for an operand with the output's height. */
export function bandBinding(band: Band, view: TensorView, traits: OperatorJob<unknown>["traits"]): ReturnType<typeof rowsBinding> {
  const first = band.firstBatch * view.shape.height + band.firstRow;
  return rowsBinding(view, first, band.batchCount * view.shape.height - (view.shape.height - band.rowCount), traits);
}

/** A register tile that suits a width: pixels × vectors of output channels. */
function tile(output: Shape): { pixels: number; columns: number } {
  return vectors(output.channels) === 1 ? { pixels: 4, columns: 1 } : { pixels: 4, columns: 2 };
}

function tapDispatches({ inputs, output, attributes, traits }: OperatorJob<Conv2dAttributes>): Dispatch[] {
  const [input, residual] = inputs as [TensorView, TensorView?];
  const { weight, stride, padding, dilation, activation } = attributes;
  const [, , kernelHeight = 1, kernelWidth = 1] = weight.shape;
  const { pixels, columns } = tile(output.shape);
  const lanes = 32;
  const operationsPerPixel = 2 * input.shape.channels * output.shape.channels * kernelHeight * kernelWidth;
  const { batch, height, width } = output.shape;
  const rowsRead = (rows: number): number => (rows - 1) * stride + (kernelHeight - 1) * dilation + 1;
  const reads = [{ view: input, rowsRead }, ...(residual ? [{ view: residual, rowsRead: (rows: number) => rows }] : [])];
  return rowBands(output, reads, batch * height * width * operationsPerPixel, traits).map((band): Dispatch => {
    const bound = bandBinding(band, output, traits);
    const source = haloBinding(band, input, output, stride, padding, rowsRead(band.rowCount), traits);
    const added = residual && bandBinding(band, residual, traits);
    return {
      kernel: conv2dKernel,
      defines: {
        F16: output.storage.elementType === "f16" ? 1 : 0,
        PIXELS: pixels,
        COLUMNS: columns,
        KERNEL_WIDTH: kernelWidth,
        STRIDE: stride,
        DILATION: dilation,
        SPAN: (pixels - 1) * stride + (kernelWidth - 1) * dilation + 1,
        RESIDUAL: residual ? 1 : 0,
      },
      constants: {
        KERNEL_HEIGHT: kernelHeight,
        INPUT_VECTORS: vectors(input.shape.channels),
        OUTPUT_CHANNELS: output.shape.channels,
        LANES: lanes,
        ACTIVATION: activationNumber(activation),
      },
      uniforms: {
        input: viewUniform(source),
        residual: viewUniform(added ?? source),
        output: viewUniform(bound),
        input_height: input.shape.height,
        output_height: height,
        first_batch: band.firstBatch,
        first_row: band.firstRow,
        padding_top: padding,
        padding_left: padding,
        slope: activationSlope(activation),
      },
      bindings: {
        input: source,
        weights: { constant: packConvolution(weight, output.storage.elementType) },
        bias: { constant: packVector(attributes.bias, output.shape.channels) },
        output: bound,
        ...(added && { residual: added }),
      },
      workgroups: [
        Math.ceil(width / (pixels * lanes)),
        band.rowCount,
        band.batchCount * Math.ceil(vectors(output.shape.channels) / columns),
      ],
      operations: band.batchCount * band.rowCount * width * operationsPerPixel,
    };
  });
}

/** The input rows that a band of output rows reads, `padding` rows above it included. */
export function haloBinding(
  band: Band,
  input: TensorView,
  output: TensorView,
  stride: number,
  padding: number,
  rowsRead: number,
  traits: OperatorJob<unknown>["traits"],
): ReturnType<typeof rowsBinding> {
  const { height } = input.shape;
  if (band.rowCount === output.shape.height) return rowsBinding(input, band.firstBatch * height, band.batchCount * height, traits);
  const first = Math.max(0, band.firstRow * stride - padding);
  const end = Math.min(height, band.firstRow * stride - padding + rowsRead);
  return rowsBinding(input, band.firstBatch * height + first, Math.max(1, end - first), traits);
}
