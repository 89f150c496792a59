import { bandBinding, defineKernel, type Dispatch, type Operator, type OperatorJob, rowBands, rowsBinding, shapeError, viewUniform } from "../kernel.ts";
import { type TensorView, vectors } from "../tensor.ts";
import code from "./pad.wgsl";

/** The size of the result; the upper left corner stays in place. */
export interface PadAttributes {
  readonly height: number;
  readonly width: number;
}

const kernel = defineKernel("pad", code);

/**
 * Adds rows below and columns on the right that mirror those before the last one, which is not repeated (PyTorch's `reflect`, but a
 * side shorter than its margin is mirrored back and forth, where PyTorch fails).
 */
export const padReflect: Operator<PadAttributes> = {
  name: "padReflect",

  outputShape(inputs, { height, width }) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("padReflect", "expected one input", inputs);
    if (height < input.height || width < input.width) return shapeError("padReflect", `cannot pad to ${height}×${width}`, inputs);
    return { ...input, height, width };
  },

  dispatches: changeSize,
};

/** Keeps the rows above and the columns to the left of the size given. */
export const crop: Operator<PadAttributes> = {
  name: "crop",

  outputShape(inputs, { height, width }) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("crop", "expected one input", inputs);
    if (height > input.height || width > input.width || height < 1 || width < 1) return shapeError("crop", `cannot crop to ${height}×${width}`, inputs);
    return { ...input, height, width };
  },

  dispatches: changeSize,
};

function reflectIndex(index: number, size: number): number {
  const period = Math.max(2 * (size - 1), 1);
  return Math.min(index % period, period - (index % period));
}

function changeSize({ inputs, output, traits }: OperatorJob<PadAttributes>): Dispatch[] {
  const [input] = inputs as [TensorView];
  const { batch, height, width, channels } = output.shape;
  const inputHeight = input.shape.height;
  const lanes = 64;
  const reads = { view: input, rowsRead: (rows: number) => Math.min(rows, inputHeight) };
  return rowBands(output, [reads], batch * height * width * channels, traits).map((band) => {
    const bound = bandBinding(band, output, traits);
    const sources = Array.from({ length: band.rowCount }, (_, i) => reflectIndex(band.firstRow + i, inputHeight));
    const first = sources.reduce((a, b) => Math.min(a, b));
    const end = sources.reduce((a, b) => Math.max(a, b)) + 1;
    const source = rowsBinding(input, band.firstBatch * inputHeight + first, (band.batchCount - 1) * inputHeight + end - first, traits);
    return {
      kernel,
      defines: { F16: output.storage.elementType === "f16" ? 1 : 0 },
      constants: { LANES: lanes },
      uniforms: {
        input: viewUniform(source),
        output: viewUniform(bound),
        input_height: inputHeight,
        height,
        first_batch: band.firstBatch,
        first_row: band.firstRow,
        channels,
      },
      bindings: { input: source, output: bound },
      workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, band.batchCount],
      operations: 0,
    };
  });
}
