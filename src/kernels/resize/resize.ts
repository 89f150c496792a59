import { bandBinding, defineKernel, type Operator, rowBands, rowsBinding, shapeError, viewUniform } from "../kernel.ts";
import { type TensorView, vectors } from "../tensor.ts";
import code from "./resize.wgsl";

/** Bilinear resizing as `torch.nn.functional.interpolate` does it, without antialiasing. */
export interface ResizeAttributes {
  readonly height: number;
  readonly width: number;
  /** Whether the centres of the corner pixels stay in place; else the corners of the picture do. */
  readonly alignCorners: boolean;
}

const kernel = defineKernel("resize", code);

export const resize: Operator<ResizeAttributes> = {
  name: "resize",

  outputShape(inputs, { height, width }) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("resize", "expected one input", inputs);
    if (!(height >= 1 && width >= 1)) return shapeError("resize", `cannot resize to ${height}×${width}`, inputs);
    return { ...input, height, width };
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [input] = inputs as [TensorView];
    const { batch, height, width, channels } = output.shape;
    const lanes = 64;
    const vertical = axis(input.shape.height, height, attributes.alignCorners);
    const horizontal = axis(input.shape.width, width, attributes.alignCorners);
    const rowsRead = (rows: number): number => Math.ceil((rows * vertical.step) / vertical.parts) + 2;
    const lowerRow = (row: number): number => Math.min(Math.floor(Math.max(row * vertical.step + vertical.offset, 0) / vertical.parts), vertical.last);
    return rowBands(output, [{ view: input, rowsRead }], batch * height * width * channels * 9, traits).map((band) => {
      const bound = bandBinding(band, output, traits);
      const whole = band.rowCount === height;
      const first = whole ? 0 : lowerRow(band.firstRow);
      const end = whole ? input.shape.height : lowerRow(band.firstRow + band.rowCount - 1) + 2;
      const rows = band.batchCount * input.shape.height - (input.shape.height - (Math.min(end, input.shape.height) - first));
      const source = rowsBinding(input, band.firstBatch * input.shape.height + first, rows, traits);
      return {
        kernel,
        defines: { F16: output.storage.elementType === "f16" ? 1 : 0 },
        constants: { LANES: lanes },
        uniforms: {
          input: viewUniform(source),
          output: viewUniform(bound),
          input_height: input.shape.height,
          height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
          channels,
          vertical: { ...vertical },
          horizontal: { ...horizontal },
        },
        bindings: { input: source, output: bound },
        workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, band.batchCount],
        operations: band.batchCount * band.rowCount * width * channels * 9,
      };
    });
  },
};

/** Input position of output i: (i × step + offset) / parts. */
function axis(from: number, to: number, alignCorners: boolean): { step: number; offset: number; parts: number; last: number } {
  const last = from - 1;
  if (!alignCorners) return { step: 2 * from, offset: from - to, parts: 2 * to, last };
  return to === 1 ? { step: 0, offset: 0, parts: 1, last } : { step: last, offset: 0, parts: to - 1, last };
}
