import { readFileSync } from "node:fs";
import type { Picture } from "../../src/fusion/picture.ts";
import type { MetricName, PictureTriple, ProfileName } from "../../src/metrics/index.ts";

interface Fixture {
  width: number;
  height: number;
  pictures: Record<"first" | "second" | "fused", string>;
  values: Partial<Record<ProfileName, Partial<Record<MetricName, number>>>>;
  enlarged: { MS_SSIM: number };
}

/** Small pictures with values computed by `make-fixture.py`. */
export const fixture = JSON.parse(
  readFileSync(new URL("./fixture.json", import.meta.url), "utf8"),
) as Fixture;

function decode(name: "first" | "second" | "fused", factor: number): Picture {
  const source = Buffer.from(fixture.pictures[name], "base64");
  const [width, height] = [fixture.width * factor, fixture.height * factor];
  const data = Uint8Array.from({ length: width * height }, (_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    return source[Math.floor(y / factor) * fixture.width + Math.floor(x / factor)] as number;
  });
  return { width, height, channels: 1, data };
}

/** The fixture's pictures, each pixel repeated `factor` × `factor` times. */
export function fixturePictures(factor = 1): PictureTriple {
  return { first: decode("first", factor), second: decode("second", factor), fused: decode("fused", factor) };
}

export function greyPicture(width: number, height: number, level: (x: number, y: number) => number): Picture {
  const data = Uint8Array.from({ length: width * height }, (_, i) => level(i % width, Math.floor(i / width)));
  return { width, height, channels: 1, data };
}

/** The same picture with three equal channels. */
export function threeChannels(picture: Picture): Picture {
  const data = Uint8Array.from({ length: picture.data.length * 3 }, (_, i) => picture.data[Math.floor(i / 3)] as number);
  return { ...picture, channels: 3, data };
}
