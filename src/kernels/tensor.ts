/** Sizes of a tensor, outermost first. A vector of n numbers is 1 × 1 × 1 × n. */
export interface Shape {
  readonly batch: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

/** What is stored; arithmetic is in f32 either way. */
export type ElementType = "f32" | "f16";

export const elementBytes = (type: ElementType): number => (type === "f16" ? 2 : 4);

/** Channels are stored in vectors of four, the last one filled up with zeros. */
export const vectors = (channels: number): number => Math.ceil(channels / 4);

export const formatShape = ({ batch, height, width, channels }: Shape): string => `${batch}×${height}×${width}×${channels}`;

/** Memory that one operator writes and others read: [batch][row][column][vector of 4 channels]. */
export interface Storage {
  readonly name: string;
  readonly shape: Shape;
  readonly elementType: ElementType;
}

export const storageBytes = ({ shape, elementType }: Storage): number =>
  shape.batch * shape.height * shape.width * vectors(shape.channels) * 4 * elementBytes(elementType);

/**
 * A tensor as a kernel sees it: all of a storage, or a slice of its channels that starts at a multiple of four.
 * Rows are counted through the batch: row y of image b is row b × height + y.
 */
export interface TensorView {
  readonly storage: Storage;
  readonly shape: Shape;
  /** First vector of the slice within a pixel. */
  readonly firstVector: number;
}

export const wholeView = (storage: Storage): TensorView => ({ storage, shape: storage.shape, firstVector: 0 });

export const rowBytes = ({ storage }: TensorView): number =>
  storage.shape.width * vectors(storage.shape.channels) * 4 * elementBytes(storage.elementType);
