import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import sharp from "sharp";
import type { Metadata, Sharp } from "sharp";
import { SinterError } from "../errors.ts";
import type { Picture } from "../fusion/picture.ts";
import { checkOutput, isFolder, readError, writeFileAtomically } from "./files.ts";

export type ImageFormat = "png" | "tiff" | "jpeg" | "webp";

/**
 * What the numbers of a picture mean: `srgb`, or the encoding that its ICC profile describes. 8-bit files are converted to
 * sRGB when they are read; 16-bit files with a profile keep their numbers.
 */
export type Encoding = "srgb" | "profile";

/** A picture from a file: `data` is a Uint8Array at depth 8, a Uint16Array at depth 16. */
export interface DecodedImage extends Picture {
  readonly data: Uint8Array | Uint16Array;
  readonly depth: 8 | 16;
  readonly encoding: Encoding;
  /** The ICC profile of the file, when it describes grey or RGB as the picture has it. */
  readonly profile?: Uint8Array;
  /** What was dropped or changed on the way, in words for people. */
  readonly warnings: readonly string[];
}

export interface WriteOptions {
  /** Bits a value; default 16 for a Uint16Array, else 8. A format that has only 8 (JPEG, WebP) gets 8, with a warning. */
  readonly depth?: 8 | 16 | undefined;
  /** ICC profile to attach; left out, with a warning, when it does not describe the picture's channels. */
  readonly profile?: Uint8Array | undefined;
  /** What the picture's numbers mean, default `srgb`. Numbers in sRGB are converted to the profile at 8 bit. */
  readonly encoding?: Encoding | undefined;
  readonly overwrite?: boolean | undefined;
}

/** What was written: its format, its bits a value, and what could not be kept, in words for people. */
export interface WrittenImage {
  readonly format: ImageFormat;
  readonly depth: 8 | 16;
  readonly warnings: readonly string[];
}

const formats: Record<string, ImageFormat> = {
  ".png": "png",
  ".tif": "tiff",
  ".tiff": "tiff",
  ".jpg": "jpeg",
  ".jpeg": "jpeg",
  ".webp": "webp",
};

/**
 * The format that a file's ending stands for.
 *
 * @throws SinterError `UNKNOWN_EXTENSION`.
 */
export function formatOf(path: string): ImageFormat {
  const extension = extname(path);
  const format = formats[extension.toLowerCase()];
  if (format === undefined) {
    const found = extension === "" ? "no ending" : `the ending ${extension}`;
    throw new SinterError("UNKNOWN_EXTENSION", `${path} has ${found}; expected .png, .tif, .tiff, .jpg, .jpeg or .webp.`, { where: path });
  }
  return format;
}

/**
 * Reads a PNG, TIFF, JPEG or WebP file, whatever its ending: one channel stays one channel, 16 bit stays 16 bit, the EXIF
 * orientation is applied, alpha is dropped with a warning. 8-bit pixels with a profile are converted to sRGB; 16-bit pixels
 * keep their numbers (`encoding` says which).
 *
 * @param options.ignoreProfile take the numbers as they are in the file and report no profile, as OpenCV does
 * @throws SinterError `FILE_NOT_FOUND`, `UNREADABLE_FILE`, `NOT_AN_IMAGE`, `TRUNCATED_IMAGE` (cut short or damaged),
 * `IMAGE_TOO_LARGE`, `UNSUPPORTED_PIXELS` (floating point, 32 bit, Lab, more than four channels).
 */
