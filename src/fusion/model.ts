import { SinterError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { compile, type Plan } from "../graph/plan.ts";
import { rewriteAll } from "../graph/rewrites.ts";
import { ConstantStore, Session, startCompiling } from "../graph/session.ts";
import type { ElementType } from "../kernels/tensor.ts";
import type { Device } from "../runtime/device.ts";
import type { Engine } from "./engine.ts";
import { runChecked } from "./finite.ts";
import type { Picture } from "./picture.ts";
import { checkPair, type Pair, preparePicture, type PreparedPicture, whiteLevel } from "./prepare.ts";
import { type FusionJob, pictureScale, type Recipe } from "./recipe.ts";
import {
  compileSampling,
  compileTiledSampling,
  joinPlans,
  joinTiledPlans,
  type KeptStep,
  prepareSteps,
  prepareTiledSteps,
  runner,
  runSteps,
  type SamplingJob,
  type SamplingOptions,
  type SamplingPlans,
  type SamplingRecipe,
  type StepHooks,
  type TiledSamplingPlans,
} from "./sampling.ts";
import type { Task } from "./tasks.ts";
import { compileTiledRecipe, joinTiledRecipe, runTiledRecipe, SMALLEST_TILE } from "./tiles.ts";

/** A recipe with its weights, and where they come from. */
export interface ModelSource {
  /** Of the weights' file or the method, for messages. */
  readonly name: string;
  readonly recipe: Recipe | SamplingRecipe;
}

export interface Progress {
  readonly phase: "compile" | "run";
  readonly done: number;
  readonly total: number;
}

/** `steps` to `noise` are for diffusion models alone. */
export interface FuseOptions extends Omit<SamplingOptions, "task"> {
  /** Default `infrared-visible`. */
  readonly task?: Task;
  /** Element type in which tensors are stored on the GPU; default f32. f16 halves memory and needs the device's feature. */
  readonly precision?: ElementType;
  /** The published pipeline to the letter, for comparing with papers. */
  readonly reference?: boolean;
  /**
   * Longest side of the overlapping tiles in which a network works, which needs less memory and more time; 64 or more. Without it there are
   * tiles only where a picture does not fit the GPU's memory as a whole.
   */
  readonly tile?: number;
  /**
   * Gets the picture that a diffusion model sees in the noise after steps N, 2N, … but not after the last, finished like the fused
   * picture. The run waits for it; one that starts anew because the GPU was lost gives them again. N is `previewEvery`, 1 by default.
   * Without it nothing is read back between steps.
   */
  readonly onPreview?: (preview: Preview) => void | Promise<void>;
  readonly previewEvery?: number;
  /** Runs operator by operator, many times slower, so that the error `NOT_FINITE` can name the one that made NaN or infinity. */
  readonly debug?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** Stops between compiling and running, and between the steps of a diffusion model; `fuse` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** A picture on the way from noise to the result. */
export interface Preview {
  /** How many of the steps are done. */
  readonly step: number;
  readonly total: number;
  readonly picture: Picture;
}

/** What a fusion took. */
export interface FuseReport {
  readonly seconds: { readonly compile: number; readonly prepare: number; readonly run: number; readonly read: number };
  readonly dispatches: number;
  /** Bytes of GPU memory. */
  readonly peakBytes: number;
  /** Where it was done in tiles: the longest side of one. */
  readonly tile?: number;
}

/** The fused picture in the inputs' number format: 16 bit if either is, float if either is. */
export interface FusedPicture extends Picture {
  /** A network's own output before it is stretched: height × width in 0..1, or of a diffusion model height × width × 3, about −1..1. */
  readonly raw?: Float32Array;
  readonly report: FuseReport;
}

type Pictures = Readonly<Record<"first" | "second", Float32Array>>;

/** What a run gives away to go on from, and where it goes on. */
type Resume = Pick<StepHooks, "onKeep" | "from">;

interface Ready {
  readonly key: string;
  readonly device: Device;
  /** Of a model that is one graph. */
  readonly session?: Session;
  /** Of a diffusion model, whose sessions are opened one after the other to save memory. */
  readonly plans?: SamplingPlans;
  readonly tiledPlans?: TiledSamplingPlans;
}

/** A session whose outputs are the fused picture and its range, and what it took to get there. */
interface Finished {
  readonly session: Session;
  /** Whether the session is to be disposed of once it is read. */
  readonly temporary: boolean;
  readonly dispatches: number;
  readonly peakBytes: number;
  readonly tile?: number;
  /** When compiling was done. */
  readonly compiled: number;
}

/** A model with its weights. The plan of the last picture size stays on the GPU, so that pictures of one size cost only their run. */
export class Model {
  /** The model's name, as `Engine.load` takes it and `detectModel` finds it. */
  readonly name: string;
  /** False for a baseline, which is a formula. */
  readonly hasWeights: boolean;
  readonly #engine: Engine;
  readonly #source: (task: Task) => Promise<ModelSource>;
  readonly #constants = new Map<ModelSource, { device: Device; store: ConstantStore }>();
  /** Tiles of kinds of fusion that do not fit the memory whole. */
  readonly #tiles = new Map<string, number>();
  #ready: Ready | undefined;

  constructor(name: string, hasWeights: boolean, engine: Engine, source: (task: Task) => Promise<ModelSource>) {
    this.name = name;
    this.hasWeights = hasWeights;
    this.#engine = engine;
    this.#source = source;
  }

  /**
   * Fuses a pair.
   *
   * @throws SinterError `SIZE_MISMATCH`, `NOT_A_DIFFUSION_MODEL`, `NO_F16`, `OUT_OF_MEMORY`, `NOT_FINITE`, `DEVICE_LOST` (after one try on a new device)
   */
  async fuse(pair: Pair, options: FuseOptions = {}): Promise<FusedPicture> {
    checkPair(pair);
    let kept: KeptStep | undefined;
    const onKeep = (step: KeptStep): void => {
      kept = step;
    };
    try {
      return await this.#fuseOnce(pair, options, { onKeep });
    } catch (error) {
      if (!(error instanceof SinterError && error.code === "DEVICE_LOST")) throw error;
      this.#ready = undefined;
      this.#constants.clear();
      if (!(await this.#engine.reopen())) throw error;
      return this.#fuseOnce(pair, options, { from: kept });
    }
  }

  /** The plan that `fuse` would run, without allocating anything; `operations` are those of all steps of a diffusion model. */
  async plan(pair: Pair, options: FuseOptions = {}): Promise<Plan & { readonly steps?: number }> {
    const { job, recipe, task, name } = await this.#prepare(pair, options);
    const build = (graph: Graph): Plan => this.#compile(graph);
    return this.#inTiles(name, job, recipe, options, (tile) => {
      if (!("sample" in recipe)) {
        const tiled = tile !== undefined && recipe.tiles?.(job);
        return tiled ? joinTiledRecipe(compileTiledRecipe(tiled, tile, build)) : build(rewriteAll(recipe.graph(job)));
      }
      const sampling = recipe.sample(job, { ...options, task });
      const steps = sampling.steps.length;
      return tile === undefined ? joinPlans(compileSampling(sampling.graphs(), build), steps) : joinTiledPlans(compileTiledSampling(sampling.tiles(), tile, build), steps);
    });
  }

  /** The graphs that `fuse` would run, of which `sinter tune` measures the operators. */
  async graphs(pair: Pair, options: FuseOptions = {}): Promise<Graph[]> {
    const { job, recipe, task } = await this.#prepare(pair, options);
    if (!("sample" in recipe)) return [rewriteAll(recipe.graph(job))];
    const { once, step, finish } = recipe.sample(job, { ...options, task }).graphs();
    return [once, step, finish];
  }

  async #prepare(pair: Pair, options: FuseOptions): Promise<{ job: FusionJob; recipe: ModelSource["recipe"]; task: Task; name: string }> {
    checkPair(pair);
    const scale = pictureScale({ reference: options.reference ?? false });
    const job = this.#job(pair, preparePicture(pair.first, scale), preparePicture(pair.second, scale), options);
    const task = options.task ?? "infrared-visible";
    const { recipe, name } = await this.#source(task);
    checkSampling(recipe, options, name);
    return { job, recipe, task, name };
  }

  dispose(): void {
    this.#ready?.session?.dispose();
    this.#ready = undefined;
    for (const { store } of this.#constants.values()) store.dispose();
    this.#constants.clear();
  }

  async #fuseOnce(pair: Pair, options: FuseOptions, resume: Resume): Promise<FusedPicture> {
    const started = performance.now();
    const reference = options.reference ?? false;
    const scale = pictureScale({ reference });
    const first = preparePicture(pair.first, scale);
    const second = preparePicture(pair.second, scale);
    const prepared = performance.now();
    const task = options.task ?? "infrared-visible";
    const source = await this.#source(task);
    const { recipe } = source;
    checkSampling(recipe, options, source.name);
    const job = this.#job(pair, first, second, options);
    const pictures = { first: first.data, second: second.data };
    const rounding = !reference ? "half-up" : "sample" in recipe ? recipe.rounding : "truncate";
    const readPicture = async (session: Session): Promise<Picture> => {
      const [tensor] = session.plan.outputs.map((output) => output.tensor);
      const fused = await session.read(tensor?.name ?? "");
      const { width, height } = pair.first;
      return { width, height, channels: tensor?.shape.channels === 3 ? 3 : 1, data: encode(fused, scale, pair, rounding) };
    };
    const { session, compiled, temporary, ...report } = await this.#inTiles(source.name, job, recipe, options, (tile) =>
      "sample" in recipe
        ? this.#sample(source, job, recipe.sample(job, { ...options, task }), pictures, options, readPicture, resume, tile)
        : tile === undefined
          ? this.#runOnce(source, job, recipe, pictures, options)
          : this.#runTiles(source, job, recipe, pictures, options, tile),
    );
    try {
      const range = await session.read("range");
      const ran = performance.now();
      if ((range[2] ?? 0) > 0) {
        throw new SinterError("NOT_FINITE", `${range[2]} of ${pair.first.width * pair.first.height} values of the result are not finite.`, {
          where: source.name,
          fix: options.precision === "f16" ? "Use --precision f32." : "The pictures hold infinities, or the weights are damaged.",
        });
      }
      const picture = await readPicture(session);
      const raw = session.plan.outputs.some(({ tensor }) => tensor.name === "output") ? await session.read("output") : undefined;
      if (!("sample" in recipe) && report.tile === undefined) options.onProgress?.({ phase: "run", done: 1, total: 1 });
      const seconds = {
        compile: (compiled - prepared) / 1000,
        prepare: (prepared - started) / 1000,
        run: (ran - compiled) / 1000,
        read: (performance.now() - ran) / 1000,
      };
      return { ...picture, ...(raw && { raw }), report: { seconds, ...report } };
    } finally {
      if (temporary) session.dispose();
    }
  }

  /** A model that is one graph. */
  async #runOnce(source: ModelSource, job: FusionJob, recipe: Recipe, pictures: Pictures, options: FuseOptions): Promise<Finished> {
    const key = `${source.name} ${JSON.stringify(job)}`;
    const session = this.#isReady(key)?.session ?? (await this.#openRecipe(source, key, job, recipe, options));
    options.signal?.throwIfAborted();
    const compiled = performance.now();
    options.onProgress?.({ phase: "run", done: 0, total: 1 });
    for (const [name, data] of Object.entries(pictures)) session.write(name, data);
    if (options.debug) await runChecked(session, "the only run");
    else session.run();
    return { session, temporary: false, compiled, dispatches: session.plan.dispatches.length, peakBytes: session.plan.peakBytes };
  }

  /** A model that is one graph, in tiles. */
  async #runTiles(source: ModelSource, job: FusionJob, recipe: Recipe, pictures: Pictures, { onProgress, signal, debug = false }: FuseOptions, tile: number): Promise<Finished> {
    const tiled = recipe.tiles?.(job);
    if (!tiled) throw noTiles(source.name);
    const plans = compileTiledRecipe(tiled, tile, (graph) => this.#compile(graph));
    signal?.throwIfAborted();
    this.#ready?.session?.dispose();
    this.#ready = undefined;
    let compiled: number | undefined;
    const session = await runTiledRecipe(plans, pictures, {
      // Kernels compile when their plan is opened; all of them are once the first tile has run.
      open: (plan) => this.#open(source, plan, compiled === undefined ? onProgress : undefined),
      run: runner(debug, "the only run"),
      onTile: (done, total) => {
        compiled ??= performance.now();
        onProgress?.({ phase: "run", done, total });
        signal?.throwIfAborted();
      },
    });
    const { dispatches, peakBytes } = joinTiledRecipe(plans);
    return { session, temporary: true, compiled: compiled ?? performance.now(), dispatches: dispatches.length, peakBytes, tile };
  }

  async #openRecipe(source: ModelSource, key: string, job: FusionJob, recipe: Recipe, { onProgress, signal }: FuseOptions): Promise<Session> {
    const plan = this.#compile(rewriteAll(recipe.graph(job)));
    signal?.throwIfAborted();
    this.#ready?.session?.dispose();
    this.#ready = undefined;
    const session = await this.#open(source, plan, onProgress);
    this.#ready = { key, device: this.#engine.context.device, session };
    return session;
  }

  /** A diffusion model. */
  async #sample(
    source: ModelSource,
    job: FusionJob,
    sampling: SamplingJob,
    pictures: Pictures,
    { onProgress, onPreview, previewEvery, signal, debug }: FuseOptions,
    readPicture: (finish: Session) => Promise<Picture>,
    resume: Resume,
    tile: number | undefined,
  ): Promise<Finished> {
    const total = sampling.steps.length;
    const key = `${source.name} ${JSON.stringify(job)}, ${total} steps, ${sampling.start ? "imported" : "made"} noise, ${tile ?? "no"} tiles`;
    const ready = this.#isReady(key);
    // Kernels compile while other graphs are compiled, and those of a step while what comes before it runs.
    const build = (graph: Graph): Plan => {
      const plan = this.#compile(graph);
      startCompiling(plan, this.#engine.context.pipelines);
      return plan;
    };
    const tiled = tile === undefined ? undefined : (ready?.tiledPlans ?? compileTiledSampling(sampling.tiles(), tile, build));
    const whole = tiled ? undefined : (ready?.plans ?? compileSampling(sampling.graphs(), build));
    this.#ready = { key, device: this.#engine.context.device, ...(whole && { plans: whole }), ...(tiled && { tiledPlans: tiled }) };
    signal?.throwIfAborted();
    let running = false;
    const open = (plan: Plan): Promise<Session> => this.#open(source, plan, running ? undefined : onProgress);
    const step = tiled ? await prepareTiledSteps(open, tiled, sampling, pictures, debug, signal) : await prepareSteps(open, whole as SamplingPlans, sampling, pictures, debug);
    let finish: Session | undefined;
    try {
      const finishing = await open((tiled ?? (whole as SamplingPlans)).finish);
      running = true;
      finish = finishing;
      const compiled = performance.now();
      await runSteps(step, finishing, sampling, {
        ...resume,
        signal,
        debug,
        previewEvery,
        onStep: (done) => onProgress?.({ phase: "run", done, total }),
        onPreview: onPreview && (async (done) => onPreview({ step: done, total, picture: await readPicture(finishing) })),
      });
      const { dispatches, peakBytes } = tiled ? joinTiledPlans(tiled, total) : joinPlans(whole as SamplingPlans, total);
      return { session: finishing, temporary: true, compiled, dispatches: dispatches.length, peakBytes, ...(tile !== undefined && { tile }) };
    } catch (error) {
      finish?.dispose();
      throw error;
    } finally {
      step.dispose();
    }
  }

  /**
   * Does a piece of work whole, or where that does not fit the memory with the longest tiles that do; with the tiles asked for, if any are.
   *
   * @throws SinterError `NO_TILES` when they are asked of a formula
   */
  async #inTiles<Result>(name: string, job: FusionJob, recipe: ModelSource["recipe"], options: FuseOptions, attempt: (tile: number | undefined) => Result | Promise<Result>): Promise<Result> {
    const canTile = "sample" in recipe || recipe.tiles !== undefined;
    if (options.tile !== undefined && !canTile) throw noTiles(name);
    const key = `${name} ${JSON.stringify(job)}`;
    let tile = options.tile ?? this.#tiles.get(key);
    for (;;) {
      try {
        const result = await attempt(tile);
        if (tile !== undefined && options.tile === undefined) this.#tiles.set(key, tile);
        return result;
      } catch (error) {
        if (!(error instanceof SinterError && error.code === "OUT_OF_MEMORY") || options.tile !== undefined || !canTile) throw error;
        const shorter = Math.floor(((tile ?? Math.max(job.width, job.height)) * 3) / 4 / 16) * 16;
        if (shorter < SMALLEST_TILE) throw error;
        tile = shorter;
      }
    }
  }

  #job({ first }: Pair, one: PreparedPicture, two: PreparedPicture, { precision = "f32", reference = false }: FuseOptions): FusionJob {
    if (precision === "f16" && !this.#engine.context.device.traits.f16) {
      throw new SinterError("NO_F16", "The GPU has no 16-bit floats.", { where: "--precision f16", fix: "Use --precision f32." });
    }
    const { width, height } = first;
    return { width, height, firstColoured: one.coloured, secondColoured: two.coloured, elementType: precision, reference };
  }

  #compile(graph: Graph): Plan {
    const { device, tuned } = this.#engine.context;
    return compile(graph, device.traits, tuned);
  }

  /** What is kept of the last fusion, where it was of the same kind on the same device. */
  #isReady(key: string): Ready | undefined {
    return this.#ready?.key === key && this.#ready.device === this.#engine.context.device ? this.#ready : undefined;
  }

  async #open(source: ModelSource, plan: Plan, onProgress: FuseOptions["onProgress"]): Promise<Session> {
    const { device, pipelines } = this.#engine.context;
    let constants = this.#constants.get(source);
    if (constants?.device !== device) {
      constants = { device, store: new ConstantStore(device) };
      this.#constants.set(source, constants);
    }
    return Session.create(plan, device, pipelines, constants.store, (done, total) => onProgress?.({ phase: "compile", done, total }));
  }
}

