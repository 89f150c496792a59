import { describe, expect, it } from "vitest";
import { GraphBuilder, type Node } from "../../src/graph/graph.ts";
import { chooseVariant, variantJob, variantKey } from "../../src/graph/variants.ts";
import { depthwiseConv2d } from "../../src/kernels/depthwise-conv2d/depthwise-conv2d.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";
import { DEVICE_CLASSES, PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { randomWeight } from "../kernels/operators.ts";

function depthwise(height: number, seed: number): Node {
  const builder = new GraphBuilder();
  const input = builder.input(`input of ${seed}`, { batch: 1, height, width: 10, channels: 4 });
  const weight = randomWeight(`weight ${seed}`, [4, 1, 3, 3] as const, seed);
  builder.output(builder.add("out", depthwiseConv2d, [input], { weight, stride: 1, padding: 1, dilation: 1 }));
  const [node] = builder.build().nodes;
  if (!node) throw new Error("no node");
  return node;
}

const keyOf = (node: Node): string => variantKey(node.operator, variantJob(node, PORTABLE_TRAITS));

describe("variantKey", () => {
  it("is the same for other weights of the same shape and for about as many pixels, and tells everything else apart", () => {
    expect(keyOf(depthwise(10, 1))).toBe(keyOf(depthwise(12, 2)));
    expect(keyOf(depthwise(10, 1))).not.toBe(keyOf(depthwise(20, 1)));
    expect(keyOf(depthwise(10, 1))).toBe('depthwiseConv2d 128×4 f32 → 128×4 f32 {"weight":[4,1,3,3],"stride":1,"padding":1,"dilation":1}');
  });
});

describe("chooseVariant", () => {
  const node = depthwise(10, 1);
  const choose = (tuned: Record<string, string>, deviceClass = PORTABLE_TRAITS.deviceClass): string =>
    chooseVariant(node.operator, variantJob(node, { ...PORTABLE_TRAITS, deviceClass }), new Map(Object.entries(tuned)));

  it("takes the default of the device's class", () => {
    expect(choose({})).toBe("2 × 8");
    expect(choose({}, "software")).toBe("4 × 16");
    for (const deviceClass of DEVICE_CLASSES) expect(depthwiseConv2d.variants?.(variantJob(node, { ...PORTABLE_TRAITS, deviceClass }) as never)).toContain(choose({}, deviceClass));
  });

  it("takes the tuned one instead, unless there is no such variant", () => {
    expect(choose({ [keyOf(node)]: "2 × 4" })).toBe("2 × 4");
    expect(choose({ [keyOf(node)]: "of an older version" })).toBe("2 × 8");
  });

  it("is empty for an operator that has one way only", () => {
    const builder = new GraphBuilder();
    const x = builder.input("x", { batch: 1, height: 1, width: 1, channels: 4 });
    builder.add("sum", elementwise, [x, x], { operation: "add" });
    const [sum] = builder.build().nodes;
    expect(sum && chooseVariant(sum.operator, variantJob(sum, PORTABLE_TRAITS), new Map([["a", "b"]]))).toBe("");
  });
});
