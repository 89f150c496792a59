import { chmod, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SinterError } from "../../src/errors.ts";
import type { Picture } from "../../src/fusion/picture.ts";
import { formatOf, readImage, writeImage } from "../../src/platform/images.ts";
import { greyProfile, wideProfile } from "./icc.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sinter-images-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});
const file = (name: string): string => join(folder, name);

/** Every value different from its neighbours, extremes included. */
function ramp8(width: number, height: number, channels: 1 | 3): Picture {
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => (i * 37 + (i >> 3) * 11) & 255);
  data.set([0, 255, 1]);
  return { width, height, channels, data };
}
function ramp16(width: number, height: number, channels: 1 | 3): Picture {
  const data = Uint16Array.from({ length: width * height * channels }, (_, i) => (i * 4099 + 17) & 65535);
  data.set([0, 65535, 1]);
  return { width, height, channels, data };
}
async function failure(promise: Promise<unknown>): Promise<SinterError> {
  const error: unknown = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!(error instanceof SinterError)) throw new Error(`expected a SinterError, got ${String(error)}`);
  return error;
}
const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a, (value, i) => Math.abs(value - (b[i] ?? Number.NaN))).reduce((x, y) => Math.max(x, y), 0);

function riffChunk(name: string, body: Buffer): Buffer {
  const head = Buffer.from(`${name}0000`, "latin1");
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body, Buffer.alloc(body.length % 2)]);
}

/** Puts a profile into a lossless WebP file of width 4 as libwebp's extended format has it: chunks VP8X, ICCP, VP8L. */
function withWebpProfile(webp: Buffer, profile: Buffer): Buffer {
  const extended = Buffer.from([0x20, 0, 0, 0, 3, 0, 0, 0, 0, 0]);
  const chunks = [riffChunk("VP8X", extended), riffChunk("ICCP", profile), webp.subarray(12)];
  return riffChunk("RIFF", Buffer.concat([Buffer.from("WEBP"), ...chunks]));
}

/** Sets a tag with one short value in the first directory of a little-endian TIFF file. */
function withTiffTag(tiff: Buffer, tag: number, value: number): Buffer {
  const at = tiff.readUInt32LE(4);
  const old = Array.from({ length: tiff.readUInt16LE(at) }, (_, i) => tiff.subarray(at + 2 + 12 * i, at + 14 + 12 * i));
  const added = Buffer.alloc(12);
  added.writeUInt16LE(tag, 0);
  added.writeUInt16LE(3, 2);
  added.writeUInt32LE(1, 4);
  added.writeUInt16LE(value, 8);
  const entries = [...old.filter((entry) => entry.readUInt16LE(0) !== tag), added].toSorted((a, b) => a.readUInt16LE(0) - b.readUInt16LE(0));
  const count = Buffer.alloc(2);
  count.writeUInt16LE(entries.length);
  const padded = Buffer.concat([tiff, Buffer.alloc(tiff.length % 2)]);
  padded.writeUInt32LE(padded.length, 4);
  return Buffer.concat([padded, count, ...entries, Buffer.alloc(4)]);
}

