import { SinterError } from "../errors.ts";
import type { DeviceTraits } from "../runtime/device.ts";
import { type Defines, preprocess, reflectShader, type ShaderInterface, type UniformValues } from "../runtime/shader.ts";
import { type ElementType, formatShape, rowBytes, type Shape, type TensorView, vectors } from "./tensor.ts";
import viewCode from "./common/view.wgsl";

/** A WGSL text before the `#if` step. */
export interface Kernel {
  readonly name: string;
  readonly code: string;
}

/** Joins a kernel's own file with the shared ones it uses; `common/view.wgsl` always comes first. */
export const defineKernel = (name: string, ...parts: readonly string[]): Kernel => ({ name, code: [viewCode, ...parts].join("\n") });

/** The kernel with WGSL extensions, which must be enabled before everything else. */
export const enabling = (extensions: readonly string[], { name, code }: Kernel): Kernel => ({
  name,
  code: [...extensions.map((extension) => `enable ${extension};`), code].join("\n"),
});

/**
 * Where the numbers of a constant go: memory that the GPU reads them from, as f32 or rounded to f16, and zero where nothing is set. A
 * Float32Array will do.
 */
export interface ConstantTarget {
  /** @param offset of the first value, 0 by default */
  set(values: Float32Array, offset?: number): void;
}

/** Read-only numbers an operator derives from the weights. */
export interface Constant {
  /** Equal keys hold equal numbers, so that a weight used twice is packed and uploaded once. */
  readonly key: string;
  readonly elementType: ElementType;
  /** Vectors of four values. */
  readonly length: number;
  /** Makes them, whenever they are uploaded to a device; nothing is kept of them. */
  readonly pack: (target: ConstantTarget) => void;
}

/** Rows of a tensor, counted through the batch. */
export interface RowsBinding {
  readonly view: TensorView;
  readonly firstRow: number;
  readonly rowCount: number;
}

/** What a dispatch binds. */
export type Binding = RowsBinding | { readonly constant: Constant };

/** One launch of one kernel variant. */
export interface Dispatch {
  readonly kernel: Kernel;
  readonly defines: Defines;
  /** Values of the kernel's `override` constants. */
  readonly constants: Readonly<Record<string, number>>;
  readonly uniforms: UniformValues;
  /** By the name of the WGSL variable. */
  readonly bindings: Readonly<Record<string, Binding>>;
  readonly workgroups: readonly [number, number, number];
  /** Floating-point operations it needs, a multiply-add counted as two: for the benchmark and for banding. */
  readonly operations: number;
}

/** What an operator is given to make its dispatches. */
export interface OperatorJob<Attributes> {
  readonly inputs: readonly TensorView[];
  readonly output: TensorView;
  readonly attributes: Attributes;
  readonly traits: DeviceTraits;
  /** One of the operator's `variants`; empty where it has one way only. */
  readonly variant: string;
  /** Memory for partial results that lives as long as this operator runs; f32. */
  scratch(name: string, shape: Shape): TensorView;
}

/** What the choice of a variant may depend on. */
export type VariantJob<Attributes> = Pick<OperatorJob<Attributes>, "inputs" | "output" | "attributes" | "traits">;

/** One kind of graph node. An operator's file holds, in this order: attributes, output shape and checks, variant choice, dispatches. */
export interface Operator<Attributes> {
  readonly name: string;
  /** @throws SinterError `SHAPE` naming the operator and the shapes. */
  outputShape(inputs: readonly Shape[], attributes: Attributes): Shape;
  /** Element type of the output; the default is that of the first input. */
  outputType?(inputs: readonly ElementType[], attributes: Attributes): ElementType;
  /** Names of the ways to do a job that its shapes and the device allow, the default of the device's class first. */
  variants?(job: VariantJob<Attributes>): readonly string[];
  dispatches(job: OperatorJob<Attributes>): Dispatch[];
}

export function shapeError(operator: string, message: string, inputs: readonly Shape[]): never {
  throw new SinterError("SHAPE", `${operator}: ${message}; inputs: ${inputs.map(formatShape).join(", ")}`, { where: operator });
}

const variants = new Map<string, { code: string; shader: ShaderInterface }>();

