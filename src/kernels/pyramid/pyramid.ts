import mirrorCode from "../common/mirror.wgsl";
import { bandBinding, defineKernel, haloBinding, type Operator, rowBands, shapeError, viewUniform } from "../kernel.ts";
import { formatShape, type Shape, type TensorView, vectors } from "../tensor.ts";
import expandCode from "./expand.wgsl";
import reduceCode from "./reduce.wgsl";
import tapsCode from "./taps.wgsl";

const reduceKernel = defineKernel("pyramid/reduce", mirrorCode, tapsCode, reduceCode);
const expandKernel = defineKernel("pyramid/expand", mirrorCode, tapsCode, expandCode);

/** One level up: half as many rows and columns, rounded up. */
const reducedShape = (shape: Shape): Shape => ({ ...shape, height: Math.ceil(shape.height / 2), width: Math.ceil(shape.width / 2) });

/**
 * REDUCE of Burt and Adelson (1983, equation 1): the kernel (1, 4, 6, 4, 1) / 16 in both directions, at every other pixel from the
 * first on; borders are mirrored about the outermost pixels. Input: batch × height × width × channels; output: batch × ⌈height / 2⌉ ×
 * ⌈width / 2⌉ × channels.
 */
export const pyramidReduce: Operator<Record<never, never>> = {
  name: "pyramidReduce",

  outputShape(inputs) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("pyramidReduce", "expected one input", inputs);
    return reducedShape(input);
  },

  dispatches({ inputs, output, traits }) {
    const [input] = inputs as [TensorView];
    const { batch, height, width, channels } = output.shape;
    const lanes = 64;
    const operationsPerPixel = 50 * channels;
    const rowsRead = (rows: number): number => 2 * (rows - 1) + 5;
    return rowBands(output, [{ view: input, rowsRead }], batch * height * width * operationsPerPixel, traits).map((band) => {
      const bound = bandBinding(band, output, traits);
      const source = haloBinding(band, input, 2, 2, rowsRead(band.rowCount), traits);
      return {
        kernel: reduceKernel,
        defines: { F16: output.storage.elementType === "f16" ? 1 : 0 },
        constants: { VECTORS: vectors(channels), CHANNELS: channels, LANES: lanes },
        uniforms: {
          input: viewUniform(source),
          output: viewUniform(bound),
          input_height: input.shape.height,
          output_height: height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
        },
        bindings: { input: source, output: bound },
        workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, band.batchCount],
        operations: band.batchCount * band.rowCount * width * operationsPerPixel,
      };
    });
  },
};

/**
 * Inputs: a fine tensor, batch × height × width × channels, and a coarse one, batch × ⌈height / 2⌉ × ⌈width / 2⌉ × channels. The
 * coarse one is expanded to the size of the fine one (EXPAND of Burt and Adelson 1983, equation 2; borders are mirrored about the
 * outermost pixels of the fine level) and, with `detail`, subtracted from it: a level of a Laplacian pyramid; with `restore`, added
 * to it, which undoes `detail`.
 */
export interface PyramidExpandAttributes {
  readonly operation: "detail" | "restore";
}

const OPERATIONS = { detail: 0, restore: 1 } as const;

export const pyramidExpand: Operator<PyramidExpandAttributes> = {
  name: "pyramidExpand",

  outputShape(inputs, { operation }) {
    const [fine, coarse] = inputs;
    if (!fine || !coarse || inputs.length !== 2) return shapeError(operation, "expected two inputs", inputs);
    if (formatShape(coarse) !== formatShape(reducedShape(fine))) {
      return shapeError(operation, `expected a second input of ${formatShape(reducedShape(fine))}`, inputs);
    }
    return fine;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [fine, coarse] = inputs as [TensorView, TensorView];
    const { batch, height, width, channels } = output.shape;
    const lanes = 64;
    const operationsPerPixel = 14 * channels;
    // From the coarse row before the one below the band's first, even row to the one after that below its last.
    const rowsRead = (rows: number): number => Math.floor((rows - 1) / 2) + 3;
    const reads = [{ view: fine, rowsRead: (rows: number) => rows }, { view: coarse, rowsRead }];
    return rowBands(output, reads, batch * height * width * operationsPerPixel, traits, 2).map((band) => {
      const bound = bandBinding(band, output, traits);
      const source = bandBinding(band, fine, traits);
      const other = haloBinding(band, coarse, 0.5, 1, rowsRead(band.rowCount), traits);
      return {
        kernel: expandKernel,
        defines: { F16: output.storage.elementType === "f16" ? 1 : 0 },
        constants: { OPERATION: OPERATIONS[attributes.operation], VECTORS: vectors(channels), CHANNELS: channels, LANES: lanes },
        uniforms: {
          fine: viewUniform(source),
          coarse: viewUniform(other),
          output: viewUniform(bound),
          height,
          coarse_height: coarse.shape.height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
        },
        bindings: { fine: source, coarse: other, output: bound },
        workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, band.batchCount],
        operations: band.batchCount * band.rowCount * width * operationsPerPixel,
      };
    });
  },
};