const noTiles = (name: string): SinterError =>
  new SinterError("NO_TILES", `${name} is a formula, which needs little memory: it has no tiles.`, { where: "--tile", fix: "Leave out --tile." });

/** The options for diffusion models alone, with their flags on the command line. */
const SAMPLING_OPTIONS = [
  ["steps", "steps"],
  ["sampler", "sampler"],
  ["eta", "eta"],
  ["seed", "seed"],
  ["noise", "noise"],
  ["previewEvery", "preview-every"],
] as const;

/** @throws SinterError `NOT_A_DIFFUSION_MODEL` when sampling is asked of a model that does not sample. */
function checkSampling(recipe: ModelSource["recipe"], options: FuseOptions, name: string): void {
  const asked = SAMPLING_OPTIONS.filter(([option]) => options[option] !== undefined).map(([, flag]) => flag);
  if ("sample" in recipe || asked.length === 0) return;
  throw new SinterError("NOT_A_DIFFUSION_MODEL", `${name} does not sample from noise, so it takes no ${asked.join(", ")}.`, {
    fix: `Leave out ${asked.map((flag) => `--${flag}`).join(", ")}.`,
  });
}

/**
 * From 0..scale to the inputs' number format. Published programs write 8 bit: ReFusion's truncates x + 0.499999999, which rounds halves
 * down (`truncate`), Mask-DiFuser's rounds halves to even.
 */
function encode(fused: Float32Array, scale: number, { first, second }: Pair, rounding: "half-up" | "truncate" | "half-even"): Picture["data"] {
  const levels = [whiteLevel(first), whiteLevel(second)];
  if (levels.includes(1) && rounding === "half-up") return scale === 1 ? fused : fused.map((value) => value / scale);
  const level = rounding === "half-up" ? Math.max(...levels) : 255;
  const factor = level / scale;
  const half = rounding === "truncate" ? 0.499999999 : 0.5;
  const data = level === 255 ? new Uint8Array(fused.length) : new Uint16Array(fused.length);
  // A plain loop: `Uint8Array.from` with a function is many times slower.
  for (let i = 0; i < data.length; i++) {
    const value = Math.min(scale, Math.max(0, fused[i] ?? 0)) * factor;
    const rounded = Math.floor(value + half);
    data[i] = rounding === "half-even" && rounded - value === 0.5 && rounded % 2 === 1 ? rounded - 1 : rounded;
  }
  return data;
}
