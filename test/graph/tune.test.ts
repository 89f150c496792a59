import { beforeAll, describe, expect, it } from "vitest";
import { type Graph, GraphBuilder } from "../../src/graph/graph.ts";
import { compile } from "../../src/graph/plan.ts";
import { tuneGraphs, tunedVariants } from "../../src/graph/tune.ts";
import { depthwiseConv2d, type DepthwiseConv2dAttributes } from "../../src/kernels/depthwise-conv2d/depthwise-conv2d.ts";
import type { Operator } from "../../src/kernels/kernel.ts";
import { randomWeight } from "../kernels/operators.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** Depthwise convolution that also has a variant with a wrong result and one that does not compile. */
const faulty: Operator<DepthwiseConv2dAttributes> = {
  ...depthwiseConv2d,
  variants: ({ traits }) => (traits.deviceClass === "other" ? ["2 × 8"] : ["wrong", "broken", "2 × 8"]),
  dispatches: (job) =>
    depthwiseConv2d.dispatches({ ...job, variant: "2 × 8" }).map((dispatch) => {
      if (job.variant === "wrong") return { ...dispatch, uniforms: { ...dispatch.uniforms, channels: 1 } };
      return job.variant === "broken" ? { ...dispatch, kernel: { name: "broken", code: `${dispatch.kernel.code}\nfn broken() { return 1; }` } } : dispatch;
    }),
};

function graphOf(operator: Operator<DepthwiseConv2dAttributes>, names: readonly string[]): Graph {
  const builder = new GraphBuilder();
  let x = builder.input("x", { batch: 1, height: 9, width: 7, channels: 8 });
  for (const name of names) {
    x = builder.add(name, operator, [x], { weight: randomWeight(name, [8, 1, 3, 3] as const, 1), stride: 1, padding: 1, dilation: 1 });
  }
  builder.output(x);
  return builder.build();
}

describe("tuneGraphs", () => {
  it("measures each kind of node once and finds every variant right", async () => {
    const progress: number[] = [];
    const [node, ...others] = await tuneGraphs([graphOf(depthwiseConv2d, ["a", "b"])], gpu.device, gpu.pipelines, { onProgress: (done) => progress.push(done) });
    expect(others).toEqual([]);
    expect(progress).toEqual([0, 1]);
    expect(node).toMatchObject({ operator: "depthwiseConv2d", label: "a", count: 2 });
    expect(node?.candidates).toHaveLength(5);
    for (const { error, seconds, rejected } of node?.candidates ?? []) {
      expect(error).toBeLessThan(2e-5);
      expect(seconds).toBeGreaterThanOrEqual(0);
      expect(rejected).toBeUndefined();
    }
    expect(node?.candidates.map(({ variant }) => variant)).toContain(node?.best);
  });

  it("rejects a wrong variant and one that does not compile, and the plan then takes the right one", async () => {
    const graph = graphOf(faulty, ["a"]);
    const nodes = await tuneGraphs([graph], gpu.device, gpu.pipelines);
    expect(nodes[0]).toMatchObject({ standard: "wrong", best: "2 × 8" });
    const [wrong, broken] = nodes[0]?.candidates ?? [];
    expect(wrong?.rejected).toContain("wrong by");
    expect(broken?.rejected).toContain("broken:");
    expect(compile(graph, gpu.device.traits, tunedVariants(nodes)).dispatches.map(({ variant }) => variant)).toEqual(["2 × 8"]);
  });
});
