import { type Activation, activationNumber, activationSlope } from "../activation.ts";
import type { Defines, UniformValues } from "../../runtime/shader.ts";
import { type Band, bandBinding, type Binding, defineKernel, type Dispatch, enabling, gridOf, haloBinding, type Kernel, type Operator, type OperatorJob, rowBands, shapeError, type VariantJob, viewUniform } from "../kernel.ts";
import { formatShape, type TensorView, vectors } from "../tensor.ts";
import { defaultFirst, type VariantTable } from "../variants.ts";
import { convolutionVectors, packConvolution, packVector, UNIFORM_SIZES, type Weight, weightLength } from "../weights.ts";
import { type Convolution, type ImageMatrices, isVector, residualBinding, residualRows } from "./convolution.ts";
import { convolveByMatrices, matrixVariants } from "./matrix.ts";
import { narrowVariant, narrowVariants } from "./narrow.ts";
import { convolveTiled, tiledVariants } from "./tiled.ts";
import { allowsWinograd, convolveByWinograd, WINOGRAD } from "./winograd.ts";
import activationCode from "../common/activation.wgsl";
import conv2dCode from "./conv2d.wgsl";
import pointwiseCode from "./pointwise.wgsl";
import subgroupCode from "./subgroup.wgsl";
import weightsCode from "./weights.wgsl";

/** Dense convolution with zero padding. Inputs: the tensor and, with `residual`, a tensor of the output's shape or 1×1×1×outputs for all pixels. */
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
const subgroupKernel = enabling(["subgroups"], defineKernel("conv2d/subgroup", activationCode, subgroupCode));

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
    if (bias && weightLength(bias) !== outputs) return shapeError("conv2d", `bias ${bias.name} has ${weightLength(bias)} values, not ${outputs}`, inputs);
    const size = (length: number, kernel: number): number => Math.floor((length + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
    const output = { batch: input.batch, height: size(input.height, kernelHeight), width: size(input.width, kernelWidth), channels: outputs };
    if (output.height < 1 || output.width < 1) return shapeError("conv2d", `the ${kernelHeight}×${kernelWidth} kernel does not fit`, inputs);
    if (added && !isVector(added, output) && formatShape(added) !== formatShape(output)) return shapeError("conv2d", `the residual must be ${formatShape(output)} or 1×1×1×${outputs}`, inputs);
    if (normalise && !isPointwise(attributes)) return shapeError("conv2d", "only a 1×1 convolution can normalise its input", inputs);
    return output;
  },

  variants: (job) => convolutionCandidates(convolutionOf(job)),

  dispatches: (job) => convolve(convolutionOf(job), job.variant, job.scratch),
};

/** What `convolve` takes for a job of the operator. */
export function convolutionOf({ inputs, output, attributes, traits }: VariantJob<Conv2dAttributes>): Convolution {
  const [input, residual] = inputs as [TensorView, TensorView?];
  const [, , kernelHeight = 1, kernelWidth = 1] = attributes.weight.shape;
  return {
    ...attributes,
    kernelHeight,
    kernelWidth,
    input,
    output,
    residual,
    matrix: attributes.weight,
    bias: { constant: packVector(attributes.bias, output.shape.channels) },
    traits,
  };
}

/** Whether the convolution is a product of each pixel with one matrix. */
export function isPointwise({ weight, stride, padding }: Conv2dAttributes): boolean {
  return weight.shape[2] === 1 && weight.shape[3] === 1 && stride === 1 && padding === 0;
}

const SUBGROUPS = "subgroups";
const REGISTERS = "registers";

/**
 * Tiles in workgroup memory are for GPUs that have such memory of its own, which Mali has not; subgroups for devices on which a load costs as
 * much as some sixty multiply-adds, and a broadcast one. Matrix units are measured by `sinter tune` before they are used.
 */
export const convolutionVariants: VariantTable = {
  operator: "conv2d",
  jobs: "all",
  defaults: { nvidia: "tiled", amd: "tiled", intel: "tiled", apple: "tiled", mobile: REGISTERS, software: SUBGROUPS, other: REGISTERS },
};

/** Where arithmetic is dear, a quarter of the products is worth the transforms. On GPUs, which are bound by memory first, `sinter tune` measures it. */
export const winogradVariants: VariantTable = {
  operator: "conv2d",
  jobs: "3×3, stride 1, f32, 16 channels or more, many pixels",
  defaults: { ...convolutionVariants.defaults, software: WINOGRAD },
};

