import { expect, it } from "vitest";
import type { Constant } from "../../src/kernels/kernel.ts";
import { packConvolution, packDepthwise, packUniform, packVector } from "../../src/kernels/weights.ts";

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

it.each(Object.entries(constants))("%s has the length it says, in vectors of four", (_name, { length, pack }) => {
  expect(pack()).toHaveLength(length * 4);
});

it("fills the padding of both channel counts with zeros", () => {
  // [input channel][output channel], 3 inputs and 5 outputs filled up to 4 and 8.
  const packed = [...packConvolution(weight(5, 3, 1, 1), "f32").pack()];
  expect(packed.slice(0, 8)).toEqual([1, 4, 7, 10, 13, 0, 0, 0]);
  expect(packed.slice(24)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
});
