import { describe, expect, it } from "vitest";
import { fromFloat32, toFloat32 } from "../../src/checkpoints/tensor.ts";
import type { ElementType } from "../../src/checkpoints/tensor.ts";

const widened = (elementType: ElementType, values: ArrayBufferView): number[] => {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return [...toFloat32({ elementType, shape: [], bytes })];
};

describe("toFloat32", () => {
  it("widens every half exactly", () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const values = widened("F16", halves);
    for (let bits = 0; bits < 65536; bits++) {
      const sign = bits & 0x8000 ? -1 : 1;
      const exponent = (bits >> 10) & 31;
      const fraction = bits & 0x3ff;
      const expected =
        exponent === 31
          ? fraction === 0
            ? sign * Infinity
            : NaN
          : exponent === 0
            ? sign * fraction * 2 ** -24
            : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
      if (!Object.is(values[bits], expected)) expect(values[bits], `half 0x${bits.toString(16)}`).toBe(expected);
    }
  });

  it("widens bfloat16 and rounds float64 and integers once", () => {
    expect(widened("BF16", Uint16Array.of(0x3f80, 0xc049, 0x7f80))).toEqual([1, -3.140625, Infinity]);
    expect(widened("F64", Float64Array.of(0.1, 1e300))).toEqual([Math.fround(0.1), Infinity]);
    expect(widened("I32", Int32Array.of(2 ** 24 + 1, -5))).toEqual([2 ** 24, -5]);
    expect(widened("I16", Int16Array.of(-32768))).toEqual([-32768]);
    expect(widened("I8", Int8Array.of(-128))).toEqual([-128]);
    expect(widened("U8", Uint8Array.of(255))).toEqual([255]);
    expect(widened("BOOL", Uint8Array.of(0, 1))).toEqual([0, 1]);
  });

  it("rounds large integers once: just above the tie goes up, though float64 would see the tie", () => {
    const tie = 2n ** 62n + 2n ** 38n;
    expect(widened("I64", BigInt64Array.of(tie, tie + 1n, -tie - 1n, 3n))).toEqual([
      2 ** 62,
      2 ** 62 + 2 ** 39,
      -(2 ** 62) - 2 ** 39,
      3,
    ]);
  });

  it("copies a Node Buffer off a 4-byte boundary too", () => {
    const file = Buffer.alloc(9);
    file.writeFloatLE(1.5, 1);
    file.writeFloatLE(-2, 5);
    expect([...toFloat32({ elementType: "F32", shape: [2], bytes: file.subarray(1) })]).toEqual([1.5, -2]);
  });

  it("copies float32 only when it lies off a 4-byte boundary", () => {
    const file = new Uint8Array(13);
    const aligned = file.subarray(4, 12);
    expect(toFloat32({ elementType: "F32", shape: [2], bytes: aligned }).buffer).toBe(file.buffer);
    file.set(new Uint8Array(Float32Array.of(1.5, -2).buffer), 5);
    expect([...toFloat32({ elementType: "F32", shape: [2], bytes: file.subarray(5, 13) })]).toEqual([1.5, -2]);
  });
});

const rounded = (...values: number[]): number[] =>
  [...new Uint16Array(fromFloat32(Float32Array.from(values), [values.length], "F16").bytes.buffer)];

describe("fromFloat32", () => {
  it("gives every half back", () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const values = toFloat32({ elementType: "F16", shape: [65536], bytes: new Uint8Array(halves.buffer) });
    const back = new Uint16Array(fromFloat32(values, [65536], "F16").bytes.buffer);
    for (let bits = 0; bits < 65536; bits++) {
      const isNaNBits = (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0;
      const [found, expected] = isNaNBits ? [(back[bits] ?? 0) & 0x7e00, 0x7e00] : [back[bits], bits];
      if (found !== expected) expect(found, `half 0x${bits.toString(16)}`).toBe(expected);
    }
  });

  it("rounds to the nearest, ties to even, through the subnormals", () => {
    expect(rounded(1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -11 + 2 ** -20)).toEqual([0x3c00, 0x3c02, 0x3c01]);
    expect(rounded(2 ** -25, 2 ** -25 + 2 ** -40, 3 * 2 ** -25, -(2 ** -24))).toEqual([0, 1, 2, 0x8001]);
    expect(rounded(2 ** -14 - 2 ** -26, 65519, -Infinity)).toEqual([0x0400, 0x7bff, 0xfc00]);
  });

  it("refuses what does not fit", () => {
    expect(() => rounded(65520)).toThrow(expect.objectContaining({ code: "F16_OVERFLOW" }));
    expect(() => fromFloat32(Float32Array.of(1), [2], "F32")).toThrow(expect.objectContaining({ code: "SIZE_MISMATCH" }));
  });
});