/** A software adapter has no use for workgroup memory and takes seconds to compile a tile. */
export function convolutionCandidates(convolution: Convolution): readonly string[] {
  const { traits } = convolution;
  const tiles = traits.deviceClass === "software" ? [] : [...tiledVariants(convolution), ...matrixVariants(convolution)];
  const narrow = narrowVariants(convolution);
  const candidates = [REGISTERS, ...(traits.subgroupSize === SUBGROUP ? [SUBGROUPS] : []), ...narrow.names, ...tiles];
  return allowsWinograd(convolution) ? defaultFirst(winogradVariants, [...candidates, WINOGRAD], traits) : defaultFirst(narrow.table ?? convolutionVariants, candidates, traits);
}

/** A kernel with its tile: how many pixels and output channels a workgroup makes. */
export interface Variant {
  readonly kernel: Kernel;
  readonly matrix: Matrix;
  readonly defines: Defines;
  readonly constants: Readonly<Record<string, number>>;
  /** Uniforms beside those that all variants have. */
  readonly uniforms: (band: Band) => UniformValues;
  readonly workgroups: (band: Band) => readonly [number, number, number];
}

/** How a convolution binds its matrix. */
interface Matrix {
  readonly binding: Binding;
  /** Vectors between the matrices of two images; 0: one for all. */
  readonly stride: number;
  readonly defines: Defines;
}

/** The matrix as a uniform where it fits. */
function uniformMatrix({ matrix, output }: Convolution): Matrix {
  if ("binding" in matrix) {
    const { binding, stride, count } = matrix;
    const fits = count * stride <= Math.max(...UNIFORM_SIZES);
    return { binding, stride, defines: fits ? { UNIFORM_WEIGHTS: 1, WEIGHT_VECTORS: count * stride } : { UNIFORM_WEIGHTS: 0 } };
  }
  const size = UNIFORM_SIZES.find((vectorCount) => vectorCount >= convolutionVectors(matrix));
  return size !== undefined
    ? { binding: { constant: packConvolution(matrix, "f32", size) }, defines: { UNIFORM_WEIGHTS: 1, WEIGHT_VECTORS: size }, stride: 0 }
    : { binding: { constant: packConvolution(matrix, output.storage.elementType) }, defines: { UNIFORM_WEIGHTS: 0 }, stride: 0 };
}

/** The matrix in storage, in f32. */
function storedMatrix(matrix: Weight | ImageMatrices): Matrix {
  return "binding" in matrix
    ? { binding: matrix.binding, stride: matrix.stride, defines: {} }
    : { binding: { constant: packConvolution(matrix, "f32") }, stride: 0, defines: {} };
}

/** Lanes of a subgroup for which subgroup.wgsl is written: those of software adapters. */
const SUBGROUP = 8;

/** Sixteen vectors of sums a lane: more compile twice as long, fewer load more. */
function subgroupVariant({ input, output, matrix, kernelHeight, kernelWidth, stride, padding, dilation, normalise, traits }: Convolution): Variant {
  const { height, width, channels } = output.shape;
  const outputVectors = vectors(channels);
  // Four lanes a pixel load an eighth more than eight, which pays where eight would leave lanes idle.
  const idle = Math.ceil(outputVectors / 4) * 4 * 1.125 < Math.ceil(outputVectors / SUBGROUP) * SUBGROUP;
  const vectorLanes = outputVectors === 1 ? 1 : idle ? 4 : SUBGROUP;
  const pixelGroups = vectorLanes === 1 ? 8 : 16 / vectorLanes;
  const lanes = 32;
  const columnBlocks = Math.ceil(outputVectors / vectorLanes);
  // What it costs to normalise a pixel is paid once.
  const blocks = normalise ? columnBlocks : 1;
  const bound = storedMatrix(matrix);
  return {
    kernel: subgroupKernel,
    matrix: bound,
    defines: { SUBGROUP, VECTOR_LANES: vectorLanes, PIXEL_GROUPS: pixelGroups, RESULTS: pixelGroups * vectorLanes, NORMALISE: normalise ? 1 : 0 },
    uniforms: (band) => ({
      row_count: band.rowCount,
      input_height: input.shape.height,
      output_height: height,
      kernel_height: kernelHeight,
      kernel_width: kernelWidth,
      stride,
      padding,
      dilation,
      input_channels: input.shape.channels,
      output_channels: channels,
      matrix_stride: bound.stride,
      blocks,
      results: pixelGroups * vectorLanes,
      epsilon: normalise?.epsilon ?? 0,
    }),
    constants: { LANES: lanes },
    workgroups: (band) => [
      ...gridOf(Math.ceil((band.rowCount * width) / (pixelGroups * lanes)), traits),
      band.batchCount * Math.ceil(columnBlocks / blocks),
    ],
  };
}