/** The text of a variant after the `#if` step and what it declares; each is made once. */
export function kernelVariant(kernel: Kernel, defines: Defines): { readonly code: string; readonly shader: ShaderInterface } {
  const key = `${kernel.name} ${JSON.stringify(defines)}`;
  let variant = variants.get(key);
  if (!variant) {
    const code = preprocess(kernel.code, defines, kernel.name);
    variant = { code, shader: reflectShader(code, kernel.name) };
    variants.set(key, variant);
  }
  return variant;
}

/** All rows of a tensor. */
export const wholeBinding = (view: TensorView): RowsBinding => ({ view, firstRow: 0, rowCount: view.shape.batch * view.shape.height });

/**
 * Rows `first` to `first + count` (through the batch) as a binding: its start is moved up to a row whose offset the
 * device can bind, its end is kept within the tensor.
 */
export function rowsBinding(view: TensorView, first: number, count: number, traits: DeviceTraits): RowsBinding {
  const aligned = alignedRows(view, traits.bindingAlignment);
  const firstRow = Math.floor(Math.max(first, 0) / aligned) * aligned;
  const end = Math.min(first + count, view.shape.batch * view.shape.height);
  return { view, firstRow, rowCount: end - firstRow };
}

/** How many rows lie between two rows whose byte offsets are multiples of the alignment. */
function alignedRows(view: TensorView, alignment: number): number {
  let [a, b] = [alignment, rowBytes(view)];
  while (b !== 0) [a, b] = [b, a % b];
  return alignment / a;
}

/** The `View` uniform of common/view.wgsl for a bound range of rows. */
export function viewUniform(binding: RowsBinding): UniformValues {
  const { storage, firstVector } = binding.view;
  return {
    width: storage.shape.width,
    first_row: binding.firstRow,
    pixel_vectors: vectors(storage.shape.channels),
    first_vector: firstVector,
  };
}

/** Rows of one image (`batchCount` 1), or all rows of the whole batch. */
export interface Band {
  readonly firstBatch: number;
  readonly batchCount: number;
  readonly firstRow: number;
  readonly rowCount: number;
}

/** An input of a banded operator. */
export interface BandedInput {
  readonly view: TensorView;
  /** The most rows that a band of `rows` output rows reads. */
  readonly rowsRead: (rows: number) => number;
  /** First row that a band reads whose first row is `row`; it may lie outside the input. The default is `row`. */
  readonly firstRowRead?: (row: number) => number;
}

/** A desktop driver resets the GPU after a second or two; a slow integrated GPU does about this much in 200 ms. */
const MAX_OPERATIONS_PER_DISPATCH = 20e9;

/**
 * Splits the rows of an operator's output so that no binding passes the device's limit and no dispatch runs for long.
 * The rows of a band start at a multiple of `step`.
 *
 * @throws SinterError `TOO_WIDE` when even `step` rows do not fit.
 */
export function rowBands(
  output: TensorView,
  inputs: readonly BandedInput[],
  operations: number,
  traits: DeviceTraits,
  step = 1,
): Band[] {
  const { batch, height } = output.shape;
  const limit = traits.maxStorageBufferBindingSize;
  const operands = [{ view: output, rowsRead: (rows: number) => rows }, ...inputs];
  const canBind = (rows: number): boolean =>
    operands.every(({ view, rowsRead }) => {
      const whole = view.shape.batch * view.shape.height;
      const slack = alignedRows(view, traits.bindingAlignment) - 1;
      return (rows === batch * height ? whole : Math.min(whole, rowsRead(rows) + slack)) * rowBytes(view) <= limit;
    });
  const fits = (rows: number): boolean => (operations / (batch * height)) * rows <= MAX_OPERATIONS_PER_DISPATCH && canBind(rows);
  if (fits(batch * height)) return bandsOf(output.shape, batch * height);
  let rows = Math.max(1, Math.ceil(height / step)) * step;
  while (rows > step && !fits(rows)) rows = Math.ceil(rows / 2 / step) * step;
  if (!canBind(rows)) {
    throw new SinterError(
      "TOO_WIDE",
      `${rows} rows of ${formatShape(output.shape)} need a binding over the device's limit of ${limit} bytes`,
      { fix: "Fuse a narrower picture, or use a device with a larger maxStorageBufferBindingSize." },
    );
  }
  return bandsOf(output.shape, rows);
}

