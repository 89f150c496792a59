import { at, elementCount } from "./tensor.ts";
import type { ReferenceTensor } from "./tensor.ts";

/**
 * RGB to YCrCb (channels Y, Cr, Cb) with the coefficients of OpenCV's floating-point conversion.
 * @param delta chroma of grey: 0.5 for values in 0–1, 128 for 0–255
 */
export function rgbToYcrcb(input: ReferenceTensor, delta = 0.5): ReferenceTensor {
  return mapTriples(input, (red, green, blue) => {
    const luma = 0.299 * red + 0.587 * green + 0.114 * blue;
    return [luma, (red - luma) * 0.713 + delta, (blue - luma) * 0.564 + delta];
  });
}

/**
 * YCrCb (channels Y, Cr, Cb) to RGB with the coefficients of OpenCV, which undo {@link rgbToYcrcb} to three digits only.
 * @param delta chroma of grey: 0.5 for values in 0–1, 128 for 0–255
 */
export function ycrcbToRgb(input: ReferenceTensor, delta = 0.5): ReferenceTensor {
  return mapTriples(input, (luma, cr, cb) => [
    luma + 1.403 * (cr - delta),
    luma - 0.714 * (cr - delta) - 0.344 * (cb - delta),
    luma + 1.773 * (cb - delta),
  ]);
}

function mapTriples(
  input: ReferenceTensor,
  transform: (first: number, second: number, third: number) => readonly [number, number, number],
): ReferenceTensor {
  if (input.shape[3] !== 3) {
    throw new RangeError(`Colour has 3 channels, found ${input.shape[3]}.`);
  }
  const data = new Float64Array(elementCount(input.shape));
  for (let index = 0; index < data.length; index += 3) {
    data.set(transform(at(input.data, index), at(input.data, index + 1), at(input.data, index + 2)), index);
  }
  return { shape: input.shape, data };
}
