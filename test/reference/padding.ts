import { buildTensor, valueAt } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/** Rows and columns to add on each side. */
export interface Margins {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

/** Adds zeros. */
export function padZero(input: ReferenceTensor, margins: Margins): ReferenceTensor {
  const [, height, width] = input.shape;
  return buildTensor(paddedShape(input, margins), (batch, row, column, channel) => {
    const inputRow = row - margins.top;
    const inputColumn = column - margins.left;
    const inside = inputRow >= 0 && inputRow < height && inputColumn >= 0 && inputColumn < width;
    return inside ? valueAt(input, batch, inputRow, inputColumn, channel) : 0;
  });
}

/** Mirrors about the border pixel, which is not repeated. @throws RangeError for a margin that is not less than the side. */
export function padReflect(input: ReferenceTensor, margins: Margins): ReferenceTensor {
  const [, height, width] = input.shape;
  const { top, bottom, left, right } = margins;
  if (Math.max(top, bottom) >= height || Math.max(left, right) >= width) {
    throw new RangeError(`Margins ${top}, ${bottom}, ${left}, ${right} cannot be reflected in ${height}×${width} pixels.`);
  }
  return buildTensor(paddedShape(input, margins), (batch, row, column, channel) =>
    valueAt(input, batch, reflect(row - top, height), reflect(column - left, width), channel),
  );
}

function paddedShape(input: ReferenceTensor, { top, bottom, left, right }: Margins) {
  const [batches, height, width, channels] = input.shape;
  return [batches, height + top + bottom, width + left + right, channels] as const;
}

function reflect(index: number, size: number): number {
  const fromStart = Math.abs(index);
  return fromStart < size ? fromStart : 2 * (size - 1) - fromStart;
}