/** Bands of so many rows of each image, or one band of all images where that is all their rows. */
export function bandsOf({ batch, height }: Shape, rows: number): Band[] {
  if (rows >= batch * height) return [{ firstBatch: 0, batchCount: batch, firstRow: 0, rowCount: height }];
  const bands: Band[] = [];
  for (let firstBatch = 0; firstBatch < batch; firstBatch++) {
    for (let firstRow = 0; firstRow < height; firstRow += rows) {
      bands.push({ firstBatch, batchCount: 1, firstRow, rowCount: Math.min(rows, height - firstRow) });
    }
  }
  return bands;
}

const sameRows = (view: TensorView): BandedInput => ({ view, rowsRead: (rows) => rows });

/** The rows of a band as a binding, for an operand with the output's height. */
export const bandBinding = (band: Band, view: TensorView, traits: DeviceTraits): RowsBinding =>
  inputBinding(band, sameRows(view), traits);

/** The input rows that a band of output rows reads. */
export function inputBinding(band: Band, { view, rowsRead, firstRowRead = (row) => row }: BandedInput, traits: DeviceTraits): RowsBinding {
  const { height } = view.shape;
  if (band.batchCount > 1) return rowsBinding(view, band.firstBatch * height, band.batchCount * height, traits);
  const firstRow = firstRowRead(band.firstRow);
  // A band that lies wholly in the padding reads no row, but a binding cannot be empty.
  const first = Math.min(height - 1, Math.max(0, firstRow));
  const end = Math.min(height, firstRow + rowsRead(band.rowCount));
  return rowsBinding(view, band.firstBatch * height + first, Math.max(1, end - first), traits);
}

/** The input rows that a band of output rows reads, `padding` rows above it included. */
export function haloBinding(
  band: Band,
  view: TensorView,
  stride: number,
  padding: number,
  rowsRead: number,
  traits: DeviceTraits,
): RowsBinding {
  return inputBinding(band, { view, rowsRead: () => rowsRead, firstRowRead: (row) => row * stride - padding }, traits);
}

/** A kernel each of whose threads makes a part of one output pixel: workgroup x counts threads along a row, y rows, z images. */
export interface PerPixelJob {
  readonly kernel: Kernel;
  /** Beside `F16`, which is 1 where the output is f16 unless it is given. */
  readonly defines?: Defines;
  /** Beside `LANES`. */
  readonly constants?: Readonly<Record<string, number>>;
  /** Tensors read in bands, by the name of the WGSL variable and of its `View`; a mere tensor is read at the output's own rows. */
  readonly inputs: Readonly<Record<string, TensorView | BandedInput | undefined>>;
  readonly output: TensorView;
  /** Beside a `View` for each input and for `output`, and `height`, `first_batch` and `first_row` of the output. */
  readonly uniforms?: UniformValues;
  /** What every band binds whole. */
  readonly bindings?: Readonly<Record<string, Binding>>;
  readonly operationsPerPixel: number;
  /** The default is one for each vector of four channels. */
  readonly threadsPerPixel?: number;
  readonly traits: DeviceTraits;
}

/** The dispatches of such a kernel, one a band. */
export function perPixelDispatches(job: PerPixelJob): Dispatch[] {
  const { kernel, defines, constants, output, uniforms, bindings, operationsPerPixel, traits } = job;
  const { batch, height, width, channels } = output.shape;
  const { threadsPerPixel = vectors(channels) } = job;
  const lanes = 64;
  const inputs = Object.entries(job.inputs).flatMap(([name, input]): [string, BandedInput][] => (input ? [[name, "view" in input ? input : sameRows(input)]] : []));
  return rowBands(output, inputs.map(([, input]) => input), batch * height * width * operationsPerPixel, traits).map((band): Dispatch => {
    const sources = Object.fromEntries(inputs.map(([name, input]) => [name, inputBinding(band, input, traits)]));
    const bound = { ...sources, output: bandBinding(band, output, traits) };
    const views = Object.fromEntries(Object.entries(bound).map(([name, binding]) => [name, viewUniform(binding)]));
    return {
      kernel,
      defines: { F16: output.storage.elementType === "f16" ? 1 : 0, ...defines },
      constants: { LANES: lanes, ...constants },
      uniforms: { ...views, height, first_batch: band.firstBatch, first_row: band.firstRow, ...uniforms },
      bindings: { ...bound, ...bindings },
      workgroups: [Math.ceil((width * threadsPerPixel) / lanes), band.rowCount, band.batchCount],
      operations: band.batchCount * band.rowCount * width * operationsPerPixel,
    };
  });
}

