import { defineKernel, enabling, gridOf } from "../kernel.ts";
import { vectors } from "../tensor.ts";
import type { VariantTable } from "../variants.ts";
import { packByOutput, type Weight } from "../weights.ts";
import type { Variant } from "./conv2d.ts";
import type { Convolution } from "./convolution.ts";
import activationCode from "../common/activation.wgsl";
import weightStationaryCode from "./weight-stationary.wgsl";
import fewOutputsCode from "./few-outputs.wgsl";
import fewOutputsSubgroupCode from "./few-outputs-subgroup.wgsl";

const WEIGHT_STATIONARY = "weight-stationary";
const FEW_OUTPUTS = "few-outputs";
const FEW_OUTPUTS_SUBGROUPS = "few-outputs-subgroups";

const weightStationaryKernel = enabling(["subgroups"], defineKernel("conv2d/weight-stationary", activationCode, weightStationaryCode));
const fewOutputsKernel = defineKernel("conv2d/few-outputs", activationCode, fewOutputsCode);
const fewOutputsSubgroupKernel = enabling(["subgroups"], defineKernel("conv2d/few-outputs-subgroup", activationCode, fewOutputsSubgroupCode));

/** For devices on which a load costs as much as some sixty multiply-adds: each lane keeps the weights of its output channels, all of them. */
export const weightStationaryVariants: VariantTable = {
  operator: "conv2d",
  jobs: "input channels × taps up to 32, of up to 8 channels up to 160",
  defaults: { nvidia: "tiled", amd: "tiled", intel: "tiled", apple: "tiled", mobile: "registers", software: WEIGHT_STATIONARY, other: "registers" },
};

/** The other kernels' narrowest tile makes sixteen channels, and its lanes read only a part of a pixel at a time. */
export const fewOutputsVariants: VariantTable = {
  operator: "conv2d",
  jobs: "up to 4 output channels, stride 1",
  defaults: {
    nvidia: FEW_OUTPUTS,
    amd: FEW_OUTPUTS,
    intel: FEW_OUTPUTS,
    apple: FEW_OUTPUTS,
    mobile: FEW_OUTPUTS,
    software: FEW_OUTPUTS_SUBGROUPS,
    other: FEW_OUTPUTS,
  },
};

const MAX_OUTPUTS = 4;
const FEW_INPUTS = 8;
/** Lanes of a subgroup for which the two kernels by subgroups are written: those of software adapters. */
const SUBGROUP = 8;
/** Vectors of weights that such a lane keeps. Their use is unrolled: 7×7 of three channels, which are 147, take a second to compile. */
const MAX_TERMS = 160;
/** With more input channels a load serves the other kernel longer, and those of this one take longer to compile. */
const MAX_TERMS_OF_MANY_INPUTS = 32;

/** Taps × channels on the narrow side. */
const termsOf = ({ kernelHeight, kernelWidth }: Convolution, channels: number): number => kernelHeight * kernelWidth * channels;

/** Output pixels of a row that read nothing beyond eight neighbouring columns. */
const stripOf = ({ kernelWidth, stride, dilation }: Convolution): number => Math.floor((SUBGROUP - 1 - (kernelWidth - 1) * dilation) / stride) + 1;

/** Lanes that share a pixel of so many vectors: eight, but four where eight would leave four of the last ones idle. */
function vectorLanesOf(count: number): number {
  const last = count % SUBGROUP;
  return [1, 2, 4].find((lanes) => count <= lanes) ?? (last > 0 && last <= 4 ? 4 : SUBGROUP);
}

/** The variants for few channels or weights that the device can run and the convolution allows, and whose table has the default for it. */
export function narrowVariants(convolution: Convolution): { readonly names: readonly string[]; readonly table: VariantTable | undefined } {
  const { input, output, matrix, stride, dilation, normalise, traits } = convolution;
  const inputs = input.shape.channels;
  const outputs = output.shape.channels;
  const software = traits.deviceClass === "software";
  const hasFewOutputs = outputs <= MAX_OUTPUTS && stride === 1 && dilation === 1 && !("binding" in matrix) && !normalise;
  // What is a vector rather than a picture is not worth the compilation.
  const lanesSuit = software && traits.subgroupSize === SUBGROUP && output.shape.height * output.shape.width >= SUBGROUP;
  const keeps = (channels: number, maxTerms: number): boolean => lanesSuit && termsOf(convolution, channels) <= maxTerms;
  const candidates: readonly (readonly [string, VariantTable, boolean])[] = [
    [FEW_OUTPUTS, fewOutputsVariants, hasFewOutputs && !software],
    [FEW_OUTPUTS_SUBGROUPS, fewOutputsVariants, hasFewOutputs && keeps(outputs, MAX_TERMS)],
    [WEIGHT_STATIONARY, weightStationaryVariants, stripOf(convolution) >= 1 && keeps(inputs, inputs <= FEW_INPUTS ? MAX_TERMS : MAX_TERMS_OF_MANY_INPUTS)],
  ];
  const offered = candidates.filter(([, , fits]) => fits);
  return { names: offered.map(([name]) => name), table: offered[0]?.[1] };
}

/**
 * @param stored the convolution's matrix in storage, in f32
 * @returns undefined where the name is another kernel's
 */
