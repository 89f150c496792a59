import { beforeAll, describe, expect, it } from "vitest";
import { type Graph, GraphBuilder } from "../../src/graph/graph.ts";
import { compile } from "../../src/graph/plan.ts";
import { variantJob, variantKey } from "../../src/graph/variants.ts";
import { attention } from "../../src/kernels/attention/attention.ts";
import { conv2d } from "../../src/kernels/conv2d/conv2d.ts";
import { depthwiseConv2d } from "../../src/kernels/depthwise-conv2d/depthwise-conv2d.ts";
import { groupNorm } from "../../src/kernels/group-norm/group-norm.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import { VARIANT_TABLES } from "../../src/kernels/variant-tables.ts";
import { DEVICE_CLASSES, type DeviceTraits, PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openNullGpu, runPlan, type TestGpu } from "../gpu.ts";
import { randomWeight } from "./operators.ts";

let nullGpu: TestGpu;
beforeAll(async () => {
  nullGpu = await openNullGpu();
});

/** Graphs of one node each, one for every line of the tables. */
function singleNodes(type: ElementType): Graph[] {
  const single = (add: (builder: GraphBuilder, input: ReturnType<GraphBuilder["input"]>) => void, height = 5): Graph => {
    const builder = new GraphBuilder();
    add(builder, builder.input("x", { batch: 1, height, width: 7, channels: 20 }, type));
    return builder.build();
  };
  const weight = randomWeight("w", [20, 1, 3, 3] as const, 1);
  const norm = { groups: 5, weight: randomWeight("n", [20] as const, 1), bias: randomWeight("b", [20] as const, 2), epsilon: 1e-5 };
  const sizes = { stride: 1, padding: 1, dilation: 1 };
  return [
    single((builder, x) => builder.output(builder.add("out", conv2d, [x], { weight: randomWeight("c", [12, 20, 3, 3] as const, 1), ...sizes }))),
    single((builder, x) => builder.output(builder.add("out", conv2d, [x], { weight: randomWeight("d", [20, 20, 3, 3] as const, 1), ...sizes })), 40),
    single((builder, x) => builder.output(builder.add("out", conv2d, [x], { weight: randomWeight("p", [12, 20, 1, 1] as const, 1), ...sizes, padding: 0, normalise: { epsilon: 1e-5 } }))),
    single((builder, x) => builder.output(builder.add("out", conv2d, [x], { weight: randomWeight("o", [3, 20, 3, 3] as const, 1), ...sizes }))),
    single((builder, x) => builder.output(builder.add("out", conv2d, [builder.slice("eight", x, 0, 8)], { weight: randomWeight("i", [12, 8, 3, 3] as const, 1), ...sizes }))),
    single((builder, x) => builder.output(builder.add("out", depthwiseConv2d, [x], { weight, ...sizes }))),
    single((builder, x) => builder.output(builder.add("out", depthwiseConv2d, [x, x], { weight, ...sizes, gated: { weight } }))),
    single((builder, x) => builder.output(builder.add("out", groupNorm, [x], norm))),
    single((builder, x) => builder.output(builder.add("out", groupNorm, [x], norm)), 1000),
    single((builder, x) => builder.output(builder.add("out", attention, [x, x, x], { heads: 1, scale: 1 }))),
  ];
}

describe("variants", () => {
  it.each(DEVICE_CLASSES)("of the class %s all compile and run on the null backend, and the default is the table's", async (deviceClass) => {
    for (const type of ["f32", "f16"] as const) {
      for (const graph of singleNodes(type)) {
        const [node] = graph.nodes;
        if (!node) throw new Error("no node");
        const traits: DeviceTraits = { ...PORTABLE_TRAITS, deviceClass, f16: true, subgroupSize: 8 };
        const job = variantJob(node, traits);
        const candidates = node.operator.variants?.(job) ?? [];
        expect(candidates.length).toBeGreaterThan(1);
        const tables = VARIANT_TABLES.filter(({ operator }) => operator === node.operator.name);
        expect(tables.some(({ defaults }) => candidates[0] === defaults[deviceClass] || candidates[0]?.startsWith(`${defaults[deviceClass]}-`))).toBe(true);
        for (const candidate of candidates) {
          const plan = compile(graph, traits, new Map([[variantKey(node.operator, job), candidate]]));
          expect(new Set(plan.dispatches.map(({ variant }) => variant))).toEqual(new Set([candidate]));
          const { height = 0 } = graph.inputs[0]?.shape ?? {};
          await runPlan(nullGpu, plan, { x: new Float32Array(height * 7 * 20) });
        }
      }
    }
  });
});
