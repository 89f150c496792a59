import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { writeSafetensors } from "../../src/checkpoints/safetensors.ts";
import { fromFloat32, type StoredTensor } from "../../src/checkpoints/tensor.ts";
import { maskDifuserFormat } from "../../src/checkpoints/mask-difuser-format.ts";
import { maskDifuserRecipe } from "../../src/fusion/mask-difuser.ts";
import type { FuseOptions, Model, Preview } from "../../src/fusion/model.ts";
import type { Picture } from "../../src/fusion/picture.ts";
import { compileSampling, prepareSteps, runSteps, type SamplingOptions } from "../../src/fusion/sampling.ts";
import { SHIPPED_WEIGHTS } from "../../src/fusion/shipped.ts";
import { type Task, TASKS } from "../../src/fusion/tasks.ts";
import { compile, type Plan } from "../../src/graph/plan.ts";
import { ConstantStore, Session } from "../../src/graph/session.ts";
import { Engine } from "../../src/node.ts";
import type { MaskDifuserConfig } from "../../src/models/mask-difuser/network.ts";
import { hasGoldens } from "../diffusion/golden.ts";
import { openTestGpu, type TestGpu } from "../gpu.ts";
import { c4Model, goldenNchw, goldenTensors, type GoldenModel, largestDifference, syntheticModel, tinyCheckpoint, tinyModel } from "../models/mask-difuser-goldens.ts";

const PUBLISHED_TASKS: Readonly<Record<string, Task>> = { VIF: "infrared-visible", MFF: "multi-focus", Med: "medical" };

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
      const options: SamplingOptions = { task: PUBLISHED_TASKS[type] ?? "infrared-visible", steps, eta, noise };
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
    const fused = await model.fuse({ first: picture("img_a"), second: picture("img_b") }, { task: PUBLISHED_TASKS[type] ?? "medical", reference: true, noise });
    expect(fused).toMatchObject({ width: 53, height: 37, channels: 3 });
    expect(largestDifference(fused.data, picture("png_rgb").data)).toBeLessThanOrEqual(2);
    model.dispose();
  });
});

/** A network small enough to run in a test, in a clone without goldens too. */
const CONFIG = { ...maskDifuserFormat.published, channels: 32, multipliers: [1, 2], attentionLevels: [1], crossAttentionLevels: [0, 1], residualBlocks: 1 };

