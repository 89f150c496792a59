import { SinterError } from "../../errors.ts";
import { type Activation, activationNumber, activationSlope } from "../activation.ts";
import { bandBinding, defineKernel, type Dispatch, haloBinding, type Operator, type OperatorJob, rowBands, shapeError, viewUniform } from "../kernel.ts";
import { formatShape, type TensorView, vectors } from "../tensor.ts";
import { defaultFirst, type VariantTable } from "../variants.ts";
import { packDepthwise, packVector, type Weight } from "../weights.ts";
import activationCode from "../common/activation.wgsl";
import depthwiseCode from "./depthwise-conv2d.wgsl";
import generalCode from "./general.wgsl";

/** Convolution of each channel by a kernel of its own, with zero padding. Inputs: the tensor and, with `gated`, a second one. */
export interface DepthwiseConv2dAttributes {
  /** Channels × 1 × kernel height × kernel width. */
  readonly weight: Weight;
  /** Channels. */
  readonly bias?: Weight;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  readonly activation?: Activation;
  /**
   * Convolves the second input with weights of its own; the output is gelu(first) × second (the gate of Restormer's
   * feed-forward network). 3×3, stride 1, padding 1 only, without activation.
   */
  readonly gated?: { readonly weight: Weight; readonly bias?: Weight };
}

const rollingKernel = defineKernel("depthwise-conv2d", activationCode, depthwiseCode);
const generalKernel = defineKernel("depthwise-conv2d/general", activationCode, generalCode);