/** Adds an eXIf chunk with the orientation after the header of a PNG file. */
function withPngOrientation(png: Buffer, orientation: number): Buffer {
  const empty = Buffer.from([0x49, 0x49, 0x2a, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  const body = Buffer.concat([Buffer.from("eXIf"), withTiffTag(empty, 274, orientation)]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length - 4);
  const check = Buffer.alloc(4);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([png.subarray(0, 33), length, body, check, png.subarray(33)]);
}

describe("round trips", () => {
  for (const extension of ["png", "tif", "tiff"]) {
    for (const channels of [1, 3] as const) {
      it(`keeps ${channels} channel(s) of 8 and 16 bit in .${extension} to the bit`, async () => {
        for (const picture of [ramp8(7, 5, channels), ramp16(7, 5, channels), ramp16(1, 1 + 2, channels)]) {
          const depth = picture.data instanceof Uint16Array ? 16 : 8;
          const path = file(`trip-${channels}-${depth}-${picture.width}.${extension}`);
          expect(await writeImage(path, picture)).toEqual({ format: formatOf(path), depth, warnings: [] });
          const back = await readImage(path);
          expect(back).toEqual({ ...picture, depth, encoding: "srgb", warnings: [] });
        }
      });
    }
  }

  it("writes WebP without loss", async () => {
    const picture = ramp8(9, 4, 3);
    await writeImage(file("a.webp"), picture);
    expect((await readImage(file("a.webp"))).data).toEqual(picture.data);
    await writeImage(file("grey.webp"), ramp8(4, 4, 1));
    const grey = await readImage(file("grey.webp"));
    expect(grey.channels).toBe(3);
    expect(grey.data.filter((_, i) => i % 3 === 0)).toEqual(ramp8(4, 4, 1).data);
  });

  it("writes JPEG at quality 95 without chroma subsampling, grey as one channel", async () => {
    const data = Uint8Array.from({ length: 32 * 32 * 3 }, (_, i) => (i % 3 === 0 ? (i / 3) % 32 : 31 - ((i / 96) | 0)) * 8);
    await writeImage(file("a.jpg"), { width: 32, height: 32, channels: 3, data });
    expect((await sharp(file("a.jpg")).metadata()).chromaSubsampling).toBe("4:4:4");
    expect(largestDifference((await readImage(file("a.jpg"))).data, data)).toBeLessThan(20);
    await writeImage(file("grey.jpeg"), { width: 32, height: 32, channels: 1, data: data.subarray(0, 1024) });
    expect((await readImage(file("grey.jpeg"))).channels).toBe(1);
  });

  it("writes TIFF with lzw", async () => {
    await writeImage(file("lzw.tif"), ramp16(5, 5, 3));
    const bytes = await readFile(file("lzw.tif"));
    const at = bytes.readUInt32LE(4);
    const tags = Array.from({ length: bytes.readUInt16LE(at) }, (_, i) => at + 2 + 12 * i);
    const compression = tags.find((tag) => bytes.readUInt16LE(tag) === 259) ?? 0;
    expect(bytes.readUInt16LE(compression + 8)).toBe(5);
  });

  it("rounds float values to the nearest whole number, and holds them within the range", async () => {
    const data = Float32Array.of(0, 1, -0.5, 1.5, 0.5, 100.4 / 255, 100.6 / 255, 3 / 65535);
    const picture: Picture = { width: 8, height: 1, channels: 1, data };
    expect((await writeImage(file("f8.png"), picture)).depth).toBe(8);
    expect([...(await readImage(file("f8.png"))).data]).toEqual([0, 255, 0, 255, 128, 100, 101, 0]);
    await writeImage(file("f16.png"), picture, { depth: 16 });
    expect([...(await readImage(file("f16.png"))).data].slice(0, 5)).toEqual([0, 65535, 0, 65535, 32768]);
    expect((await readImage(file("f16.png"))).data[7]).toBe(3);
  });

  it("changes depth on request and says so when the format decides", async () => {
    await writeImage(file("up.png"), { width: 3, height: 1, channels: 1, data: Uint8Array.of(0, 128, 255) }, { depth: 16 });
    expect([...(await readImage(file("up.png"))).data]).toEqual([0, 32896, 65535]);
    const sixteen: Picture = { width: 3, height: 1, channels: 1, data: Uint16Array.of(0, 32896, 65535) };
    await writeImage(file("down.png"), sixteen, { depth: 8 });
    expect([...(await readImage(file("down.png"))).data]).toEqual([0, 128, 255]);
    const written = await writeImage(file("down.webp"), sixteen);
    expect(written.depth).toBe(8);
    expect(written.warnings.join()).toContain("16 bit");
  });
});

describe("what sharp does wrong without being told", () => {
  it("applies every EXIF orientation, also at 16 bit", async () => {
    // The rows and columns of a 3 × 2 picture, 1 to 6, as each orientation must show it.
    const shown: Record<number, number[]> = {
      1: [1, 2, 3, 4, 5, 6],
      2: [3, 2, 1, 6, 5, 4],
      3: [6, 5, 4, 3, 2, 1],
      4: [4, 5, 6, 1, 2, 3],
      5: [1, 4, 2, 5, 3, 6],
      6: [4, 1, 5, 2, 6, 3],
      7: [6, 3, 5, 2, 4, 1],
      8: [3, 6, 2, 5, 1, 4],
    };
    for (const [orientation, values] of Object.entries(shown)) {
      for (const extension of ["png", "tif"] as const) {
        const data = Uint16Array.of(1000, 2000, 3000, 4000, 5000, 6000);
        const path = file(`turned-${orientation}.${extension}`);
        await writeImage(path, { width: 3, height: 2, channels: 1, data });
        const bytes = await readFile(path);
        const turned = Number(orientation);
        await writeFile(path, extension === "png" ? withPngOrientation(bytes, turned) : withTiffTag(bytes, 274, turned));
        const back = await readImage(path);
        expect([back.width, back.height], path).toEqual(turned > 4 ? [2, 3] : [3, 2]);
        expect([...back.data], path).toEqual(values.map((value) => value * 1000));
      }
    }
  });

  it("drops alpha with a warning and leaves the colours under it", async () => {
    const rgba = Buffer.from([10, 20, 30, 0, 40, 50, 60, 128]);
    await sharp(rgba, { raw: { width: 2, height: 1, channels: 4 } }).png().toFile(file("alpha.png"));
    const picture = await readImage(file("alpha.png"));
    expect([...picture.data]).toEqual([10, 20, 30, 40, 50, 60]);
    expect(picture.warnings).toEqual([`${file("alpha.png")}: its alpha channel was dropped.`]);

    const greyAlpha = Uint16Array.of(5000, 0, 60001, 65535);
    await sharp(greyAlpha, { raw: { width: 2, height: 1, channels: 2 } })
      .toColourspace("grey16")
      .png()
      .toFile(file("alpha16.png"));
    const sixteen = await readImage(file("alpha16.png"));
    expect([sixteen.channels, ...sixteen.data]).toEqual([1, 5000, 60001]);
    expect(sixteen.warnings).toHaveLength(1);
  });

  it("keeps RGB with equal channels RGB, and a palette RGB", async () => {
    const equal = Buffer.from([7, 7, 7, 200, 200, 200]);
    await sharp(equal, { raw: { width: 2, height: 1, channels: 3 } }).png().toFile(file("equal.png"));
    expect((await readImage(file("equal.png"))).channels).toBe(3);
    await sharp(equal, { raw: { width: 2, height: 1, channels: 3 } }).png({ palette: true }).toFile(file("palette.png"));
    expect((await sharp(file("palette.png")).metadata()).isPalette).toBe(true);
    const palette = await readImage(file("palette.png"));
    expect([palette.channels, ...palette.data]).toEqual([3, ...equal]);
  });

  it("reads the first of several pages and says so", async () => {
    const pages = Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    const raw = sharp(pages, { raw: { width: 2, height: 2, channels: 3, pageHeight: 1 } });
    await raw.webp({ lossless: true, loop: 0 }).toFile(file("pages.webp"));
    const picture = await readImage(file("pages.webp"));
    expect([picture.height, ...picture.data]).toEqual([1, 1, 2, 3, 4, 5, 6]);
    expect(picture.warnings.join()).toContain("2 pages");
  });

  it("says what it cannot read truly instead of changing it", async () => {
    const float = sharp(Float32Array.of(0.1, 1.5, 900), { raw: { width: 1, height: 1, channels: 3 } });
    await float.toColourspace("scrgb").tiff({ compression: "none" }).toFile(file("float.tif"));
    const error = await failure(readImage(file("float.tif")));
    expect(error.code).toBe("UNSUPPORTED_PIXELS");
    expect(error.message).toContain("float");
  });

  it("reads a TIFF with a private tag", async () => {
    await writeImage(file("private.tif"), ramp8(3, 3, 1));
    await writeFile(file("private.tif"), withTiffTag(await readFile(file("private.tif")), 65000, 1));
    expect((await readImage(file("private.tif"))).data).toEqual(ramp8(3, 3, 1).data);
  });
});

describe("colour profiles", () => {
  const colours = Uint8Array.of(10, 200, 100, 250, 3, 7, 128, 128, 128, 0, 0, 255);

  it("converts 8 bit to sRGB on reading and back on writing", async () => {
    const profile = wideProfile();
    for (const extension of ["png", "tif", "webp"]) {
      const path = file(`wide.${extension}`);
      // The numbers of the file, attached to the profile as they are.
      await writeImage(path, { width: 4, height: 1, channels: 3, data: colours }, { profile, encoding: "profile" });
      const raw = await readImage(path, { ignoreProfile: true });
      expect(raw.data).toEqual(colours);
      expect(raw.profile).toBeUndefined();

      const picture = await readImage(path);
      expect(picture.encoding).toBe("srgb");
      expect(picture.profile).toEqual(new Uint8Array(profile));
      // Neutral stays neutral; a colour of the wide space lies further out in sRGB.
      expect(largestDifference(picture.data.subarray(6, 9), [128, 128, 128])).toBeLessThanOrEqual(1);
      expect(picture.data[3]).toBe(255);

      const again = file(`wide-again.${extension}`);
      const inGamut: Picture = { width: 2, height: 1, channels: 3, data: Uint8Array.of(90, 120, 100, 128, 128, 128) };
      await writeImage(again, inGamut, { profile });
      expect((await readImage(again, { ignoreProfile: true })).data).not.toEqual(inGamut.data);
      const back = await readImage(again);
      expect(largestDifference(back.data, inGamut.data)).toBeLessThanOrEqual(1);
      expect(back.profile).toEqual(new Uint8Array(profile));
    }
  });

  it("keeps 16-bit numbers and the profile, RGB and grey", async () => {
    for (const [channels, profile] of [[3, wideProfile()], [1, greyProfile()]] as const) {
      for (const extension of ["png", "tif"]) {
        const path = file(`numbers-${channels}.${extension}`);
        const picture = ramp16(5, 3, channels);
        expect((await writeImage(path, picture, { profile, encoding: "profile" })).warnings).toEqual([]);
        const back = await readImage(path);
        expect(back).toEqual({ ...picture, depth: 16, encoding: "profile", profile: new Uint8Array(profile), warnings: [] });
        const plain = await readImage(path, { ignoreProfile: true });
        expect(plain).toEqual({ ...picture, depth: 16, encoding: "srgb", warnings: [] });
      }
    }
  });

  it("takes 16-bit numbers of a profile to 8 bit without converting them", async () => {
    const data = Uint16Array.from(colours, (value) => value * 257);
    await writeImage(file("eight.webp"), { width: 4, height: 1, channels: 3, data }, { profile: wideProfile(), encoding: "profile" });
    expect((await readImage(file("eight.webp"), { ignoreProfile: true })).data).toEqual(colours);
    expect((await readImage(file("eight.webp"))).profile).toBeDefined();
  });

  it("never labels sRGB numbers of 16 bit with another profile", async () => {
    const written = await writeImage(file("srgb16.png"), ramp16(3, 3, 3), { profile: wideProfile() });
    expect(written.warnings).toHaveLength(1);
    const back = await readImage(file("srgb16.png"));
    expect(back.profile).toBeUndefined();
    expect(back.data).toEqual(ramp16(3, 3, 3).data);
  });

  it("never attaches an RGB profile to grey, or a grey one to RGB", async () => {
    for (const [channels, profile] of [[1, wideProfile()], [3, greyProfile()]] as const) {
      for (const picture of [ramp8(3, 3, channels), ramp16(3, 3, channels)]) {
        const path = file(`mismatch-${channels}.png`);
        const written = await writeImage(path, picture, { profile, encoding: "profile", overwrite: true });
        expect(written.warnings.join()).toContain("profile");
        const back = await readImage(path);
        expect([back.channels, back.profile]).toEqual([channels, undefined]);
        expect(back.data).toEqual(picture.data);
      }
    }
  });

  it("converts 8-bit grey with a grey profile and stays one channel", async () => {
    const profile = greyProfile();
    const picture: Picture = { width: 4, height: 1, channels: 1, data: Uint8Array.of(0, 100, 200, 255) };
    await writeImage(file("grey18.png"), picture, { profile });
    const numbers = await readImage(file("grey18.png"), { ignoreProfile: true });
    expect(numbers.channels).toBe(1);
    expect(numbers.data[1]).toBeLessThan(90);
    const back = await readImage(file("grey18.png"));
    expect(back.channels).toBe(1);
    expect(largestDifference(back.data, picture.data)).toBeLessThanOrEqual(1);
  });

  it("neither converts with a profile that is not valid nor fails", async () => {
    for (const [from, warnings] of [[36, 1], [128, 0]] as const) {
      const broken = Buffer.from(wideProfile());
      broken.fill(0xff, from);
      const container = await sharp(colours, { raw: { width: 4, height: 1, channels: 3 } }).webp({ lossless: true }).toBuffer();
      await writeFile(file("broken.webp"), withWebpProfile(container, broken));
      const back = await readImage(file("broken.webp"));
      expect(back.data).toEqual(colours);
      expect(back.warnings).toHaveLength(warnings);
      const written = await writeImage(file("broken-again.png"), back, { profile: broken, overwrite: true });
      expect((await readImage(file("broken-again.png"), { ignoreProfile: true })).data).toEqual(colours);
      expect(written.warnings).toHaveLength(warnings);
    }
  });
});

describe("bad input", () => {
  it("names a file that is missing, a folder, an empty file and one that is not a picture", async () => {
    const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>';
    await writeFile(file("text.png"), "this is text");
    await writeFile(file("svg.png"), svg);
    await writeFile(file("empty.png"), "");
    await mkdir(file("folder.png"));
    const cases = [
      ["missing.png", "FILE_NOT_FOUND"],
      ["text.png", "NOT_AN_IMAGE"],
      ["svg.png", "NOT_AN_IMAGE"],
      ["empty.png", "NOT_AN_IMAGE"],
      ["folder.png", "NOT_AN_IMAGE"],
    ] as const;
    for (const [name, code] of cases) {
      const error = await failure(readImage(file(name)));
      expect(error.code, name).toBe(code);
      expect(error.message, name).toContain(file(name));
    }
  });

  it("refuses files that are cut short", async () => {
    const noise: Picture = { ...ramp16(64, 64, 3), data: Uint16Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * i * 7919) & 65535) };
    for (const extension of ["png", "tif", "jpg", "webp"]) {
      const path = file(`cut.${extension}`);
      await writeImage(path, noise);
      const whole = await readFile(path);
      // TIFF keeps its directory at the end of the file, so every cut there takes the directory.
      for (const share of [0.02, 0.5, 0.9, 0.98]) {
        await writeFile(path, whole.subarray(0, Math.max(12, Math.floor(whole.length * share))));
        const error = await failure(readImage(path));
        expect(error.code, `${extension} ${share}`).toBe("TRUNCATED_IMAGE");
        expect(error.message).toContain(path);
        expect(error.message).not.toContain("\n");
      }
    }
  });

  it("refuses a PNG with a damaged middle", async () => {
    await writeImage(file("hurt.png"), ramp8(64, 64, 3));
    const bytes = await readFile(file("hurt.png"));
    bytes.fill(0x55, bytes.length >> 1, (bytes.length >> 1) + 8);
    await writeFile(file("hurt.png"), bytes);
    expect((await failure(readImage(file("hurt.png")))).code).toBe("TRUNCATED_IMAGE");
  });

  it("refuses outputs that exist, have no folder, are a folder, or have an unknown ending", async () => {
    const picture = ramp8(2, 2, 3);
    await writeFile(file("there.png"), "mine");
    await mkdir(file("dir.png"));
    const cases = [
      ["there.png", "OUTPUT_EXISTS"],
      ["nowhere/a.png", "UNWRITABLE_OUTPUT"],
      ["there.png/a.png", "UNWRITABLE_OUTPUT"],
      ["dir.png", "UNWRITABLE_OUTPUT"],
      ["a.bmp", "UNKNOWN_EXTENSION"],
      ["a", "UNKNOWN_EXTENSION"],
    ] as const;
    for (const [name, code] of cases) {
      const error = await failure(writeImage(file(name), picture));
      expect(error.code, name).toBe(code);
      expect(error.message, name).toContain(file(name));
    }
    expect(await readFile(file("there.png"), "utf8")).toBe("mine");
    await writeImage(file("there.png"), picture, { overwrite: true });
    expect((await readImage(file("there.png"))).data).toEqual(picture.data);
  });

  it("leaves nothing behind when a picture cannot be encoded", async () => {
    await mkdir(file("clean"));
    const wide: Picture = { width: 16384, height: 1, channels: 1, data: new Uint8Array(16384) };
    expect((await failure(writeImage(file("clean/wide.webp"), wide))).code).toBe("UNWRITABLE_OUTPUT");
    expect((await failure(writeImage(file("clean/short.png"), { ...wide, width: 9 }))).code).toBe("SIZE_MISMATCH");
    expect(await readdir(file("clean"))).toEqual([]);
  });

  it.skipIf(process.platform === "win32" || process.getuid?.() === 0)("names a folder without permission", async () => {
    await mkdir(file("closed"));
    await chmod(file("closed"), 0o500);
    const error = await failure(writeImage(file("closed/a.png"), ramp8(2, 2, 1)));
    expect(error.code).toBe("UNWRITABLE_OUTPUT");
    expect(error.message).toContain("permission");
  });
});
