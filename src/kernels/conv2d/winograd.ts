import { activationNumber, activationSlope } from "../activation.ts";
import { type Band, bandBinding, bandsOf, type Constant, type ConstantTarget, defineKernel, type Dispatch, gridOf, haloBinding, type OperatorJob, viewUniform, wholeBinding } from "../kernel.ts";
import { type TensorView, vectors } from "../tensor.ts";
import { packVector, type Weight } from "../weights.ts";
import { type Convolution, residualBinding } from "./convolution.ts";
import activationCode from "../common/activation.wgsl";
import inputCode from "./winograd-input.wgsl";
import outputCode from "./winograd-output.wgsl";

/*
 * Winograd convolution F(4×4, 3×3) (Lavin and Gray 2016): a tile of 4×4 outputs from 6×6 inputs by 36 products instead of 144,
 *
 *     Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A
 *
 * summed over input channels before Aᵀ · A, so that each of the 36 positions is a 1×1 convolution of all tiles with a matrix of its own. The
 * interpolation points 0, ±√½, ±√2 and infinity keep the error below twice that of a direct sum in f32; 0, ±1, ±2 have six times of it.
 */

export const WINOGRAD = "winograd";

/** Output pixels of a tile along an axis. */
const TILE = 4;
/** Input pixels of a tile along an axis, and of values that stand for it. */
const SPAN = TILE + 2;
const POSITIONS = SPAN * SPAN;
const LANES = 64;

/** Bytes of transformed tiles and their products that are in memory at a time: few enough to stay in a GPU's last cache, enough to fill it. */
const STRIP_BYTES = 32 << 20;

/** Below this many channels the transforms take longer than the products that they save. */
const MIN_CHANNELS = 16;

const inputKernel = defineKernel("conv2d/winograd-input", inputCode);
const outputKernel = defineKernel("conv2d/winograd-output", activationCode, outputCode);

/**
 * Whether a convolution can be done so, and with gain: 3×3, neither strided nor dilated, with so many pixels that the transformed weights, four
 * times as large, are not what is read most. In f32 alone: who asks for f16 wants small weights, and has matrix units.
 */
export function allowsWinograd({ input, output, matrix, kernelHeight, kernelWidth, stride, dilation, normalise, traits }: Convolution): boolean {
  if ("binding" in matrix || normalise || output.storage.elementType !== "f32") return false;
  if (kernelHeight !== 3 || kernelWidth !== 3 || stride !== 1 || dilation !== 1) return false;
  const { batch, height, width, channels } = output.shape;
  const inputs = input.shape.channels;
  if (Math.min(inputs, channels) < MIN_CHANNELS || POSITIONS * inputs * channels > 2 * batch * height * width * (inputs + channels)) return false;
  return tileBytes(Math.max(inputs, channels)) * Math.ceil(width / TILE) <= traits.maxStorageBufferBindingSize;
}

/** Bytes of a tile's positions. */
const tileBytes = (channels: number): number => POSITIONS * vectors(channels) * 16;

/** G of F(4×4, 3×3), row by row: row i is (1, p, p²) over the product of p's distances to the other points, the last one (0, 0, 1). */
const WEIGHT_TRANSFORM = ((): Float64Array => {
  const points = [0, Math.SQRT1_2, -Math.SQRT1_2, Math.SQRT2, -Math.SQRT2];
  const rows = points.map((p, i) => {
    const distances = points.reduce((product, q, j) => (i === j ? product : product * (p - q)), 1);
    return [1 / distances, p / distances, (p * p) / distances];
  });
  return Float64Array.from([...rows.flat(), 0, 0, 1]);
})();

/** Row i of G times three numbers. */
function weightTransform(values: Float32Array | Float64Array, first: number, i: number): number {
  const g = WEIGHT_TRANSFORM;
  const k = i * 3;
  return (values[first] ?? 0) * (g[k] ?? 0) + (values[first + 1] ?? 0) * (g[k + 1] ?? 0) + (values[first + 2] ?? 0) * (g[k + 2] ?? 0);
}

/** G g Gᵀ in float64, rounded once: [position, column by column][input channel][vector of output channels], channel counts filled up with zeros. */
function packTransformed(weight: Weight): Constant {
  const [outputs = 0, inputs = 0] = weight.shape;
  const columns = vectors(outputs) * 4;
  const matrix = vectors(inputs) * 4 * columns;
  const pack = (target: ConstantTarget): void => {
    const { data } = weight;
    // A stride that is no power of two, or rows would push each other out of the cache.
    const stride = columns + 16;
    const packed = new Float32Array(POSITIONS * stride);
    const half = new Float64Array(SPAN * 3);
    for (let i = 0; i < inputs; i++) {
      for (let o = 0; o < outputs; o++) {
        const first = (o * inputs + i) * 9;
        for (let x = 0; x < SPAN; x++) {
          for (let row = 0; row < 3; row++) half[x * 3 + row] = weightTransform(data, first + row * 3, x);
        }
        for (let x = 0; x < SPAN; x++) {
          for (let y = 0; y < SPAN; y++) packed[(x * SPAN + y) * stride + o] = weightTransform(half, x * 3, y);
        }
      }
      for (let position = 0; position < POSITIONS; position++) target.set(packed.subarray(position * stride, position * stride + columns), position * matrix + i * columns);
    }
  };
  return { key: `winograd ${weight.name}`, elementType: "f32", length: (POSITIONS * matrix) / 4, pack };
}

