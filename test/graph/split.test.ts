import { beforeAll, describe, expect, it } from "vitest";
import { formatGraph, type Graph, GraphBuilder } from "../../src/graph/graph.ts";
import { compile } from "../../src/graph/plan.ts";
import { ConstantStore, Session } from "../../src/graph/session.ts";
import { splitGraph } from "../../src/graph/split.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const shape = { batch: 1, height: 1, width: 3, channels: 4 };

/** next = x + (a + b)·slice, where only x changes; a + b is an output too. */
function loop(): Graph {
  const builder = new GraphBuilder();
  const [a, b, x] = [builder.input("a", shape), builder.input("b", shape), builder.input("x", shape)];
  const fixed = builder.add("fixed", elementwise, [a, b], { operation: "add" });
  const squared = builder.add("squared", elementwise, [fixed, builder.slice("slice", fixed, 0, 4)], { operation: "multiply" });
  builder.output(builder.add("next", elementwise, [x, squared], { operation: "add" }));
  builder.output(fixed);
  return builder.build();
}

describe("splitGraph", () => {
  it("puts what does not change before the rest", () => {
    const { once, step, shared } = splitGraph(loop(), ["x"]);
    expect(formatGraph(once)).toBe("fixed 1×1×3×4 = elementwise(a, b) operation=add\nsquared 1×1×3×4 = elementwise(fixed, slice) operation=multiply");
    expect(formatGraph(step)).toBe("next 1×1×3×4 = elementwise(x, squared) operation=add");
    expect(shared).toEqual(["squared"]);
    expect(once.outputs.map(({ name }) => name)).toEqual(["fixed", "squared"]);
    expect(step.inputs.map(({ name }) => name)).toEqual(["x", "squared"]);
  });

  it("runs in a loop on the GPU, with the result copied to the input, and keeps what is shared", async () => {
    const { once, step } = splitGraph(loop(), ["x"]);
    const constants = new ConstantStore(gpu.device);
    const [first, second] = (await Promise.all([once, step].map((graph) => Session.create(compile(graph, gpu.device.traits), gpu.device, gpu.pipelines, constants)))) as [Session, Session];
    first.write("a", new Float32Array(12).fill(1));
    first.write("b", Float32Array.from({ length: 12 }, (_, i) => i));
    first.run();
    first.copyTo(second, { squared: "squared" });
    second.write("x", new Float32Array(12));
    for (let i = 0; i < 3; i++) {
      second.run();
      second.copyTo(second, { next: "x" });
    }
    expect([...(await second.read("next"))]).toEqual(Array.from({ length: 12 }, (_, i) => 3 * (i + 1) ** 2));
    expect(() => second.copyTo(second, { next: "y" })).toThrow('cannot copy output "next" to input "y"');
    for (const session of [first, second]) session.dispose();
    constants.dispose();
  });
});