export async function readImage(path: string, options: { ignoreProfile?: boolean | undefined } = {}): Promise<DecodedImage> {
  const file = await readBytes(path);
  const format = sniff(file);
  if (format === undefined) {
    const found = file.length === 0 ? "is empty" : "is not a picture in one of these formats";
    throw new SinterError("NOT_AN_IMAGE", `${path} ${found}; expected PNG, TIFF, JPEG or WebP.`, { where: path });
  }
  // libtiff warns about every private tag, which says nothing of the pixels.
  const failOn = format === "tiff" ? "error" : "warning";
  try {
    const metadata = await sharp(file, { failOn }).metadata();
    return await decode(path, file, failOn, metadata, options.ignoreProfile === true);
  } catch (cause) {
    if (cause instanceof SinterError) throw cause;
    const detail = (cause as Error).message;
    if (/pixel limit/.test(detail)) {
      throw new SinterError("IMAGE_TOO_LARGE", `${path} has too many pixels; at most 268 million are read.`, { where: path, cause });
    }
    throw new SinterError("TRUNCATED_IMAGE", `${path} is a ${format.toUpperCase()} file that ends early or is damaged (${oneLine(detail)}).`, {
      where: path,
      fix: "Copy or download the file again.",
      cause,
    });
  }
}

/**
 * Writes a picture; the ending of `path` chooses the format: PNG, TIFF (lzw), WebP (lossless; it has no grey, so grey is
 * written as RGB) or JPEG (quality 95, 4:4:4). Float32 values 0–1 become whole numbers by rounding to the nearest. The file
 * appears under its name only when it is whole.
 *
 * @throws SinterError `UNKNOWN_EXTENSION`, `OUTPUT_EXISTS`, `UNWRITABLE_OUTPUT`.
 */
export async function writeImage(path: string, picture: Picture, options: WriteOptions = {}): Promise<WrittenImage> {
  const format = formatOf(path);
  await checkOutput(path, options);
  const { width, height, channels } = picture;
  if (picture.data.length !== width * height * channels) {
    const expected = `${width} × ${height} × ${channels} values`;
    throw new SinterError("SIZE_MISMATCH", `The picture for ${path} should have ${expected} and has ${picture.data.length}.`, { where: path });
  }
  const warnings: string[] = [];
  let depth = options.depth ?? (picture.data instanceof Uint16Array ? 16 : 8);
  if (depth === 16 && (format === "jpeg" || format === "webp")) {
    depth = 8;
    warnings.push(`${path}: ${format.toUpperCase()} has no 16 bit, so it was written with 8.`);
  }
  const values = depth === 16 ? toDepth16(picture.data) : toDepth8(picture.data);

  const encoding = options.encoding ?? "srgb";
  let profile = options.profile;
  if (profile !== undefined && profileSpace(profile) !== (channels === 1 ? "GRAY" : "RGB ")) {
    profile = undefined;
    warnings.push(`${path}: the colour profile does not describe a picture of ${channels} channel${channels === 1 ? "" : "s"} and was left out.`);
  } else if (profile !== undefined && depth === 16 && encoding === "srgb") {
    profile = undefined;
    warnings.push(`${path}: its numbers are sRGB, so the colour profile was left out.`);
  }

  let bytes: Buffer;
  try {
    bytes = await encode({ width, height, channels, values }, format, profile, encoding);
  } catch (cause) {
    const detail = oneLine((cause as Error).message);
    throw new SinterError("UNWRITABLE_OUTPUT", `${path} (${width} × ${height}) cannot be written as ${format.toUpperCase()}: ${detail}.`, {
      where: path,
      cause,
    });
  }
  await writeFileAtomically(path, bytes, options);
  return { format, depth, warnings };
}

async function readBytes(path: string): Promise<Buffer> {
  if (await isFolder(path)) throw new SinterError("NOT_AN_IMAGE", `${path} is a folder; a picture file was expected.`, { where: path });
  try {
    return await readFile(path);
  } catch (cause) {
    throw readError(path, cause);
  }
}

/** The format by the first bytes of a file, so that no other decoder of libvips (SVG, GIF, …) ever sees it. */
function sniff(file: Buffer): ImageFormat | undefined {
  const start = file.toString("latin1", 0, 12);
  if (start.startsWith("\x89PNG\r\n\x1a\n")) return "png";
  if (start.startsWith("\xff\xd8\xff")) return "jpeg";
  if (/^(?:II[*+]\0|MM\0[*+])/.test(start)) return "tiff";
  if (/^RIFF[^]{4}WEBP/.test(start)) return "webp";
  return undefined;
}

