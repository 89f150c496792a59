import { type Activation, activationNumber, activationSlope } from "../activation.ts";
import { bandBinding, type BandedInput, type Binding, type Constant, type ConstantTarget, defineKernel, type Dispatch, gridOf, inputBinding, type Operator, rowBands, shapeError, viewUniform } from "../kernel.ts";
import { type ElementType, type TensorView, vectors } from "../tensor.ts";
import { packVector, UNIFORM_SIZES, type Weight, weightLength } from "../weights.ts";
import activationCode from "../common/activation.wgsl";
import weightsCode from "../conv2d/weights.wgsl";
import code from "./conv-transpose2d.wgsl";

/** Transposed convolution as `torch.nn.ConvTranspose2d`: each input pixel adds the kernel, times its value, to the output. */
export interface ConvTranspose2dAttributes {
  /** Input channels × output channels × kernel height × kernel width. */
  readonly weight: Weight;
  /** Output channels. */
  readonly bias?: Weight;
  readonly stride: number;
  /** Rows and columns cut from every side of the full result. */
  readonly padding: number;
  /** Rows and columns added at the bottom and on the right, fewer than the stride. */
  readonly outputPadding: number;
  readonly activation?: Activation;
}

const kernel = defineKernel("conv-transpose2d", activationCode, weightsCode, code);

export const convTranspose2d: Operator<ConvTranspose2dAttributes> = {
  name: "convTranspose2d",

  outputShape(inputs, { weight, bias, stride, padding, outputPadding }) {
    const [input] = inputs;
    const [channels = 0, outputs = 0, kernelHeight = 0, kernelWidth = 0] = weight.shape;
    if (!input || inputs.length !== 1) return shapeError("convTranspose2d", "expected one input", inputs);
    if (weight.shape.length !== 4 || input.channels !== channels) {
      return shapeError("convTranspose2d", `weight ${weight.name} is ${weight.shape.join("×")}`, inputs);
    }
    if (bias && weightLength(bias) !== outputs) return shapeError("convTranspose2d", `bias ${bias.name} has ${weightLength(bias)} values, not ${outputs}`, inputs);
    if (outputPadding >= stride) return shapeError("convTranspose2d", `output padding ${outputPadding} is not less than the stride ${stride}`, inputs);
    const size = (length: number, kernelSize: number): number => (length - 1) * stride - 2 * padding + kernelSize + outputPadding;
    const output = { batch: input.batch, height: size(input.height, kernelHeight), width: size(input.width, kernelWidth), channels: outputs };
    if (output.height < 1 || output.width < 1) return shapeError("convTranspose2d", `padding ${padding} leaves nothing of the result`, inputs);
    return output;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [input] = inputs as [TensorView];
    const { weight, bias, stride, padding, activation } = attributes;
    const [, , kernelHeight = 1, kernelWidth = 1] = weight.shape;
    const { batch, height, width, channels } = output.shape;
    const { elementType } = output.storage;
    const pixels = 4;
    const columns = vectors(channels) === 1 ? 1 : 2;
    const taps = Math.ceil(kernelWidth / stride);
    const lanes = 32;
    const matrix = bindWeights(weight, elementType);
    const operationsPerPixel = (2 * input.shape.channels * channels * kernelHeight * kernelWidth) / stride ** 2;
    const read: BandedInput = {
      view: input,
      rowsRead: (rows) => Math.floor((rows + kernelHeight - 2) / stride) + 1,
      firstRowRead: (row) => Math.ceil((row + padding - kernelHeight + 1) / stride),
    };
    return rowBands(output, [read], batch * height * width * operationsPerPixel, traits).map((band): Dispatch => {
      const bound = bandBinding(band, output, traits);
      const source = inputBinding(band, read, traits);
      return {
        kernel,
        defines: { F16: elementType === "f16" ? 1 : 0, PIXELS: pixels, COLUMNS: columns, TAPS: taps, SPAN: pixels + taps - 1, ...matrix.defines },
        constants: { LANES: lanes, ACTIVATION: activationNumber(activation) },
        uniforms: {
          input: viewUniform(source),
          output: viewUniform(bound),
          input_height: input.shape.height,
          output_height: height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
          row_count: band.rowCount,
          kernel_height: kernelHeight,
          kernel_width: kernelWidth,
          stride,
          padding,
          input_channels: input.shape.channels,
          output_channels: channels,
          slope: activationSlope(activation),
        },
        bindings: { input: source, weights: matrix.binding, bias: { constant: packVector(bias, channels) }, output: bound },
        workgroups: [
          ...gridOf(Math.ceil((Math.ceil(band.rowCount / stride) * Math.ceil(width / (pixels * stride))) / lanes), traits),
          band.batchCount * stride ** 2 * Math.ceil(vectors(channels) / columns),
        ],
        operations: band.batchCount * band.rowCount * width * operationsPerPixel,
      };
    });
  },
};

/** The weights, packed as conv2d's are, as a uniform buffer where they fit one. */
function bindWeights(weight: Weight, elementType: ElementType): { binding: Binding; defines: { UNIFORM_WEIGHTS: number; WEIGHT_VECTORS?: number } } {
  const [inputs = 0, outputs = 0, height = 1, width = 1] = weight.shape;
  const length = height * width * vectors(inputs) * 4 * vectors(outputs);
  const size = UNIFORM_SIZES.find((most) => most >= length);
  return size !== undefined
    ? { binding: { constant: packTransposed(weight, "f32", size) }, defines: { UNIFORM_WEIGHTS: 1, WEIGHT_VECTORS: size } }
    : { binding: { constant: packTransposed(weight, elementType, length) }, defines: { UNIFORM_WEIGHTS: 0 } };
}

/** [kernel row][kernel column][input channel][vector of output channels], both channel counts filled up with zeros. */
function packTransposed(weight: Weight, elementType: ElementType, length: number): Constant {
  const { name, shape } = weight;
  const [inputs = 0, outputs = 0, height = 1, width = 1] = shape;
  const columns = vectors(outputs) * 4;
  const rows = vectors(inputs) * 4;
  const taps = height * width;
  const pack = (target: ConstantTarget): void => {
    const { data } = weight;
    const transposed = new Float32Array(taps * columns);
    for (let i = 0; i < inputs; i++) {
      for (let o = 0; o < outputs; o++) {
        for (let tap = 0; tap < taps; tap++) transposed[tap * columns + o] = data[(i * outputs + o) * taps + tap] ?? 0;
      }
      for (let tap = 0; tap < taps; tap++) target.set(transposed.subarray(tap * columns, (tap + 1) * columns), (tap * rows + i) * columns);
    }
  };
  return { key: `transposed convolution ${name} ${elementType} ${length}`, elementType, length, pack };
}
