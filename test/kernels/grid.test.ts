import { describe, expect, it } from "vitest";
import { conv2d } from "../../src/kernels/conv2d/conv2d.ts";
import { gridOf } from "../../src/kernels/kernel.ts";
import { PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { GraphBuilder } from "../../src/graph/graph.ts";
import { openTestGpu, runGraph } from "../gpu.ts";
import { randomTensor, randomValues } from "../reference/tensor.ts";

describe("a grid of more workgroups than one dimension takes", () => {
  it("is folded into two dimensions", () => {
    expect(gridOf(65_535, PORTABLE_TRAITS)).toEqual([65_535, 1]);
    const [width, height] = gridOf(93_750, PORTABLE_TRAITS);
    expect(Math.max(width, height)).toBeLessThanOrEqual(65_535);
    expect(width * height).toBeGreaterThanOrEqual(93_750);
  });

  it.each([1, 3])("gives the same numbers to the bit, %i×%i convolution", async (size) => {
    const gpu = await openTestGpu();
    const builder = new GraphBuilder();
    const input = builder.input("x", { batch: 1, height: 23, width: 37, channels: 8 });
    const weight = { name: "w", shape: [8, 8, size, size], data: Float32Array.from(randomValues(64 * size * size, 1)) };
    builder.output(builder.add("y", conv2d, [input], { weight, stride: 1, padding: (size - 1) / 2, dilation: 1 }));
    const inputs = { x: Float32Array.from(randomTensor([1, 23, 37, 8], 2).data) };
    const whole = await runGraph(gpu, builder.build(), inputs);
    const folded = await runGraph(gpu, builder.build(), inputs, { ...gpu.device.traits, maxComputeWorkgroupsPerDimension: 3 });
    expect(folded).toEqual(whole);
  });
});
