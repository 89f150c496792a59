import { activationNumber, activationSlope } from "../activation.ts";
import type { Defines } from "../../runtime/shader.ts";
import {
  bandBinding,
  type BandedInput,
  type Binding,
  defineKernel,
  type Dispatch,
  gridOf,
  inputBinding,
  type Kernel,
  type OperatorJob,
  rowBands,
  viewUniform,
} from "../kernel.ts";
import { vectors } from "../tensor.ts";
import { packConvolution } from "../weights.ts";
import { type Convolution, residualBinding, residualRows } from "./convolution.ts";
import activationCode from "../common/activation.wgsl";
import mergeCode from "./merge.wgsl";

/** A kernel on top of gemm.wgsl, and what a workgroup of it makes. */
export interface GemmKernel {
  readonly kernel: Kernel;
  /** Beside those of gemm.wgsl. */
  readonly defines: Defines;
  /** Output pixels. */
  readonly tilePixels: number;
  /** Vectors of output channels. */
  readonly tileVectors: number;
  readonly threads: number;
  /** Vectors of the inner dimension that it takes at a time. */
  readonly chunk: number;
  /** Estimated time of a multiplication with what is read for it; of the kernel's tiles, the least is the best where all fit the picture. */
  readonly cost: number;
}

const mergeKernel = defineKernel("conv2d/merge", activationCode, mergeCode);
const MERGE_LANES = 64;

/** Fewer workgroups than this leave a large GPU partly idle (an H100 has 132 multiprocessors, a laptop's GPU 20 to 40). */
const FEW_WORKGROUPS = 64;
const ENOUGH_WORKGROUPS = 128;
/** A part of fewer chunks of the inner dimension costs more in partial sums than it gains. */
const MIN_CHUNKS_PER_PART = 8;

/** Vectors of the inner dimension: taps × vectors of input channels. */
export const innerVectors = ({ kernelHeight, kernelWidth, input }: Convolution): number => kernelHeight * kernelWidth * vectors(input.shape.channels);

/**
 * Into how many parts the inner dimension is divided. It depends on the shapes of the whole convolution and on the tile, never on bands, so
 * that the sums are added in one order.
 */
export function partCount(convolution: Convolution, { tilePixels, tileVectors, chunk }: GemmKernel): number {
  const { batch, height, width, channels } = convolution.output.shape;
  const workgroups = batch * Math.ceil((height * width) / tilePixels) * Math.ceil(vectors(channels) / tileVectors);
  const chunks = Math.ceil(innerVectors(convolution) / chunk);
  if (workgroups >= FEW_WORKGROUPS) return 1;
  const parts = Math.min(Math.ceil(ENOUGH_WORKGROUPS / workgroups), Math.floor(chunks / MIN_CHUNKS_PER_PART));
  // The chunks go to the parts evenly, rounded up, which may leave the last parts without any.
  return parts > 1 ? Math.ceil(chunks / Math.ceil(chunks / parts)) : 1;
}

/**
 * Estimated time of a convolution, to compare tiles of one kernel: what they make beyond the edges counts too, and so does what of a GPU
 * they leave idle.
 */
export function estimatedTime(convolution: Convolution, gemm: GemmKernel): number {
  const { batch, height, width, channels } = convolution.output.shape;
  const tiles = batch * Math.ceil((height * width) / gemm.tilePixels) * Math.ceil(vectors(channels) / gemm.tileVectors);
  const busy = Math.min(1, (tiles * partCount(convolution, gemm)) / FEW_WORKGROUPS);
  return (tiles * gemm.tilePixels * gemm.tileVectors * gemm.cost) / busy;
}

