import { describe, expect, it } from "vitest";
import type { Picture } from "../../src/fusion/picture.ts";
import { checkPair, isColoured, preparePicture } from "../../src/fusion/prepare.ts";

const picture = (channels: 1 | 3, data: Picture["data"]): Picture => ({ width: 2, height: 1, channels, data });

describe("preparePicture", () => {
  it("scales 8 bit, 16 bit and floats to the same range", () => {
    const expected = { coloured: false, data: Float32Array.of(0, 1) };
    expect(preparePicture(picture(1, Uint8Array.of(0, 255)), 1)).toEqual(expected);
    expect(preparePicture(picture(1, Uint16Array.of(0, 65535)), 1)).toEqual(expected);
    expect(preparePicture(picture(1, Float32Array.of(0, 1)), 1)).toEqual(expected);
  });

  it("keeps 8-bit numbers exactly at the published programs' scale", () => {
    const data = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect([...preparePicture({ width: 256, height: 1, channels: 1, data }, 255).data]).toEqual([...data]);
  });

  it("drops two of three channels where all are equal everywhere, and only there", () => {
    const grey = picture(3, Uint8Array.of(7, 7, 7, 9, 9, 9));
    expect(isColoured(grey)).toBe(false);
    expect(preparePicture(grey, 255)).toEqual({ coloured: false, data: Float32Array.of(7, 9) });
    for (const last of [[9, 9, 8], [9, 8, 9], [8, 9, 9]]) {
      const data = Uint8Array.of(7, 7, 7, ...last);
      expect(isColoured(picture(3, data))).toBe(true);
      expect(preparePicture(picture(3, data), 255)).toEqual({ coloured: true, data: Float32Array.from(data) });
    }
  });
});

describe("checkPair", () => {
  const good = picture(1, new Uint8Array(2));
  it("takes pictures of one size, whatever their channels", () => {
    expect(() => checkPair({ first: good, second: picture(3, new Uint16Array(6)) })).not.toThrow();
  });

  it.each([
    ["SIZE_MISMATCH", { ...good, width: 1, data: new Uint8Array(1) }],
    ["SIZE_MISMATCH", { ...good, width: 1, height: 2 }],
    ["EMPTY_PICTURE", { ...good, data: new Uint8Array(3) }],
    ["EMPTY_PICTURE", picture(3, new Uint8Array(2))],
  ] as const)("%s", (code, second) => {
    expect(() => checkPair({ first: good, second })).toThrow(expect.objectContaining({ code }));
    expect(() => checkPair({ first: second, second: good })).toThrow(expect.objectContaining({ code }));
  });

  it("EMPTY_PICTURE for no pixels", () => {
    const empty = { width: 0, height: 0, channels: 1, data: new Uint8Array(0) } as const;
    expect(() => checkPair({ first: empty, second: empty })).toThrow(expect.objectContaining({ code: "EMPTY_PICTURE" }));
  });
});
