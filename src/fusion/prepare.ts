import { SinterError } from "../errors.ts";
import type { Picture } from "./picture.ts";

/** Two pictures of one scene; which is first depends on the task (see `TASKS`). */
export interface Pair {
  readonly first: Picture;
  readonly second: Picture;
}

/** A picture as the GPU takes it. */
export interface PreparedPicture {
  /** Whether its channels differ anywhere; a grey picture keeps one channel. */
  readonly coloured: boolean;
  /** Height × width × (3 if coloured, else 1), from 0 to the `scale` asked for. */
  readonly data: Float32Array;
}

/** The largest value of a picture's numbers: 255, 65535 or 1. */
export function whiteLevel({ data }: Picture): number {
  if (data instanceof Uint8Array) return 255;
  return data instanceof Uint16Array ? 65535 : 1;
}

/** @throws SinterError `SIZE_MISMATCH`, `EMPTY_PICTURE` */
export function checkPair({ first, second }: Pair): void {
  if (first.width !== second.width || first.height !== second.height) {
    throw new SinterError(
      "SIZE_MISMATCH",
      `The pictures must have the same size: the first is ${first.width}×${first.height}, the second ${second.width}×${second.height}.`,
      { fix: "Register the pictures to each other and crop them to their common part." },
    );
  }
  for (const { width, height, channels, data } of [first, second]) {
    if (width < 1 || height < 1 || data.length !== width * height * channels) {
      throw new SinterError("EMPTY_PICTURE", `A ${width}×${height} picture of ${channels} channels needs ${width * height * channels} values; found ${data.length}.`);
    }
  }
}

/** Scales to 0..scale and drops two of three channels where all three are equal everywhere (the grey test of ReFusion's test.py). */
export function preparePicture(picture: Picture, scale: number): PreparedPicture {
  const { channels, data } = picture;
  const factor = scale / whiteLevel(picture);
  const coloured = isColoured(picture);
  const step = channels === 3 && !coloured ? 3 : 1;
  const values = new Float32Array(data.length / step);
  // A factor of exactly 1 keeps 8-bit numbers as they are; otherwise one rounding to f32.
  for (let i = 0; i < values.length; i++) values[i] = (data[i * step] ?? 0) * factor;
  return { coloured, data: values };
}

/** Whether the channels differ anywhere. */
export function isColoured({ channels, data }: Picture): boolean {
  if (channels === 1) return false;
  for (let i = 0; i < data.length; i += 3) {
    if (data[i] !== data[i + 1] || data[i + 1] !== data[i + 2]) return true;
  }
  return false;
}
