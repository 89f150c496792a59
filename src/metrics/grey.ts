import type { Picture } from "../fusion/picture.ts";
import type { Plane } from "./plane.ts";

/** How a toolkit turns 8-bit red, green and blue into one 8-bit grey level. */
export type GreyRule =
  | "MATLAB rgb2gray: .2989360213 .5870430745 .1140209043, rounded"
  | "OpenCV BGR2GRAY in float32: .299 .587 .114, rounded half to even"
  | "Pillow convert('L'): (19595 R + 38470 G + 7471 B + 32768) / 65536, rounded down";

/** The 8-bit level of a picture's value: 16-bit values divided by 257, float values times 255, both rounded. */
function toByte(picture: Picture): (value: number) => number {
  if (picture.data instanceof Uint8Array) return (value) => value;
  if (picture.data instanceof Uint16Array) return (value) => Math.round(value / 257);
  return (value) => Math.round(Math.min(Math.max(value, 0), 1) * 255);
}

function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

/** First row of the inverse of the YIQ matrix, as rgb2gray uses it. */
const MATLAB_WEIGHTS = [0.298936021293775, 0.587043074451121, 0.114020904255103] as const;
const [RED_32, GREEN_32, BLUE_32] = [Math.fround(0.299), Math.fround(0.587), Math.fround(0.114)];

function greyLevel(rule: GreyRule, red: number, green: number, blue: number): number {
  switch (rule) {
    case "MATLAB rgb2gray: .2989360213 .5870430745 .1140209043, rounded":
      return Math.round(MATLAB_WEIGHTS[0] * red + MATLAB_WEIGHTS[1] * green + MATLAB_WEIGHTS[2] * blue);
    case "OpenCV BGR2GRAY in float32: .299 .587 .114, rounded half to even": {
      // OpenCV's vector code multiplies blue first and fuses the two other products into sums of one rounding each.
      const withGreen = Math.fround(GREEN_32 * green + Math.fround(BLUE_32 * blue));
      return roundHalfToEven(Math.fround(RED_32 * red + withGreen));
    }
    case "Pillow convert('L'): (19595 R + 38470 G + 7471 B + 32768) / 65536, rounded down":
      return (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16;
  }
}

/** A picture as one plane of 8-bit grey levels (whole numbers, 0–255). */
export function toGrey(picture: Picture, rule: GreyRule): Plane {
  if (picture.channels === 1) return channel(picture, 0);
  const { width, height } = picture;
  const data = new Float64Array(width * height);
  const [red, green, blue] = [channel(picture, 0), channel(picture, 1), channel(picture, 2)];
  for (let i = 0; i < data.length; i++) {
    data[i] = greyLevel(rule, red.data[i] as number, green.data[i] as number, blue.data[i] as number);
  }
  return { width, height, data };
}

/** One channel of a picture as 8-bit levels (whole numbers, 0–255); a grey picture has the same for all three. */
export function channel(picture: Picture, index: 0 | 1 | 2): Plane {
  const { width, height, channels } = picture;
  const byte = toByte(picture);
  const data = new Float64Array(width * height);
  const offset = channels === 1 ? 0 : index;
  for (let i = 0; i < data.length; i++) data[i] = byte(picture.data[i * channels + offset] as number);
  return { width, height, data };
}

/** Whether a three-channel picture has a pixel whose channels differ. */
export function hasColour(picture: Picture): boolean {
  if (picture.channels === 1) return false;
  for (let i = 0; i < picture.data.length; i += 3) {
    if (picture.data[i] !== picture.data[i + 1] || picture.data[i] !== picture.data[i + 2]) return true;
  }
  return false;
}