/** A checkpoint with weights by the rule; `change` may damage it. */
function checkpoint(change: (name: string, data: Float32Array) => Float32Array = (_, data) => data, config: MaskDifuserConfig = CONFIG): Uint8Array {
  const { weights } = syntheticModel(config);
  const tensors = new Map([...maskDifuserFormat.expectedTensors(config)].map(([name, shape]) => [name, fromFloat32(change(name, weights(name).data), shape, "F32")] as const));
  return writeSafetensors({ tensors, metadata: { model: "mask-difuser", config: JSON.stringify(config) } });
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

  it.each([
    ["tail.2.bias", "step 1 of 2", "tail, made by the operator conv2d"],
    ["middleblocks.0.block2.3.bias", "step 1 of 2", "middleblocks.0.\\w+, made by the operator conv2d"],
    ["middleblocks.1.conbine.1.weight", "step 1 of 2", "middleblocks.1, made by the operator groupNorm"],
    // The row of the second of two timesteps.
    ["time_embedding.timembedding.0.weight", "step 2 of 2", "downblocks.0.timed, made by the operator conv2d"],
  ])("names the step whose network output is not finite, and with debug the operator: %s", async (poisoned, step, operator) => {
    const row = (data: Float32Array): Float32Array => data.map((value, i) => (Math.floor(i / CONFIG.channels) === 499 ? NaN : value));
    const damaged = checkpoint((name, data) => (name === poisoned ? (data.length > 1000 ? row(data) : data.map(() => NaN)) : data));
    const broken = await engine.load({ name: "broken.safetensors", bytes: damaged });
    await expect(broken.fuse(pair, { steps: 2 })).rejects.toMatchObject({ code: "NOT_FINITE", message: expect.stringContaining(`values of the network's output in ${step} are not finite`) as string });
    const preview = vi.fn();
    await expect(broken.fuse(pair, { steps: 2, onPreview: preview })).rejects.toMatchObject({ code: "NOT_FINITE" });
    expect(preview).toHaveBeenCalledTimes(step.startsWith("step 1") ? 0 : 1);
    await expect(broken.fuse(pair, { steps: 2, debug: true })).rejects.toMatchObject({ code: "NOT_FINITE", message: expect.stringMatching(`values of ${operator}.* are not finite, in ${step}`) as string });
    broken.dispose();
  });

  it("names an operator before the first step, and changes nothing where all is finite", async () => {
    const damaged = checkpoint((name, data) => (name === "content_encoder.conv.3.bias" ? data.map(() => Infinity) : data));
    const broken = await engine.load({ name: "broken.safetensors", bytes: damaged });
    await expect(broken.fuse(pair, { steps: 2, debug: true })).rejects.toThrow(/values of content_encoder.conv.3\(first\), made by the operator conv2d \(kernel conv2d.*\), are not finite, in what is computed before the first step\./);
    broken.dispose();
    expect((await model.fuse(pair, { steps: 2, debug: true })).data).toEqual((await model.fuse(pair, { steps: 2 })).data);
  });

  it("shows what it sees in the noise after every so many steps but the last", async () => {
    const previews: Preview[] = [];
    const asked = await model.fuse(pair, { steps: 5, previewEvery: 2, onPreview: async (preview) => void previews.push(preview) });
    expect(previews.map(({ step, total }) => [step, total])).toEqual([[2, 5], [4, 5]]);
    for (const { picture } of previews) {
      expect(picture).toMatchObject({ width: 13, height: 9, channels: 3 });
      expect([Math.min(...picture.data), Math.max(...picture.data)]).toEqual([0, 255]);
    }
    expect(asked.data).toEqual((await model.fuse(pair, { steps: 5 })).data);
    // The last step of these ends without noise, so that the estimate after it would be the result.
    const [last] = previews.slice(-1);
    expect(last?.picture.data).not.toEqual(asked.data);
    const every = vi.fn();
    await model.fuse(pair, { steps: 3, onPreview: every });
    expect(every).toHaveBeenCalledTimes(2);
  });

  describe("when the device is lost between steps", () => {
    /** A fusion of five steps whose device is lost before the fourth: its bytes, and the steps it ran. */
    async function interrupted(options: FuseOptions): Promise<{ readonly data: Picture["data"]; readonly steps: number[] }> {
      const own = await Engine.open();
      const other = await own.load({ name: "small.safetensors", bytes: checkpoint() });
      const steps: number[] = [];
      const { gpu } = own.context.device;
      const onProgress: FuseOptions["onProgress"] = ({ phase, done }) => {
        if (phase !== "run") return;
        steps.push(done);
        if (done === 3) gpu.destroy();
      };
      const { data } = await other.fuse(pair, { ...options, steps: 5, onProgress });
      expect(own.context.device.gpu).not.toBe(gpu);
      own.dispose();
      return { data, steps };
    }

    it.each(["ddim", "dpm++"] as const)("starts again from the seed: the same bytes, %s", async (sampler) => {
      const { data, steps } = await interrupted({ sampler });
      expect(data).toEqual((await model.fuse(pair, { sampler, steps: 5 })).data);
      expect(steps.slice(-6)).toEqual([0, 1, 2, 3, 4, 5]);
    });

    it.each(["ddim", "dpm++"] as const)("goes on from the last step that the host has where the run takes minutes: the same bytes, %s", async (sampler) => {
      let now = 0;
      const clock = vi.spyOn(performance, "now").mockImplementation(() => (now += 120_000));
      try {
        const { data, steps } = await interrupted({ sampler });
        expect(data).toEqual((await model.fuse(pair, { sampler, steps: 5 })).data);
        const again = steps.slice(steps.indexOf(3) + 1).filter((done) => done < 5);
        expect(again.length).toBeGreaterThan(0);
        expect(again).not.toContain(0);
      } finally {
        clock.mockRestore();
      }
    });
  });

  it("blends the pictures where the last convolution makes weights: without any, their mean", async () => {
    const config: MaskDifuserConfig = { ...CONFIG, output: "blend", prediction: "x0", crossAttentionLevels: [1], groups: 8, contentChannels: 16, semanticChannels: 32, semanticHeads: 2, semanticLayers: 1, feedForwardChannels: 24 };
    for (const precision of ["f32", "f16"] as const) {
      const zero = await engine.load({ name: "blend.safetensors", bytes: checkpoint((name, data) => (name.startsWith("tail.2") ? data.map(() => 0) : data), config) });
      const fused = await zero.fuse(pair, { steps: 3, precision });
      const mean = Float32Array.from(fused.data, (_, i) => ((grey.data[Math.floor(i / 3)] ?? 0) + (coloured.data[i] ?? 0)) / 2);
      const [low, high] = [Math.min(...mean), Math.max(...mean)];
      expect(largestDifference(fused.data, mean.map((value) => Math.round(((value - low) / (high - low)) * 255)))).toBeLessThanOrEqual(1);
      zero.dispose();
      const other = await engine.load({ name: "blend.safetensors", bytes: checkpoint((_, data) => data, config) });
      expect((await other.fuse(pair, { steps: 3, precision })).data).not.toEqual(fused.data);
      other.dispose();
    }
  });

  it("takes every task, and its default number of steps from the configuration", async () => {
    const short = await engine.load({ name: "short.safetensors", bytes: checkpoint((_, data) => data, { ...CONFIG, steps: 2 }) });
    expect([(await short.plan(pair)).steps, (await short.plan(pair, { steps: 3 })).steps, (await model.plan(pair)).steps]).toEqual([2, 3, 5]);
    const [usual, ...others] = await Promise.all(TASKS.map((task) => short.plan(pair, { task })));
    for (const plan of others) expect(plan.operations).toBe(usual?.operations);
    short.dispose();
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

  const shipped = SHIPPED_WEIGHTS.filter((weights) => weights.model === "mask-difuser");
  it.skipIf(shipped.length > 0)("says that it has no weights of its own", async () => {
    await expect(engine.load("mask-difuser")).rejects.toMatchObject({ code: "WEIGHTS_NOT_SHIPPED", message: "Sinter ships no weights of mask-difuser." });
  });

  it.runIf(shipped.length > 0)("has weights of its own for every task", async () => {
    const own = await engine.load("mask-difuser");
    for (const task of TASKS) {
      const { channels, data } = await own.fuse(pair, { task });
      expect(channels).toBe(3);
      expect([Math.min(...data), Math.max(...data)], task).toEqual([0, 255]);
    }
    own.dispose();
  });
});