async function decode(
  path: string,
  file: Buffer,
  failOn: "error" | "warning",
  metadata: Metadata,
  ignoreProfile: boolean,
): Promise<DecodedImage> {
  const { space, hasAlpha } = metadata;
  const depth = metadata.depth === "ushort" ? 16 : 8;
  const channels = metadata.channels - (hasAlpha ? 1 : 0);
  const cmyk = depth === 8 && space === "cmyk";
  const grey = channels === 1;
  const known = depth === 16 ? ["grey16", "rgb16"] : ["b-w", "srgb"];
  const wholeNumbers = metadata.depth === "uchar" || metadata.depth === "ushort";
  if (!cmyk && !(wholeNumbers && known.includes(space) && (grey || channels === 3))) {
    const found = `${metadata.channels} channels of ${metadata.depth}, colour space ${space}`;
    throw new SinterError("UNSUPPORTED_PIXELS", `${path} has ${found}; expected grey or RGB of 8 or 16 bit.`, {
      where: path,
      fix: "Convert the file to grey or RGB with 8 or 16 bit.",
    });
  }
  const warnings: string[] = [];
  if (hasAlpha) warnings.push(`${path}: its alpha channel was dropped.`);
  if (cmyk) warnings.push(`${path}: it was converted from CMYK.`);
  if ((metadata.pages ?? 1) > 1) warnings.push(`${path}: it has ${metadata.pages} pages, and the first was read.`);

  // sharp would convert 16-bit RGB to Display P3, so the profile is applied at 8 bit only.
  const applyProfile = metadata.hasProfile && depth === 8 && !ignoreProfile;
  let profile = ignoreProfile ? undefined : metadata.icc;
  if (profile !== undefined && profileSpace(profile) === undefined) {
    profile = undefined;
    warnings.push(`${path}: its colour profile is not valid and was ignored.`);
  }
  if (profile !== undefined && profileSpace(profile) !== (grey ? "GRAY" : "RGB ")) profile = undefined;

  // The colour space must be named: without it sharp gives three channels of 8 bit.
  const names = depth === 16 ? (["grey16", "rgb16"] as const) : (["b-w", "srgb"] as const);
  const image = sharp(file, { failOn, ignoreIcc: !applyProfile }).autoOrient().removeAlpha().toColourspace(names[grey ? 0 : 1]);
  const { data, info } = await image.raw({ depth: depth === 16 ? "ushort" : "uchar" }).toBuffer({ resolveWithObject: true });
  if (info.channels !== (grey ? 1 : 3)) throw new Error(`decoded to ${info.channels} channels`);
  return {
    width: info.width,
    height: info.height,
    channels: info.channels,
    data: depth === 16 ? new Uint16Array(Uint8Array.from(data).buffer) : new Uint8Array(data),
    depth,
    encoding: depth === 16 && profile !== undefined ? "profile" : "srgb",
    ...(profile === undefined ? {} : { profile: new Uint8Array(profile) }),
    warnings,
  };
}

interface WholePicture {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  readonly values: Uint8Array | Uint16Array;
}