/** The dispatches of a convolution by a kernel of implicit GEMM: one a band, or two where the inner dimension is divided. */
export function gemmDispatches(convolution: Convolution, gemm: GemmKernel, scratch: OperatorJob<unknown>["scratch"]): Dispatch[] {
  const { input, output, kernelHeight, kernelWidth, stride, padding, dilation, activation, normalise, traits, matrix, bias } = convolution;
  const { batch, height, width, channels } = output.shape;
  const parts = partCount(convolution, gemm);
  const f16 = output.storage.elementType === "f16" ? 1 : 0;
  const weights: { readonly binding: Binding; readonly stride: number; readonly f32: number } =
    "binding" in matrix
      ? { binding: matrix.binding, stride: matrix.stride, f32: 1 }
      : { binding: { constant: packConvolution(matrix, output.storage.elementType) }, stride: 0, f32: 0 };
  const partialSums = parts > 1 ? scratch("partial sums", { batch, height, width, channels: parts * vectors(channels) * 4 }) : undefined;
  const source: BandedInput = {
    view: input,
    rowsRead: (rows) => (rows - 1) * stride + (kernelHeight - 1) * dilation + 1,
    firstRowRead: (row) => row * stride - padding,
  };
  const operands = [source, ...residualRows(convolution), ...(partialSums ? [{ view: partialSums, rowsRead: (rows: number) => rows }] : [])];
  const operationsPerPixel = 2 * input.shape.channels * channels * kernelHeight * kernelWidth;
  const { tilePixels, tileVectors, threads, chunk } = gemm;
  const defines: Defines = {
    ...gemm.defines,
    F16: f16,
    F32_MATRIX: weights.f32,
    NORMALISE: normalise ? 1 : 0,
    TILE_PIXELS: tilePixels,
    TILE_VECTORS: tileVectors,
    THREADS: threads,
    CHUNK: chunk,
    INPUT_LOADS: (chunk * tilePixels) / threads,
    WEIGHT_LOADS: (chunk * 4 * tileVectors) / threads,
  };
  const finish = { constants: { ACTIVATION: activationNumber(activation) }, slope: activationSlope(activation) };

  return rowBands(output, operands, batch * height * width * operationsPerPixel, traits).flatMap((band): Dispatch[] => {
    const bound = bandBinding(band, output, traits);
    const added = residualBinding(band, convolution);
    const sums = partialSums && bandBinding(band, partialSums, traits);
    const read = inputBinding(band, source, traits);
    const rows = { height, first_batch: band.firstBatch, first_row: band.firstRow, row_count: band.rowCount };
    const pixels = band.rowCount * width;
    const product: Dispatch = {
      kernel: gemm.kernel,
      defines: { ...defines, DIVIDED: sums ? 1 : 0, RESIDUAL: added && !sums ? 1 : 0 },
      constants: sums ? {} : finish.constants,
      uniforms: {
        ...rows,
        input: viewUniform(read),
        residual: added?.view ?? viewUniform(bound),
        output: viewUniform(sums ?? bound),
        input_height: input.shape.height,
        kernel_height: kernelHeight,
        kernel_width: kernelWidth,
        stride,
        padding,
        dilation,
        input_channels: input.shape.channels,
        output_channels: channels,
        matrix_stride: weights.stride,
        parts,
        epsilon: normalise?.epsilon ?? 0,
        slope: finish.slope,
      },
      bindings: { input: read, weights: weights.binding, ...(sums ? { output: sums } : { bias, output: bound, ...(added && { residual: added.binding }) }) },
      workgroups: [
        ...gridOf(Math.ceil(pixels / tilePixels) * Math.ceil(vectors(channels) / tileVectors), traits),
        band.batchCount * parts,
      ],
      operations: band.batchCount * pixels * operationsPerPixel,
    };
    if (!sums) return [product];
    const merge: Dispatch = {
      kernel: mergeKernel,
      defines: { F16: f16, RESIDUAL: added ? 1 : 0 },
      constants: { LANES: MERGE_LANES, ...finish.constants },
      uniforms: {
        ...rows,
        partial_sums: viewUniform(sums),
        residual: added?.view ?? viewUniform(bound),
        output: viewUniform(bound),
        output_channels: channels,
        parts,
        slope: finish.slope,
      },
      bindings: { partial_sums: sums, bias, output: bound, ...(added && { residual: added.binding }) },
      workgroups: [...gridOf(Math.ceil((pixels * vectors(channels)) / MERGE_LANES), traits), band.batchCount],
      operations: band.batchCount * pixels * channels * (parts + 1),
    };
    return [product, merge];
  });
}
