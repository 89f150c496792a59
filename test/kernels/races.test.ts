import { beforeAll, describe, expect, it, vi } from "vitest";
import { GraphBuilder } from "../../src/graph/graph.ts";
import { compile } from "../../src/graph/plan.ts";
import { channelAttentionWeights } from "../../src/kernels/channel-attention/channel-attention.ts";
import checkSumCode from "../../src/kernels/check-sum/check-sum.wgsl";
import { minMax } from "../../src/kernels/min-max/min-max.ts";
import { PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { randomWeight } from "./operators.ts";
import { findRaces, LANES, type Run, runOf, withConstants } from "./races.ts";

const runs = new Map<string, Run>();
{
  const builder = new GraphBuilder();
  const x = builder.input("x", { batch: 1, height: 2, width: 11, channels: 5 });
  builder.output(builder.add("attention", channelAttentionWeights, [x, x], { heads: 5, temperature: randomWeight("temperature", [5] as const, 1) }));
  builder.output(builder.add("range", minMax, [x], {}));
  for (const dispatch of compile(builder.build(), PORTABLE_TRAITS).dispatches) {
    if (dispatch.code.includes("var<workgroup>")) runs.set(dispatch.kernel.name, runOf(dispatch));
  }
  runs.set("check-sum", { code: withConstants(checkSumCode, { WORKGROUP_SIZE: LANES }), entryPoint: "main", workgroups: [2, 1, 1], bindings: { 0: new ArrayBuffer(4) } });
}

describe("kernels with workgroup memory", () => {
  // It says on stderr that it does not show the value of an atomic.
  beforeAll(() => {
    vi.spyOn(console, "error").mockImplementation(() => {});
  });

  it("are here", () => {
    expect([...runs.keys()]).toEqual(["channel-attention/correlation", "min-max/chunk", "check-sum"]);
  });

  it.each([...runs])("%s has no race", (_, run) => {
    expect(findRaces(run)).toEqual({ races: [], errors: [] });
  });

  it.each([...runs])("%s would have one without its barriers", (_, run) => {
    expect(findRaces({ ...run, code: run.code.replaceAll("workgroupBarrier();", "") }).races.length).toBeGreaterThan(0);
  });
});