/** Four pixels × two vectors of channels are 32 sums: few enough to stay in registers, and the fastest but for tiles that compile twice as long. */
function registerVariant(convolution: Convolution): Variant {
  const { input, output, kernelHeight, kernelWidth, stride, padding, dilation, normalise, traits } = convolution;
  const { height, width, channels } = output.shape;
  const matrix = uniformMatrix(convolution);
  const pixels = 4;
  const columns = vectors(channels) === 1 ? 1 : 2;
  const lanes = 32;
  if (kernelHeight === 1 && kernelWidth === 1 && stride === 1 && padding === 0) {
    return {
      kernel: pointwiseKernel,
      matrix,
      defines: { PIXELS: pixels, COLUMNS: columns, NORMALISE: normalise ? 1 : 0 },
      uniforms: (band) => ({
        height,
        row_count: band.rowCount,
        input_channels: input.shape.channels,
        output_channels: channels,
        matrix_stride: matrix.stride,
        epsilon: normalise?.epsilon ?? 0,
      }),
      constants: { LANES: lanes },
      workgroups: (band) => [...gridOf(Math.ceil((band.rowCount * width) / (pixels * lanes)), traits), band.batchCount],
    };
  }
  return {
    kernel: conv2dKernel,
    matrix,
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

/**
 * The dispatches of a convolution.
 *
 * @param name one of `convolutionCandidates`
 */
export function convolve(convolution: Convolution, name: string, scratch: OperatorJob<unknown>["scratch"]): Dispatch[] {
  const { matrix } = convolution;
  if (name === WINOGRAD && "data" in matrix) {
    return convolveByWinograd(convolution, matrix, scratch, (product) => {
      const [standard = REGISTERS] = convolutionCandidates(product);
      return convolve(product, standard, scratch);
    });
  }
  const tiled = convolveTiled(convolution, name, scratch) ?? convolveByMatrices(convolution, name, scratch);
  if (tiled) return tiled;
  const { input, output, kernelHeight, kernelWidth, stride, padding, dilation, activation, traits } = convolution;
  const { batch, height, width, channels } = output.shape;
  const variant = narrowVariant(convolution, name, storedMatrix(matrix)) ?? (name === SUBGROUPS ? subgroupVariant : registerVariant)(convolution);
  const rowsRead = (rows: number): number => (rows - 1) * stride + (kernelHeight - 1) * dilation + 1;
  const reads = [{ view: input, rowsRead }, ...residualRows(convolution)];
  const operationsPerPixel = 2 * input.shape.channels * channels * kernelHeight * kernelWidth;
  return rowBands(output, reads, batch * height * width * operationsPerPixel, traits).map((band): Dispatch => {
    const bound = bandBinding(band, output, traits);
    const source = haloBinding(band, input, stride, padding, rowsRead(band.rowCount), traits);
    const added = residualBinding(band, convolution);
    return {
      kernel: variant.kernel,
      defines: { ...variant.defines, ...variant.matrix.defines, F16: output.storage.elementType === "f16" ? 1 : 0, RESIDUAL: added ? 1 : 0 },
      constants: { ...variant.constants, ACTIVATION: activationNumber(activation) },
      uniforms: {
        input: viewUniform(source),
        residual: added?.view ?? viewUniform(bound),
        output: viewUniform(bound),
        first_batch: band.firstBatch,
        first_row: band.firstRow,
        slope: activationSlope(activation),
        ...variant.uniforms(band),
      },
      bindings: { input: source, weights: variant.matrix.binding, bias: convolution.bias, output: bound, ...(added && { residual: added.binding }) },
      workgroups: variant.workgroups(band),
      operations: band.batchCount * band.rowCount * width * operationsPerPixel,
    };
  });
}
