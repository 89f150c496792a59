import { SinterError } from "../errors.ts";
import { compile, type Plan } from "../graph/plan.ts";
import { rewriteAll } from "../graph/rewrites.ts";
import { ConstantStore, Session } from "../graph/session.ts";
import type { ElementType } from "../kernels/tensor.ts";
import type { Device } from "../runtime/device.ts";
import type { Engine } from "./engine.ts";
import type { Picture } from "./picture.ts";
import { checkPair, type Pair, preparePicture, type PreparedPicture, whiteLevel } from "./prepare.ts";
import { type FusionJob, pictureScale, type Recipe } from "./recipe.ts";
import type { Task } from "./tasks.ts";

/** A recipe with its weights, and where they come from. */
export interface ModelSource {
  /** Of the weights' file or the method, for messages. */
  readonly name: string;
  readonly recipe: Recipe;
}

export interface Progress {
  readonly phase: "compile" | "run";
  readonly done: number;
  readonly total: number;
}

export interface FuseOptions {
  /** Default `infrared-visible`. */
  readonly task?: Task;
  /** Element type in which tensors are stored on the GPU; default f32. f16 halves memory and needs the device's feature. */
  readonly precision?: ElementType;
  /** The published pipeline to the letter, for comparing with papers. */
  readonly reference?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  /** Stops between compiling and running; `fuse` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What a fusion took. */
export interface FuseReport {
  readonly seconds: { readonly compile: number; readonly prepare: number; readonly run: number; readonly read: number };
  readonly dispatches: number;
  /** Bytes of GPU memory. */
  readonly peakBytes: number;
}

/** The fused picture in the inputs' number format: 16 bit if either is, float if either is. */
export interface FusedPicture extends Picture {
  /** A network's own output before it is stretched, height × width, 0..1. */
  readonly raw?: Float32Array;
  readonly report: FuseReport;
}

interface Ready {
  readonly key: string;
  readonly device: Device;
  readonly session: Session;
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
   * @throws SinterError `SIZE_MISMATCH`, `NO_F16`, `OUT_OF_MEMORY`, `NOT_FINITE`, `DEVICE_LOST` (after one try on a new device)
   */
  async fuse(pair: Pair, options: FuseOptions = {}): Promise<FusedPicture> {
    checkPair(pair);
    try {
      return await this.#fuseOnce(pair, options);
    } catch (error) {
      if (!(error instanceof SinterError && error.code === "DEVICE_LOST")) throw error;
      this.#ready = undefined;
      this.#constants.clear();
      if (!(await this.#engine.reopen())) throw error;
      return this.#fuseOnce(pair, options);
    }
  }

  /** The plan that `fuse` would run, without allocating anything. */
  async plan(pair: Pair, options: FuseOptions = {}): Promise<Plan> {
    checkPair(pair);
    const scale = pictureScale({ reference: options.reference ?? false });
    const job = this.#job(pair, preparePicture(pair.first, scale), preparePicture(pair.second, scale), options);
    return this.#compile(await this.#source(options.task ?? "infrared-visible"), job);
  }

  dispose(): void {
    this.#ready?.session.dispose();
    this.#ready = undefined;
    for (const { store } of this.#constants.values()) store.dispose();
    this.#constants.clear();
  }

  async #fuseOnce(pair: Pair, options: FuseOptions): Promise<FusedPicture> {
    const { signal } = options;
    const started = performance.now();
    const reference = options.reference ?? false;
    const scale = pictureScale({ reference });
    const first = preparePicture(pair.first, scale);
    const second = preparePicture(pair.second, scale);
    const prepared = performance.now();
    const source = await this.#source(options.task ?? "infrared-visible");
    const session = await this.#session(source, this.#job(pair, first, second, options), options);
    signal?.throwIfAborted();
    const compiled = performance.now();

    options.onProgress?.({ phase: "run", done: 0, total: 1 });
    session.write("first", first.data);
    session.write("second", second.data);
    session.run();
    const [fusedName = ""] = session.plan.outputs.map(({ tensor }) => tensor.name);
    const range = await session.read("range");
    const ran = performance.now();
    if ((range[2] ?? 0) > 0) {
      throw new SinterError("NOT_FINITE", `${range[2]} of ${pair.first.width * pair.first.height} values of the result are not finite.`, {
        where: source.name,
        fix: options.precision === "f16" ? "Use --precision f32." : "The pictures hold infinities, or the weights are damaged.",
      });
    }
    const fused = await session.read(fusedName);
    const raw = session.plan.outputs.some(({ tensor }) => tensor.name === "output") ? await session.read("output") : undefined;
    const channels = first.coloured || second.coloured ? 3 : 1;
    const picture = { width: pair.first.width, height: pair.first.height, channels, data: encode(fused, scale, pair, reference) } as const;
    options.onProgress?.({ phase: "run", done: 1, total: 1 });
    const seconds = {
      compile: (compiled - prepared) / 1000,
      prepare: (prepared - started) / 1000,
      run: (ran - compiled) / 1000,
      read: (performance.now() - ran) / 1000,
    };
    return { ...picture, ...(raw && { raw }), report: { seconds, dispatches: session.plan.dispatches.length, peakBytes: session.plan.peakBytes } };
  }

  #job({ first }: Pair, one: PreparedPicture, two: PreparedPicture, { precision = "f32", reference = false }: FuseOptions): FusionJob {
    if (precision === "f16" && !this.#engine.context.device.traits.f16) {
      throw new SinterError("NO_F16", "The GPU has no 16-bit floats.", { where: "--precision f16", fix: "Use --precision f32." });
    }
    const { width, height } = first;
    return { width, height, firstColoured: one.coloured, secondColoured: two.coloured, elementType: precision, reference };
  }

  #compile({ recipe }: ModelSource, job: FusionJob): Plan {
    return compile(rewriteAll(recipe.graph(job)), this.#engine.context.device.traits);
  }

  async #session(source: ModelSource, job: FusionJob, { onProgress, signal }: FuseOptions): Promise<Session> {
    const { device, pipelines } = this.#engine.context;
    const key = `${source.name} ${JSON.stringify(job)}`;
    if (this.#ready?.key === key && this.#ready.device === device) return this.#ready.session;
    const plan = this.#compile(source, job);
    signal?.throwIfAborted();
    this.#ready?.session.dispose();
    this.#ready = undefined;
    let constants = this.#constants.get(source);
    if (constants?.device !== device) {
      constants = { device, store: new ConstantStore(device) };
      this.#constants.set(source, constants);
    }
    const session = await Session.create(plan, device, pipelines, constants.store, (done, total) => onProgress?.({ phase: "compile", done, total }));
    this.#ready = { key, device, session };
    return session;
  }
}

/** From 0..scale to the inputs' number format. The published program truncates x + 0.499999999, which rounds halves down. */
function encode(fused: Float32Array, scale: number, { first, second }: Pair, reference: boolean): Picture["data"] {
  const levels = [whiteLevel(first), whiteLevel(second)];
  if (levels.includes(1) && !reference) return scale === 1 ? fused : fused.map((value) => value / scale);
  const level = reference ? 255 : Math.max(...levels);
  const factor = level / scale;
  const half = reference ? 0.499999999 : 0.5;
  const data = level === 255 ? new Uint8Array(fused.length) : new Uint16Array(fused.length);
  // A plain loop: `Uint8Array.from` with a function is many times slower.
  for (let i = 0; i < data.length; i++) data[i] = Math.floor(Math.min(scale, Math.max(0, fused[i] ?? 0)) * factor + half);
  return data;
}
