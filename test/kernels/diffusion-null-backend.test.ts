import { describe, expect, it } from "vitest";
import { maskDifuserFormat } from "../../src/checkpoints/mask-difuser-format.ts";
import { maskDifuserRecipe } from "../../src/fusion/mask-difuser.ts";
import { compileSampling } from "../../src/fusion/sampling.ts";
import { GraphBuilder } from "../../src/graph/graph.ts";
import { compile } from "../../src/graph/plan.ts";
import { variantJob, variantKey } from "../../src/graph/variants.ts";
import { globalPool } from "../../src/kernels/global-pool/global-pool.ts";
import { groupNorm } from "../../src/kernels/group-norm/group-norm.ts";
import { PORTABLE_TRAITS } from "../../src/runtime/device.ts";
import { openNullGpu, runPlan } from "../gpu.ts";
import type { MaskDifuserConfig } from "../../src/models/mask-difuser/network.ts";
import { syntheticModel } from "../models/mask-difuser-goldens.ts";
import { randomWeight } from "./operators.ts";
import { findRaces, runOf } from "./races.ts";

const CONFIG = { ...maskDifuserFormat.published, channels: 32, multipliers: [1, 2], attentionLevels: [1], crossAttentionLevels: [0, 1], residualBlocks: 1 };

function plans(elementType: "f32" | "f16", changes: Partial<MaskDifuserConfig>) {
  const { weights, config } = syntheticModel({ ...CONFIG, ...changes });
  const size = { width: 13, height: 9, firstColoured: true, secondColoured: false };
  const job = maskDifuserRecipe(weights, config).sample({ ...size, elementType, reference: false }, { task: "infrared-visible", steps: 2 });
  return compileSampling(job.graphs(), (graph) => compile(graph, { ...PORTABLE_TRAITS, f16: true }));
}

describe("Mask-DiFuser's plans", () => {
  it.each(["f32", "f16"] as const)("pass Dawn's null backend with WebGPU's default limits, in %s", async (elementType) => {
    const gpu = await openNullGpu();
    for (const changes of [{}, { output: "blend", prediction: "x0", crossAttentionLevels: [1], groups: 8, contentChannels: 16, semanticChannels: 32, semanticHeads: 2 }] as const) {
      const { once, held, step, finish } = plans(elementType, changes);
      for (const plan of [once, held, step, finish]) await runPlan(gpu, plan, {});
    }
  });
});

describe("kernels with workgroup memory", () => {
  const builder = new GraphBuilder();
  const x = builder.input("x", { batch: 1, height: 2, width: 11, channels: 5 });
  const [weight, bias] = [randomWeight("weight", [5] as const, 1), randomWeight("bias", [5] as const, 2)];
  builder.output(builder.add("norm", groupNorm, [x], { groups: 1, weight, bias, epsilon: 1e-5 }));
  builder.output(builder.add("pool", globalPool, [x], { operation: "mean" }));
  const graph = builder.build();
  const [norm] = graph.nodes;
  if (!norm) throw new Error("no node");
  const job = variantJob(norm, PORTABLE_TRAITS);
  // In one dispatch, and in passes.
  const variants = norm.operator.variants?.(job) ?? [];
  const dispatches = variants
    .flatMap((variant) => compile(graph, PORTABLE_TRAITS, new Map([[variantKey(norm.operator, job), variant]])).dispatches)
    .filter(({ code }) => code.includes("var<workgroup>"));
  const shared = [...new Map(dispatches.map((dispatch) => [dispatch.kernel.name, dispatch])).values()];

  it("are here", () => {
    expect(shared.map(({ kernel }) => kernel.name)).toEqual(["group-norm/whole", "global-pool/chunk", "group-norm/statistics", "group-norm/merge"]);
  });

  // Attention's lanes are columns and groups of a fixed number; the interpreter's few lanes are not.
  it.each(shared.map((dispatch) => [dispatch.kernel.name, dispatch] as const))("%s has no race, and one without its barriers", (_, dispatch) => {
    const run = runOf(dispatch);
    expect(findRaces(run)).toEqual({ races: [], errors: [] });
    expect(findRaces({ ...run, code: run.code.replaceAll("workgroupBarrier();", "") }).races.length).toBeGreaterThan(0);
  });
});
