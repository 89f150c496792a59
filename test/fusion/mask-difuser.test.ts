import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeSafetensors } from "../../src/checkpoints/safetensors.ts";
import { fromFloat32, type StoredTensor } from "../../src/checkpoints/tensor.ts";
import { maskDifuserFormat } from "../../src/checkpoints/mask-difuser-format.ts";
import { maskDifuserRecipe } from "../../src/fusion/mask-difuser.ts";
import type { FuseOptions, Model } from "../../src/fusion/model.ts";
import type { Picture } from "../../src/fusion/picture.ts";
import { compileSampling, prepareSteps, runSteps, type SamplingOptions } from "../../src/fusion/sampling.ts";
import type { Task } from "../../src/fusion/tasks.ts";
import { compile, type Plan } from "../../src/graph/plan.ts";
import { ConstantStore, Session } from "../../src/graph/session.ts";
import { Engine } from "../../src/node.ts";
import { hasGoldens } from "../diffusion/golden.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { c4Model, goldenNchw, goldenTensors, type GoldenModel, largestDifference, syntheticModel, tinyCheckpoint, tinyModel } from "../models/mask-difuser-goldens.ts";

const TASKS: Readonly<Record<string, Task>> = { VIF: "infrared-visible", MFF: "multi-focus", Med: "medical" };

/** A software adapter takes its time to compile some sixty pipelines. */
const MINUTES = 1_200_000;

let engine: Engine;
beforeAll(async () => {
  engine = await Engine.open();
});
afterAll(() => engine.dispose());

describe.skipIf(!hasGoldens)("Mask-DiFuser's sampler against the published program (needs ../shared/golden)", () => {
  let gpu: TestGpu;
  beforeAll(async () => {
    gpu = await openTestGpu();
  });

  /** Runs the stored cases `NAME` = [steps, eta, type] with their own noise, whole and step by step. */
  async function check(model: GoldenModel, file: string, cases: readonly (readonly [number, number, string])[], key: (step: number, eta: number, type: string) => string, noiseName: (steps: number, k: number) => string): Promise<void> {
    const stored = goldenNchw(file);
    const golden = goldenTensors(file);
    const pair = golden("data_concate");
    const [, height, width] = pair.shape;
    const half = (first: number): Float32Array => Float32Array.from(pair.data.filter((_, i) => Math.floor((i % 6) / 3) * 3 === first), (value) => ((value + 1) / 2) * 255);
    const pictures = { first: half(0), second: half(3) };
    const constants = new ConstantStore(gpu.device);
    const open = (plan: Plan): Promise<Session> => Session.create(plan, gpu.device, gpu.pipelines, constants);
    let ready: { readonly steps: number; readonly step: Session; readonly finish: Session } | undefined;
    for (const [steps, eta, type] of cases) {
      const noise = new Map<string, StoredTensor>();
      for (let k = 0; k <= steps; k++) {
        const tensor = stored.get(noiseName(steps, k));
        if (tensor) noise.set(`noise.${k}`, fromFloat32(tensor.data, tensor.shape, "F32"));
      }
      const options: SamplingOptions = { task: TASKS[type] ?? "infrared-visible", steps, eta, noise };
      const job = maskDifuserRecipe(model.weights, model.config).sample({ width, height, firstColoured: true, secondColoured: true, elementType: "f32", reference: true }, options);
      if (ready?.steps !== steps) {
        const plans = compileSampling(job.graphs(), (graph) => compile(graph, gpu.device.traits));
        ready = { steps, step: await prepareSteps(open, plans, job, pictures), finish: await open(plans.finish) };
      }
      const { step, finish } = ready;
      if (job.start) step.write("sample", job.start);
      await runSteps(step, finish, job);
      const last = golden(`${key(steps, eta, type)}step${steps - 1}.y_out`).data;
      expect(largestDifference(await step.read("next"), last), `${type}, ${steps} steps, eta ${eta}`).toBeLessThanOrEqual(eta === 1 ? 1e-2 : 5e-2);
      // Each step by itself, from the stored result of the one before.
      for (let k = 1; k < (steps === 5 ? steps : 0); k++) {
        step.write("sample", Float32Array.from(golden(`${key(steps, eta, type)}step${k - 1}.y_out`).data));
        for (const [name, data] of Object.entries(job.steps[k] ?? {})) step.write(name, data);
        step.run();
        expect(largestDifference(await step.read("next"), golden(`${key(steps, eta, type)}step${k}.y_out`).data), `${type}, step ${k}`).toBeLessThanOrEqual(5e-3);
      }
    }
    constants.dispose();
  }

  it("follows all trajectories of the small network, and each step of those of five", { timeout: MINUTES }, async () => {
    const cases = [5, 10].flatMap((steps) => [1, 0].flatMap((eta) => ["VIF", "MFF", "Med"].map((type) => [steps, eta, type] as const)));
    await check(tinyModel(), "tiny_ddim.safetensors", cases, (steps, eta, type) => `s${steps}.eta${eta}.${type}.`, (steps, k) => `noise.s${steps}.${k}`);
  });

  it("follows the trajectory of the network of four levels", { timeout: MINUTES }, async () => {
    await check(c4Model(), "c4_ddim.safetensors", [[5, 1, "VIF"]], () => "", (_, k) => `noise.${k}`);
  });

  it.each(["VIF", "Med"])("makes the pixels of the published program from the checkpoint, %s", { timeout: MINUTES }, async (type) => {
    const stored = goldenNchw("tiny_end_to_end.safetensors");
    const picture = (name: string): Picture => ({ width: 53, height: 37, channels: 3, data: Uint8Array.from(stored.get(`${type}.${name}_u8_hwc`)?.data ?? []) });
    const noise = new Map([0, 1, 2, 3, 4, 5].map((k) => {
      const tensor = stored.get(`${type}.noise.${k}`);
      if (!tensor) throw new Error(`no noise ${k}`);
      return [`noise.${k}`, fromFloat32(tensor.data, tensor.shape, "F32")] as const;
    }));
    const model = await engine.load({ name: "mask_difuser_tiny.pth", bytes: tinyCheckpoint() });
    const fused = await model.fuse({ first: picture("img_a"), second: picture("img_b") }, { task: TASKS[type] ?? "medical", reference: true, noise });
    expect(fused).toMatchObject({ width: 53, height: 37, channels: 3 });
    expect(largestDifference(fused.data, picture("png_rgb").data)).toBeLessThanOrEqual(2);
    model.dispose();
  });
});

