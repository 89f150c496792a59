import { bandBinding, type ConstantTarget, defineKernel, type Operator, rowBands, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import { formatShape, type TensorView, vectors } from "../tensor.ts";
import code from "./normal-noise.wgsl";

/**
 * Standard normal noise of one image, f32, equal to the bit to `normalNoise` in src/diffusion, which explains it. Seed and step come
 * in through a tensor 1 × 1 × 1 × 8 (`noiseSettings`), so that one plan serves all steps.
 */
export interface NormalNoiseAttributes {
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** Column and row of the first pixel in the picture. */
  readonly originX: number;
  readonly originY: number;
  /** What `normalQuantileTable` returns. */
  readonly quantiles: Uint32Array;
}

const kernel = defineKernel("normal-noise", code);

/**
 * The tensor that tells `normalNoise` its seed and step: whole numbers in 16 bits each, which f32 holds exactly.
 *
 * @param seed its low and its high 32 bits
 */
export const noiseSettings = ([low, high]: readonly [number, number], step: number): Float32Array =>
  Float32Array.of(low & 0xffff, low >>> 16, high & 0xffff, high >>> 16, step & 0xffff, step >>> 16, 0, 0);

export const normalNoise: Operator<NormalNoiseAttributes> = {
  name: "normalNoise",

  outputShape(inputs, { height, width, channels }) {
    const [settings] = inputs;
    if (!settings || inputs.length !== 1 || formatShape(settings) !== "1×1×1×8") return shapeError("normalNoise", "expected the settings", inputs);
    return { batch: 1, height, width, channels };
  },

  outputType: () => "f32",

  dispatches({ inputs, output, attributes, traits }) {
    const [settings] = inputs as [TensorView];
    const { height, width, channels } = output.shape;
    const lanes = 64;
    const operations = 60 * channels;
    const pack = (target: ConstantTarget): void => target.set(new Float32Array(attributes.quantiles));
    return rowBands(output, [], height * width * operations, traits).map((band) => {
      const bound = bandBinding(band, output, traits);
      return {
        kernel,
        defines: {},
        constants: { LANES: lanes },
        uniforms: {
          output: viewUniform(bound),
          first_row: band.firstRow,
          channels,
          origin_x: attributes.originX,
          origin_y: attributes.originY,
        },
        bindings: {
          settings: wholeBinding(settings),
          quantiles: { constant: { key: "normal quantiles", elementType: "f32", length: Math.ceil(attributes.quantiles.length / 4), pack } },
          output: bound,
        },
        workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, 1],
        operations: band.rowCount * width * operations,
      };
    });
  },
};
