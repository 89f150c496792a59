import type { Activation } from "../activation.ts";
import type { DeviceTraits } from "../../runtime/device.ts";
import type { UniformValues } from "../../runtime/shader.ts";
import { type Band, bandBinding, type BandedInput, type Binding, type RowsBinding, viewUniform, wholeBinding } from "../kernel.ts";
import { formatShape, type Shape, type TensorView } from "../tensor.ts";
import type { Weight } from "../weights.ts";

/** Matrices that differ from image to image, in f32. */
export interface ImageMatrices {
  readonly binding: Binding;
  /** Vectors between two of them. */
  readonly stride: number;
  readonly count: number;
}

/** A convolution whose matrix is a weight or was computed for each image. */
export interface Convolution {
  readonly input: TensorView;
  readonly output: TensorView;
  readonly kernelHeight: number;
  readonly kernelWidth: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  /** Each is input channels × vectors of output channels where there is one for each image. */
  readonly matrix: Weight | ImageMatrices;
  readonly bias: Binding;
  readonly residual?: TensorView | undefined;
  readonly activation?: Activation | undefined;
  readonly normalise?: { readonly epsilon: number } | undefined;
  readonly traits: DeviceTraits;
}

/** Whether a residual is one number a channel, the same for all pixels of all images. */
export const isVector = (residual: Shape, output: Shape): boolean => formatShape(residual) === formatShape({ ...output, batch: 1, height: 1, width: 1 });

/** What the residual adds to the operands of `rowBands`. */
export const residualRows = ({ residual, output }: Convolution): BandedInput[] =>
  residual && !isVector(residual.shape, output.shape) ? [{ view: residual, rowsRead: (rows) => rows }] : [];

/** The residual for a band, and its `View`; that of a vector is where all pixels lie at one place. */
export function residualBinding(band: Band, { residual, output, traits }: Convolution): { readonly binding: RowsBinding; readonly view: UniformValues } | undefined {
  if (!residual) return undefined;
  if (isVector(residual.shape, output.shape)) return { binding: wholeBinding(residual), view: { width: 0, first_row: 0, pixel_vectors: 0, first_vector: residual.firstVector } };
  const binding = bandBinding(band, residual, traits);
  return { binding, view: viewUniform(binding) };
}