async function encode(picture: WholePicture, format: ImageFormat, profile: Uint8Array | undefined, encoding: Encoding): Promise<Buffer> {
  // An uncompressed TIFF in memory hands sharp pixels and profile together, so that it can keep the profile and the numbers.
  const attached = profile !== undefined && encoding === "profile" ? profile : undefined;
  const sixteen = picture.values instanceof Uint16Array;
  const spaces = sixteen ? (["grey16", "rgb16"] as const) : (["b-w", "srgb"] as const);
  const image = compress(sharp(tiff(picture, attached), { ignoreIcc: true, limitInputPixels: false }), format);
  image.toColourspace(spaces[picture.channels === 1 ? 0 : 1]);
  if (profile === undefined) return await image.toBuffer();
  if (encoding === "profile") return await image.keepIccProfile().toBuffer();

  // sharp takes a profile to convert to only as a file.
  const folder = await mkdtemp(join(tmpdir(), "sinter-"));
  try {
    const file = join(folder, "profile.icc");
    await writeFile(file, profile);
    return await image.withIccProfile(file).toBuffer();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function compress(image: Sharp, format: ImageFormat): Sharp {
  if (format === "png") return image.png();
  if (format === "tiff") return image.tiff({ compression: "lzw", predictor: "horizontal" });
  if (format === "webp") return image.webp({ lossless: true });
  return image.jpeg({ quality: 95, chromaSubsampling: "4:4:4" });
}

/** A baseline TIFF 6.0 file of one strip without compression, with the profile under tag 34675. */
function tiff(picture: WholePicture, profile: Uint8Array | undefined): Buffer {
  const { width, height, channels, values } = picture;
  const [short, long, undefinedType] = [3, 4, 7];
  const pixels = Buffer.from(values.buffer, values.byteOffset, values.byteLength);
  const entryCount = profile === undefined ? 10 : 11;
  const bitsOffset = 8 + 2 + 12 * entryCount + 4;
  const pixelOffset = bitsOffset + 8;
  const entries: [tag: number, type: number, count: number, value: number][] = [
    [256, long, 1, width],
    [257, long, 1, height],
    [258, short, channels, channels === 1 ? values.BYTES_PER_ELEMENT * 8 : bitsOffset],
    [259, short, 1, 1],
    [262, short, 1, channels === 1 ? 1 : 2],
    [273, long, 1, pixelOffset],
    [277, short, 1, channels],
    [278, long, 1, height],
    [279, long, 1, pixels.length],
    [284, short, 1, 1],
  ];
  if (profile !== undefined) entries.push([34675, undefinedType, profile.length, pixelOffset + pixels.length]);

  const head = Buffer.alloc(pixelOffset);
  head.write("II*\0", 0, "latin1");
  head.writeUInt32LE(8, 4);
  head.writeUInt16LE(entries.length, 8);
  for (const [index, [tag, type, count, value]] of entries.entries()) {
    const at = 10 + 12 * index;
    head.writeUInt16LE(tag, at);
    head.writeUInt16LE(type, at + 2);
    head.writeUInt32LE(count, at + 4);
    head.writeUInt32LE(value, at + 8);
  }
  for (let channel = 0; channel < 3; channel++) head.writeUInt16LE(values.BYTES_PER_ELEMENT * 8, bitsOffset + 2 * channel);
  return Buffer.concat(profile === undefined ? [head, pixels] : [head, pixels, profile]);
}

function toDepth8(data: Picture["data"]): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (data instanceof Uint16Array) return Uint8Array.from(data, (value) => Math.round(value / 257));
  return Uint8Array.from(data, (value) => Math.round(255 * Math.min(Math.max(value, 0), 1)));
}

function toDepth16(data: Picture["data"]): Uint16Array {
  if (data instanceof Uint16Array) return data;
  if (data instanceof Uint8Array) return Uint16Array.from(data, (value) => value * 257);
  return Uint16Array.from(data, (value) => Math.round(65535 * Math.min(Math.max(value, 0), 1)));
}

/** The colour space that the header of an ICC profile names (`GRAY`, `RGB `, `CMYK`, …), or undefined when it is no profile. */
function profileSpace(profile: Uint8Array): string | undefined {
  const header = Buffer.from(profile.buffer, profile.byteOffset, profile.byteLength);
  if (header.length < 132 || header.readUInt32BE(0) > header.length || header.toString("latin1", 36, 40) !== "acsp") return undefined;
  return header.toString("latin1", 16, 20);
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, " ").trim().replace(/\.$/, "");
}