const CHUNK_PIXELS = 8192;
/** Threads of a workgroup that reduces a chunk. */
const CHUNK_LANES = 64;

/** Chunks of a picture: the rows of each, and how many there are. */
export interface Chunks {
  readonly rows: number;
  readonly count: number;
}

/** A reduction works on fixed chunks of rows and merges them in row order, so that its result does not depend on bands. */
export function chunksOf({ height, width }: Shape, pixels = CHUNK_PIXELS): Chunks {
  const rows = Math.max(1, Math.floor(pixels / width));
  return { rows, count: Math.ceil(height / rows) };
}

/** The first pass of a reduction: workgroup x counts chunks, z images. */
export interface ChunkJob {
  readonly kernel: Kernel;
  /** Beside `LANES`. */
  readonly constants?: Readonly<Record<string, number>>;
  readonly input: TensorView;
  readonly partialResults: TensorView;
  /** The default is `chunksOf` the input. */
  readonly chunks?: Chunks;
  /** Beside the `View` of `input`, `height`, `chunk_rows`, `first_batch`, `first_chunk` and `chunks`. */
  readonly uniforms?: UniformValues;
  /** Workgroups y; the default is 1. */
  readonly groups?: number;
  readonly operationsPerPixel: number;
  readonly traits: DeviceTraits;
}

/** The dispatches of such a kernel, one a band. */
export function chunkDispatches(job: ChunkJob): Dispatch[] {
  const { kernel, constants, input, partialResults, uniforms, groups = 1, operationsPerPixel, traits } = job;
  const { batch, height, width } = input.shape;
  const { chunks = chunksOf(input.shape) } = job;
  return rowBands(input, [], batch * height * width * operationsPerPixel, traits, chunks.rows).map((band): Dispatch => {
    const source = bandBinding(band, input, traits);
    return {
      kernel,
      defines: { F16: input.storage.elementType === "f16" ? 1 : 0 },
      constants: { LANES: CHUNK_LANES, ...constants },
      uniforms: {
        input: viewUniform(source),
        height,
        chunk_rows: chunks.rows,
        first_batch: band.firstBatch,
        first_chunk: band.firstRow / chunks.rows,
        chunks: chunks.count,
        ...uniforms,
      },
      bindings: { input: source, partial_results: wholeBinding(partialResults) },
      workgroups: [Math.ceil(band.rowCount / chunks.rows), groups, band.batchCount],
      operations: band.batchCount * band.rowCount * width * operationsPerPixel,
    };
  });
}

/** Vectors of a pixel that neighbouring lanes read together. */
const MAX_VECTOR_LANES = 16;

/** What a kernel with common/channel-chunk.wgsl needs beside. */
export function channelChunks(channels: number): Pick<ChunkJob, "uniforms" | "groups"> {
  const vectorLanes = Math.min(MAX_VECTOR_LANES, 2 ** Math.ceil(Math.log2(vectors(channels))));
  return { uniforms: { channel_vectors: vectors(channels), vector_lanes: vectorLanes, pixel_lanes: CHUNK_LANES / vectorLanes }, groups: Math.ceil(vectors(channels) / vectorLanes) };
}

/** So many workgroups as a grid: a device takes only 65535 along one dimension. The kernel counts them as y × width + x. */
export function gridOf(count: number, { maxComputeWorkgroupsPerDimension }: DeviceTraits): readonly [number, number] {
  const width = Math.min(count, maxComputeWorkgroupsPerDimension);
  return [width, Math.ceil(count / width)];
}