export function narrowVariant(convolution: Convolution, name: string, stored: Variant["matrix"]): Variant | undefined {
  const { matrix } = convolution;
  if (name === WEIGHT_STATIONARY) return weightStationary(convolution, stored);
  if ("binding" in matrix) return undefined;
  if (name === FEW_OUTPUTS) return fewOutputs(convolution, matrix);
  if (name === FEW_OUTPUTS_SUBGROUPS) return fewOutputsBySubgroups(convolution, matrix);
  return undefined;
}

function weightStationary(convolution: Convolution, matrix: Variant["matrix"]): Variant {
  const { input, output, normalise, kernelHeight, kernelWidth, stride, padding, dilation, traits } = convolution;
  const { height, width, channels } = output.shape;
  const inputs = input.shape.channels;
  const vectorLanes = vectorLanesOf(vectors(channels));
  const strip = stripOf(convolution);
  const terms = termsOf(convolution, inputs);
  // For so many the weights are loaded once.
  const strips = 64;
  return {
    kernel: weightStationaryKernel,
    matrix,
    defines: {
      SUBGROUP,
      CHANNELS: inputs,
      CHANNEL_VECTORS: vectors(inputs),
      KERNEL_HEIGHT: kernelHeight,
      KERNEL_WIDTH: kernelWidth,
      TERMS: terms,
      VECTOR_LANES: vectorLanes,
      STRIP: strip,
      NORMALISE: normalise ? 1 : 0,
    },
    uniforms: (band) => ({
      row_count: band.rowCount,
      input_height: input.shape.height,
      output_height: height,
      stride,
      padding,
      dilation,
      output_channels: channels,
      matrix_stride: matrix.stride,
      epsilon: normalise?.epsilon ?? 0,
      terms,
      strip,
      strips,
    }),
    constants: { LANES: SUBGROUP },
    workgroups: (band) => [
      ...gridOf(Math.ceil((band.rowCount * Math.ceil(width / strip)) / strips), traits),
      band.batchCount * Math.ceil(vectors(channels) / vectorLanes),
    ],
  };
}

/** Four rows a thread: more read less, but their sums and input rows take more of its registers. */
function fewOutputs(convolution: Convolution, matrix: Weight): Variant {
  const { input, output, kernelHeight, kernelWidth, padding, traits } = convolution;
  const { height, width, channels } = output.shape;
  const vectorLanes = vectorLanesOf(vectors(input.shape.channels));
  const rows = 4;
  const threads = 64;
  const columns = threads / vectorLanes;
  return {
    kernel: fewOutputsKernel,
    matrix: { binding: { constant: packByOutput(matrix) }, stride: 0, defines: {} },
    defines: {
      OUTPUTS: channels,
      KERNEL_HEIGHT: kernelHeight,
      KERNEL_WIDTH: kernelWidth,
      ROWS: rows,
      INPUT_ROWS: rows + kernelHeight - 1,
      VECTOR_LANES: vectorLanes,
      COLUMNS: columns,
      THREADS: threads,
      SUMS: channels * rows * vectorLanes * (columns + 1),
    },
    uniforms: (band) => ({
      row_count: band.rowCount,
      input_height: input.shape.height,
      output_height: height,
      padding,
      input_channels: input.shape.channels,
      output_channels: channels,
    }),
    constants: {},
    workgroups: (band) => [...gridOf(Math.ceil(width / columns) * Math.ceil(band.rowCount / rows), traits), band.batchCount],
  };
}

function fewOutputsBySubgroups(convolution: Convolution, matrix: Weight): Variant {
  const { input, output, kernelHeight, kernelWidth, padding, traits } = convolution;
  const { height, width, channels } = output.shape;
  const inputVectors = vectors(input.shape.channels);
  const vectorLanes = vectorLanesOf(inputVectors);
  const terms = termsOf(convolution, channels);
  // More rows share a load; large kernels take long enough to compile.
  const rows = terms > 36 ? 2 : 4;
  // For so many columns the weights are loaded once.
  const maxStrip = 128;
  const rowGroups = SUBGROUP / vectorLanes;
  return {
    kernel: fewOutputsSubgroupKernel,
    matrix: { binding: { constant: packByOutput(matrix) }, stride: 0, defines: {} },
    defines: {
      SUBGROUP,
      OUTPUTS: channels,
      KERNEL_HEIGHT: kernelHeight,
      KERNEL_WIDTH: kernelWidth,
      OLDER: Math.max(1, kernelWidth - 1),
      TERMS: terms,
      ROWS: rows,
      INPUT_ROWS: rows + kernelHeight - 1,
      VECTOR_LANES: vectorLanes,
      LEVELS: Math.log2(vectorLanes),
      STORES: Math.ceil(rows / vectorLanes),
      DIVIDED: inputVectors > vectorLanes ? 1 : 0,
      MAX_STRIP: maxStrip,
    },
    uniforms: (band) => ({
      row_count: band.rowCount,
      input_height: input.shape.height,
      output_height: height,
      padding,
      input_channels: input.shape.channels,
      output_channels: channels,
      terms,
    }),
    constants: { LANES: SUBGROUP },
    workgroups: (band) => [...gridOf(Math.ceil(width / maxStrip) * Math.ceil(band.rowCount / (rows * rowGroups)), traits), band.batchCount],
  };
}