export const depthwiseConv2d: Operator<DepthwiseConv2dAttributes> = {
  name: "depthwiseConv2d",

  outputShape(inputs, attributes) {
    const { weight, stride, padding, dilation, gated, activation } = attributes;
    const [input, second] = inputs;
    if (!input || inputs.length !== (gated ? 2 : 1)) return shapeError("depthwiseConv2d", `expected ${gated ? 2 : 1} inputs`, inputs);
    for (const { name, shape } of [weight, ...(gated ? [gated.weight] : [])]) {
      if (shape.length !== 4 || shape[0] !== input.channels || shape[1] !== 1) {
        return shapeError("depthwiseConv2d", `weight ${name} is ${shape.join("×")}`, inputs);
      }
    }
    const [, , kernelHeight = 0, kernelWidth = 0] = weight.shape;
    const size = (length: number, kernel: number): number => Math.floor((length + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
    const output = { ...input, height: size(input.height, kernelHeight), width: size(input.width, kernelWidth) };
    if (output.height < 1 || output.width < 1) return shapeError("depthwiseConv2d", `the ${kernelHeight}×${kernelWidth} kernel does not fit`, inputs);
    if (gated && (!isRolling(attributes) || activation || !second || formatShape(second) !== formatShape(input))) {
      return shapeError("depthwiseConv2d", "a gate needs two equal inputs, a 3×3 kernel, stride 1, padding 1 and no activation", inputs);
    }
    return output;
  },

  variants({ attributes, traits }) {
    if (!isRolling(attributes)) return [];
    return attributes.gated
      ? defaultFirst(gatedVariants, Object.keys(ROLLING_TILES), traits)
      : defaultFirst(rollingVariants, [...Object.keys(ROLLING_TILES), GENERAL], traits);
  },

  dispatches(job) {
    return isRolling(job.attributes) && job.variant !== GENERAL ? rollingDispatches(job) : generalDispatches(job);
  },
};

/** Pixels of a row and rows that a thread makes. */
const ROLLING_TILES: Readonly<Record<string, { readonly columns: number; readonly rows: number }>> = {
  "4 × 16": { columns: 4, rows: 16 },
  "2 × 16": { columns: 2, rows: 16 },
  "2 × 8": { columns: 2, rows: 8 },
  "2 × 4": { columns: 2, rows: 4 },
};
const GENERAL = "a pixel a thread";

/**
 * A GPU hides the latency of memory with many threads, so it is given small tiles; a CPU has none to hide and gains from fewer loads. A
 * thread of a gated one has two tiles.
 */
export const rollingVariants: VariantTable = {
  operator: "depthwiseConv2d",
  jobs: "3×3, stride 1, padding 1",
  defaults: { nvidia: "2 × 8", amd: "2 × 8", intel: "2 × 8", apple: "2 × 8", mobile: "2 × 4", software: "4 × 16", other: "2 × 8" },
};
export const gatedVariants: VariantTable = {
  operator: "depthwiseConv2d",
  jobs: "gated",
  defaults: { nvidia: "2 × 8", amd: "2 × 8", intel: "2 × 8", apple: "2 × 8", mobile: "2 × 4", software: "2 × 16", other: "2 × 8" },
};

function isRolling({ weight, stride, padding, dilation }: DepthwiseConv2dAttributes): boolean {
  return weight.shape[2] === 3 && weight.shape[3] === 3 && stride === 1 && padding === 1 && dilation === 1;
}

function rollingDispatches({ inputs, output, attributes, traits, variant }: OperatorJob<DepthwiseConv2dAttributes>): Dispatch[] {
  const [input, second] = inputs as [TensorView, TensorView?];
  const { weight, bias, gated, activation } = attributes;
  const { elementType } = output.storage;
  const { batch, height, width, channels } = output.shape;
  const tile = ROLLING_TILES[variant];
  if (!tile) throw new SinterError("VARIANT", `depthwiseConv2d has no variant "${variant}"`);
  const { columns, rows } = tile;
  const lanes = 64;
  const operationsPerPixel = 18 * channels * (gated ? 2 : 1);
  const rowsRead = (count: number): number => count + 2;
  const reads = [input, ...(second ? [second] : [])].map((view) => ({ view, rowsRead }));
  return rowBands(output, reads, batch * height * width * operationsPerPixel, traits).map((band): Dispatch => {
    const bound = bandBinding(band, output, traits);
    const source = haloBinding(band, input, 1, 1, rowsRead(band.rowCount), traits);
    const gate = second && haloBinding(band, second, 1, 1, rowsRead(band.rowCount), traits);
    return {
      kernel: rollingKernel,
      defines: { F16: elementType === "f16" ? 1 : 0, COLUMNS: columns, ROWS: rows, SPAN: columns + 2, GATED: gated ? 1 : 0 },
      constants: { LANES: lanes, ACTIVATION: activationNumber(activation) },
      uniforms: {
        input: viewUniform(source),
        gated: viewUniform(gate ?? source),
        output: viewUniform(bound),
        height,
        first_batch: band.firstBatch,
        first_row: band.firstRow,
        end_row: band.firstRow + band.rowCount,
        channels,
        slope: activationSlope(activation),
      },
      bindings: {
        input: source,
        weights: { constant: packDepthwise(weight, elementType) },
        bias: { constant: packVector(bias, channels) },
        output: bound,
        ...(gated &&
          gate && {
            gated: gate,
            gated_weights: { constant: packDepthwise(gated.weight, elementType) },
            gated_bias: { constant: packVector(gated.bias, channels) },
          }),
      },
      workgroups: [Math.ceil((Math.ceil(width / columns) * vectors(channels)) / lanes), Math.ceil(band.rowCount / rows), band.batchCount],
      operations: band.batchCount * band.rowCount * width * operationsPerPixel,
    };
  });
}

function generalDispatches({ inputs, output, attributes, traits }: OperatorJob<DepthwiseConv2dAttributes>): Dispatch[] {
  const [input] = inputs as [TensorView];
  const { weight, bias, stride, padding, dilation, activation } = attributes;
  const [, , kernelHeight = 1, kernelWidth = 1] = weight.shape;
  const { elementType } = output.storage;
  const { batch, height, width, channels } = output.shape;
  const lanes = 64;
  const operationsPerPixel = 2 * channels * kernelHeight * kernelWidth;
  const rowsRead = (rows: number): number => (rows - 1) * stride + (kernelHeight - 1) * dilation + 1;
  return rowBands(output, [{ view: input, rowsRead }], batch * height * width * operationsPerPixel, traits).map((band): Dispatch => {
    const bound = bandBinding(band, output, traits);
    const source = haloBinding(band, input, stride, padding, rowsRead(band.rowCount), traits);
    return {
      kernel: generalKernel,
      defines: { F16: elementType === "f16" ? 1 : 0 },
      constants: { LANES: lanes, ACTIVATION: activationNumber(activation) },
      uniforms: {
        input: viewUniform(source),
        output: viewUniform(bound),
        input_height: input.shape.height,
        output_height: height,
        first_batch: band.firstBatch,
        first_row: band.firstRow,
        channels,
        kernel_height: kernelHeight,
        kernel_width: kernelWidth,
        stride,
        padding,
        dilation,
        slope: activationSlope(activation),
      },
      bindings: {
        input: source,
        weights: { constant: packDepthwise(weight, elementType) },
        bias: { constant: packVector(bias, channels) },
        output: bound,
      },
      workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, band.batchCount],
      operations: band.batchCount * band.rowCount * width * operationsPerPixel,
    };
  });
}
