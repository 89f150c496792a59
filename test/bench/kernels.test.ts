import { describe, expect, it } from "vitest";
import { describeNode, fullSize, movedBytes } from "../../bench/kernel-groups.ts";
import { dispatchKey } from "../../bench/dispatch-timer.ts";
import { matrixPeakCode } from "../../bench/peaks.ts";
import { GraphBuilder } from "../../src/graph/graph.ts";
import { compile } from "../../src/graph/plan.ts";
import { conv2d } from "../../src/kernels/conv2d/conv2d.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";
import { findGpu } from "../../src/platform/gpu.ts";
import { PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { randomWeight } from "../kernels/operators.ts";

/** Two equal convolutions, a third at half the size and a sum. */
function graph() {
  const builder = new GraphBuilder();
  const input = builder.input("input", { batch: 1, height: 8, width: 12, channels: 8 });
  const convolve = (name: string, from: typeof input, stride: number, seed: number) =>
    builder.add(name, conv2d, [from], { weight: randomWeight(name, [8, 8, 3, 3] as const, seed), stride, padding: 1, dilation: 1 });
  const first = convolve("first", input, 1, 1);
  const second = convolve("second", first, 1, 2);
  builder.output(convolve("third", builder.add("sum", elementwise, [first, second], { operation: "add" }), 2, 3));
  return builder.build();
}

describe("describeNode", () => {
  it("names operator, channels and scale", () => {
    const { nodes, ...rest } = graph();
    const full = fullSize({ nodes, ...rest });
    expect(full).toMatchObject({ height: 8, width: 12 });
    expect(nodes.map((node) => describeNode(node, full))).toEqual([
      "conv2d 3×3 8→8",
      "conv2d 3×3 8→8",
      "elementwise add 8",
      "conv2d 3×3 8→8, stride 2 at 1/2",
    ]);
  });
});

describe("dispatchKey", () => {
  it("is equal for equal work and differs for other shapes", () => {
    const { dispatches } = compile(graph(), PORTABLE_TRAITS);
    const keyOf = (label: string): string[] => dispatches.filter((dispatch) => dispatch.label === label).map(dispatchKey);
    expect(keyOf("first")).toEqual(keyOf("second"));
    expect(keyOf("first")).not.toEqual(keyOf("third"));
  });
});

describe("movedBytes", () => {
  it("counts each tensor once, and weights", () => {
    const { dispatches } = compile(graph(), PORTABLE_TRAITS);
    const bytes = (label: string, count: (dispatch: (typeof dispatches)[number]) => number): number =>
      dispatches.filter((dispatch) => dispatch.label === label).reduce((sum, dispatch) => sum + count(dispatch), 0);
    const tensor = 8 * 12 * 8 * 4;
    expect(bytes("sum", (dispatch) => dispatch.bytes)).toBe(3 * tensor);
    expect(bytes("first", (dispatch) => dispatch.bytes)).toBe(2 * tensor);
    expect(bytes("first", movedBytes)).toBeGreaterThanOrEqual(2 * tensor + 8 * 8 * 9 * 4);
  });
});

describe("the kernel that measures matrix units", () => {
  it.each([
    { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 },
    { componentType: "f16", resultComponentType: "f16", M: 16, N: 8, K: 16 },
    { componentType: "f32", resultComponentType: "f32", M: 8, N: 8, K: 8 },
  ])("compiles for $componentType→$resultComponentType $M×$N×$K (on Dawn's null backend)", async (product) => {
    const gpu = await findGpu({ backend: "null", flags: ["enable-dawn-features=allow_unsafe_apis"] });
    const adapter = await gpu.requestAdapter();
    const device = await adapter?.requestDevice({ requiredFeatures: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"] as GPUFeatureName[] });
    if (!device) throw new Error("no null backend");
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code: matrixPeakCode(product) });
    device.createComputePipeline({ layout: "auto", compute: { module } });
    expect((await device.popErrorScope())?.message).toBeUndefined();
  });
});
