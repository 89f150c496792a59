import { bandBinding, defineKernel, type Operator, rowBands, shapeError, viewUniform } from "../kernel.ts";
import { type ElementType, type TensorView, vectors } from "../tensor.ts";
import code from "./convert.wgsl";

/** scale × x + offset, stored in an element type. */
export interface ConvertAttributes {
  readonly scale: number;
  readonly offset: number;
  readonly elementType: ElementType;
  /** Channels of the output: the input's, or any number where the input has one, which then stands for each. */
  readonly channels: number;
}

const kernel = defineKernel("convert", code);

export const convert: Operator<ConvertAttributes> = {
  name: "convert",

  outputShape(inputs, { channels }) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("convert", "expected one input", inputs);
    if (input.channels !== 1 && input.channels !== channels) return shapeError("convert", `cannot make ${channels} channels`, inputs);
    return { ...input, channels };
  },

  outputType: (_inputs, { elementType }) => elementType,

  dispatches({ inputs, output, attributes, traits }) {
    const [input] = inputs as [TensorView];
    const { batch, height, width, channels } = output.shape;
    const lanes = 64;
    const [inputF16, outputF16] = [input, output].map(({ storage }) => (storage.elementType === "f16" ? 1 : 0)) as [number, number];
    return rowBands(output, [{ view: input, rowsRead: (rows) => rows }], batch * height * width * channels * 2, traits).map((band) => {
      const bound = bandBinding(band, output, traits);
      const source = bandBinding(band, input, traits);
      return {
        kernel,
        defines: { F16: Math.max(inputF16, outputF16), INPUT_F16: inputF16, OUTPUT_F16: outputF16 },
        constants: { LANES: lanes },
        uniforms: {
          input: viewUniform(source),
          output: viewUniform(bound),
          height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
          channels,
          repeat: input.shape.channels === channels ? 0 : 1,
          scale: attributes.scale,
          offset: attributes.offset,
        },
        bindings: { input: source, output: bound },
        workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, band.batchCount],
        operations: band.batchCount * band.rowCount * width * channels * 2,
      };
    });
  },
};