/** A network small enough to run in a test, in a clone without goldens too. */
const CONFIG = { timesteps: 1000, channels: 32, multipliers: [1, 2], attentionLevels: [1], residualBlocks: 1 };

/** A checkpoint with weights by the rule; `change` may damage it. */
function checkpoint(change: (name: string, data: Float32Array) => Float32Array = (_, data) => data): Uint8Array {
  const { weights } = syntheticModel(CONFIG);
  const tensors = new Map([...maskDifuserFormat.expectedTensors(CONFIG)].map(([name, shape]) => [name, fromFloat32(change(name, weights(name).data), shape, "F32")] as const));
  return writeSafetensors({ tensors, metadata: { model: "mask-difuser", config: JSON.stringify(CONFIG) } });
}

describe("Mask-DiFuser from a checkpoint", () => {
  const grey: Picture = { width: 13, height: 9, channels: 1, data: Uint8Array.from({ length: 117 }, (_, i) => (i * 37) % 256) };
  const coloured: Picture = { width: 13, height: 9, channels: 3, data: Uint8Array.from({ length: 351 }, (_, i) => (i * 53) % 251) };
  const pair = { first: grey, second: coloured };

  let model: Model;
  beforeAll(async () => {
    model = await engine.load({ name: "small.safetensors", bytes: checkpoint() });
  });
  afterAll(() => model.dispose());

  it("makes the same picture from the same seed, another from another, and colour always", async () => {
    const progress: number[] = [];
    const options: FuseOptions = { steps: 3, onProgress: ({ phase, done, total }) => phase === "run" && progress.push(done, total) };
    const one = await model.fuse(pair, options);
    expect(one).toMatchObject({ width: 13, height: 9, channels: 3 });
    expect(progress).toEqual([0, 3, 1, 3, 2, 3, 3, 3]);
    const [again, other, greys] = [
      await model.fuse(pair, { steps: 3, seed: 1 }),
      await model.fuse(pair, { steps: 3, seed: 2 }),
      await model.fuse({ first: grey, second: grey }, { steps: 2 }),
    ];
    expect(again.data).toEqual(one.data);
    expect(other.data).not.toEqual(one.data);
    expect(greys.channels).toBe(3);
    // The result is stretched to the whole range.
    expect([Math.min(...one.data), Math.max(...one.data)]).toEqual([0, 255]);
  });

  it.each(["ddpm", "dpm++"] as const)("samples with %s", async (sampler) => {
    const fused = await model.fuse(pair, { sampler, steps: 3 });
    const ddim = await model.fuse(pair, { steps: 3 });
    expect(fused.data).not.toEqual(ddim.data);
  });

  it("stops between steps", async () => {
    const stop = new AbortController();
    const reason = new Error("enough");
    const fusing = model.fuse(pair, { steps: 5, signal: stop.signal, onProgress: ({ phase, done }) => phase === "run" && done === 2 && stop.abort(reason) });
    await expect(fusing).rejects.toBe(reason);
  });

  it("names the step whose network output is not finite", async () => {
    const damaged = checkpoint((name, data) => (name === "tail.2.bias" ? data.map(() => NaN) : data));
    const broken = await engine.load({ name: "broken.safetensors", bytes: damaged });
    await expect(broken.fuse(pair, { steps: 2 })).rejects.toThrow("values of the network's output in step 1 of 2 are not finite");
    broken.dispose();
  });

  it("says which imported noise is missing or has another size", async () => {
    const tensor = fromFloat32(new Float32Array(3 * 12 * 16), [1, 3, 12, 16], "F32");
    await expect(model.fuse(pair, { steps: 1, noise: new Map() })).rejects.toThrow("The imported noise has no noise.0; expected noise.0 of 1×3×12×16.");
    await expect(model.fuse(pair, { steps: 2, noise: new Map([["noise.0", tensor]]) })).rejects.toThrow("no noise.1");
    await expect(model.fuse({ first: coloured, second: coloured }, { noise: new Map([["noise.0", { ...tensor, shape: [1, 3, 16, 12] }]]) })).rejects.toThrow("noise.0 of 1×3×16×12");
  });

  it("plans without allocating", async () => {
    const [three, six] = [await model.plan(pair, { steps: 3 }), await model.plan(pair, { steps: 6 })];
    expect(six.operations).toBeGreaterThan(1.9 * three.operations - 1e9);
    expect(three.peakBytes).toBeGreaterThan(0);
    expect(three.outputs[0]?.tensor.shape).toEqual({ batch: 1, height: 9, width: 13, channels: 3 });
  });

  it("has no weights of its own yet", async () => {
    await expect(engine.load("mask-difuser")).rejects.toThrow("Sinter ships no weights of mask-difuser.");
  });
});
