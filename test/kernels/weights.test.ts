import { expect, it } from "vitest";
import type { Constant } from "../../src/kernels/kernel.ts";
import { lazyWeight, packConvolution, packDepthwise, packUniform, packVector } from "../../src/kernels/weights.ts";

const weight = (...shape: number[]): { name: string; shape: number[]; data: Float32Array } => ({
  name: shape.join("×"),
  shape,
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => i + 1),
});

const constants: Readonly<Record<string, Constant>> = {
  convolution: packConvolution(weight(5, 3, 3, 3), "f32"),
  "a longer convolution": packConvolution(weight(5, 3, 1, 1), "f32", 64),
  depthwise: packDepthwise(weight(5, 1, 3, 3), "f16"),
  vector: packVector(weight(5), 5),
  zeros: packVector(undefined, 5),
  uniform: packUniform(0.5, 5),
};

const packed = ({ length, pack }: Constant): number[] => {
  const target = new Float32Array(length * 4);
  pack(target);
  return [...target];
};

it.each(Object.entries(constants))("%s stays within the length it says, in vectors of four", (_name, constant) => {
  // A typed array throws when it is set beyond its end.
  expect(() => packed(constant)).not.toThrow();
});

it("puts the numbers of a convolution tap by tap, input by input", () => {
  const [outputs, inputs, height, width] = [5, 7, 2, 3];
  const source = weight(outputs, inputs, height, width);
  const values = packed(packConvolution(source, "f32"));
  const taps = height * width;
  for (let o = 0; o < outputs; o++) {
    for (let i = 0; i < inputs; i++) {
      for (let tap = 0; tap < taps; tap++) expect(values[(tap * 8 + i) * 8 + o]).toBe(source.data[(o * inputs + i) * taps + tap]);
    }
  }
  expect(values.filter((value) => value !== 0)).toHaveLength(source.data.length);
});

it("reads a weight when it is packed, and not before", () => {
  let reads = 0;
  const lazy = lazyWeight("w", [4, 4, 1, 1], () => (reads++, new Float32Array(16).fill(1)));
  const constant = packConvolution(lazy, "f32");
  expect(reads).toBe(0);
  packed(constant);
  expect(reads).toBe(1);
});

it("fills the padding of both channel counts with zeros", () => {
  // [input channel][output channel], 3 inputs and 5 outputs filled up to 4 and 8.
  const values = packed(packConvolution(weight(5, 3, 1, 1), "f32"));
  expect(values.slice(0, 8)).toEqual([1, 4, 7, 10, 13, 0, 0, 0]);
  expect(values.slice(24)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
});