/** Whole images or rows of one, so that the tiles of a strip fit `STRIP_BYTES` and can be bound. */
function stripsOf({ input, output, traits }: Convolution): Band[] {
  const { batch, height, width, channels } = output.shape;
  const inputs = input.shape.channels;
  const tiles = Math.min(STRIP_BYTES / (tileBytes(inputs) + tileBytes(channels)), traits.maxStorageBufferBindingSize / tileBytes(Math.max(inputs, channels)));
  const rows = Math.max(1, Math.floor(tiles / Math.ceil(width / TILE)));
  const tileRows = Math.ceil(height / TILE);
  if (batch * tileRows <= rows) return bandsOf(output.shape, batch * height);
  // Of about the same height, since the products of the highest are computed for each.
  const strips = Math.ceil(tileRows / rows);
  return bandsOf(output.shape, Math.ceil(tileRows / strips) * TILE);
}

/**
 * The dispatches of a convolution for which `allowsWinograd`: three a strip.
 *
 * @param weight the convolution's
 * @param product makes the dispatches of a 1×1 convolution
 */
export function convolveByWinograd(
  convolution: Convolution,
  weight: Weight,
  scratch: OperatorJob<unknown>["scratch"],
  product: (convolution: Convolution) => Dispatch[],
): Dispatch[] {
  const { input, output, padding, activation, traits, bias } = convolution;
  const { height, width, channels } = output.shape;
  const inputs = input.shape.channels;
  const tileColumns = Math.ceil(width / TILE);
  const unrolled = traits.deviceClass === "software" ? 0 : 1;
  const strips = stripsOf(convolution);
  const tilesOf = ({ batchCount, rowCount }: Band): number => batchCount * Math.ceil(rowCount / TILE) * tileColumns;
  const mostTiles = Math.max(...strips.map(tilesOf));
  const transformed = scratch("transformed tiles", { batch: POSITIONS, height: 1, width: mostTiles, channels: inputs });
  const products = scratch("products", { batch: POSITIONS, height: 1, width: mostTiles, channels });
  const multiply = product({
    input: transformed,
    output: products,
    kernelHeight: 1,
    kernelWidth: 1,
    stride: 1,
    padding: 0,
    dilation: 1,
    matrix: { binding: { constant: packTransformed(weight) }, stride: vectors(inputs) * 4 * vectors(channels), count: POSITIONS },
    bias: { constant: packVector(undefined, channels) },
    traits,
  });
  return strips.flatMap((strip): Dispatch[] => {
    const source = haloBinding(strip, input, 1, padding, strip.rowCount + 2, traits);
    const bound = bandBinding(strip, output, traits);
    const added = residualBinding(strip, convolution);
    const tiles = tilesOf(strip);
    const place = { first_batch: strip.firstBatch, first_row: strip.firstRow, tile_rows: Math.ceil(strip.rowCount / TILE), tile_columns: tileColumns, tiles, position_tiles: mostTiles };
    const transform = (kernel: typeof inputKernel, view: TensorView, operations: number): Pick<Dispatch, "kernel" | "workgroups" | "operations"> => ({
      kernel,
      workgroups: [...gridOf(Math.ceil((tiles * vectors(view.shape.channels)) / LANES), traits), 1],
      operations: tiles * view.shape.channels * operations,
    });
    return [
      {
        ...transform(inputKernel, input, 2 * SPAN * 14),
        defines: { UNROLLED: unrolled },
        constants: { LANES },
        uniforms: { input: viewUniform(source), input_height: input.shape.height, input_channels: inputs, padding, span: SPAN, ...place },
        bindings: { input: source, transformed: wholeBinding(transformed) },
      },
      ...multiply,
      {
        ...transform(outputKernel, output, (SPAN + TILE) * 14),
        defines: { RESIDUAL: added ? 1 : 0, UNROLLED: unrolled },
        constants: { LANES, ACTIVATION: activationNumber(activation) },
        uniforms: { residual: added?.view ?? viewUniform(bound), output: viewUniform(bound), output_height: height, output_channels: channels, slope: activationSlope(activation), span: SPAN, output_span: TILE, ...place },
        bindings: { products: wholeBinding(products), bias, output: bound, ...(added && { residual: added.binding }) },
      },
    ];
  });
}
