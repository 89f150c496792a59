import { detectModel } from "../checkpoints/detect.ts";
import { readCheckpoint } from "../checkpoints/read.ts";
import { toFloat32 } from "../checkpoints/tensor.ts";
import { SinterError } from "../errors.ts";
import type { TunedVariants } from "../graph/variants.ts";
import { lazyWeight, type Weight } from "../kernels/weights.ts";
import { type Device, openDevice, type WaitForGpu, wrapDevice } from "../runtime/device.ts";
import { PipelineCache } from "../runtime/pipelines.ts";
import { BASELINES } from "./baselines.ts";
import { maskDifuserRecipe } from "./mask-difuser.ts";
import { Model, type ModelSource } from "./model.ts";
import { reFusionRecipe } from "./refusion.ts";
import { shippedVariants, shippedWeights } from "./shipped.ts";
import type { Task } from "./tasks.ts";

export interface EngineOptions {
  /** A device that the caller opened and keeps; it is not reopened when it is lost. */
  readonly device?: GPUDevice;
  /** WebGPU's entry point; default `navigator.gpu`. */
  readonly gpu?: GPU;
  /** Gets a file of the `weights/` folder; default: fetched from `weights/` beside the page. */
  readonly readWeights?: (file: string) => Promise<Uint8Array>;
  /** Gets the kernel variants that measured best on a GPU (`sinter tune`); default: those of its class of devices. */
  readonly readTuned?: (adapter: Device["adapter"]) => Promise<TunedVariants>;
  /** How to wait for a software adapter; default: as for any other. */
  readonly waitForSoftware?: WaitForGpu;
}

/** A device with what is compiled for it. */
export interface EngineContext {
  readonly device: Device;
  readonly pipelines: PipelineCache;
  readonly tuned: TunedVariants;
}

/** An open GPU on which models are loaded. */
export class Engine {
  #context: EngineContext;
  readonly #gpu: GPU | undefined;
  readonly #readWeights: (file: string) => Promise<Uint8Array>;

  private constructor(device: Device, tuned: TunedVariants, gpu: GPU | undefined, readWeights: (file: string) => Promise<Uint8Array>) {
    this.#context = { device, pipelines: new PipelineCache(device), tuned };
    this.#gpu = gpu;
    this.#readWeights = readWeights;
  }

  /**
   * Opens the GPU.
   *
   * @throws SinterError `NO_WEBGPU` when neither a device nor WebGPU is there, `NO_ADAPTER` when no GPU answers.
   */
  static async open(options: EngineOptions = {}): Promise<Engine> {
    const readWeights = options.readWeights ?? fetchWeights;
    const withTuned = async (device: Device, gpu?: GPU): Promise<Engine> => new Engine(device, (await options.readTuned?.(device.adapter)) ?? new Map(), gpu, readWeights);
    if (options.device) return withTuned(wrapDevice(options.device, options.waitForSoftware));
    const gpu = options.gpu ?? (globalThis.navigator as Navigator | undefined)?.gpu;
    if (!gpu) {
      throw new SinterError("NO_WEBGPU", "WebGPU is not available here.", {
        fix: "In a browser, use a current version on a secure page (https or localhost); in Node, import from sinter/node.",
      });
    }
    return withTuned(await openDevice(gpu, options.waitForSoftware), gpu);
  }

  /** The device in use; after a loss, the one that replaced it. */
  get context(): EngineContext {
    return this.#context;
  }

  /**
   * Opens a new device in place of one that was lost.
   *
   * @returns false when the caller gave the device, so that it cannot be replaced
   */
  async reopen(): Promise<boolean> {
    if (!this.#gpu) return false;
    const device = await openDevice(this.#gpu, this.#context.device.wait);
    this.#context = { ...this.#context, device, pipelines: new PipelineCache(device) };
    return true;
  }

  /**
   * Loads a model: by name its shipped weights (those for the task of each fusion) or a baseline (`BASELINES`), or a checkpoint of one's own, safetensors or PyTorch, as bytes.
   *
   * @throws SinterError `UNKNOWN_MODEL`, `WEIGHTS_NOT_SHIPPED`, or what reading the checkpoint throws.
   */
  async load(source: string | { readonly name: string; readonly bytes: Uint8Array }): Promise<Model> {
    if (typeof source !== "string") {
      const loaded = readModel(source.bytes, source.name);
      return new Model(loaded.model, true, this, async () => loaded);
    }
    const recipe = Object.hasOwn(BASELINES, source) ? BASELINES[source] : undefined;
    if (recipe) {
      const baseline = { name: source, recipe };
      return new Model(source, false, this, async () => baseline);
    }
    const [{ model }] = shippedVariants(source);
    const sources = new Map<string, Promise<ModelSource>>();
    return new Model(model, true, this, async (task: Task) => {
      const { file } = shippedWeights(source, task);
      const known = sources.get(file);
      if (known) return known;
      const reading = this.#readWeights(file).then((bytes) => readModel(bytes, file));
      sources.set(file, reading);
      // So that a failed download can be tried again.
      reading.catch(() => sources.delete(file));
      return reading;
    });
  }

  /** Destroys the device, if the engine opened it. Nothing of the engine may be used afterwards. */
  dispose(): void {
    if (this.#gpu) this.#context.device.gpu.destroy();
  }
}

function readModel(bytes: Uint8Array, name: string): ModelSource & { readonly model: string } {
  const detected = detectModel(readCheckpoint(bytes, name), name);
  const weights = (key: string): Weight => {
    const tensor = detected.tensors.get(key);
    if (!tensor) throw new SinterError("WEIGHTS_MISMATCH", `${name} has no tensor ${key}.`, { where: name });
    return lazyWeight(key, tensor.shape, () => toFloat32(tensor));
  };
  const recipe = detected.model === "refusion" ? reFusionRecipe(weights, detected.config) : maskDifuserRecipe(weights, detected.config);
  return { name, model: detected.model, recipe };
}

async function fetchWeights(file: string): Promise<Uint8Array> {
  const url = `weights/${file}`;
  const response = await fetch(url);
  if (!response.ok) throw new SinterError("WEIGHTS_NOT_FOUND", `${url}: the server answered ${response.status}.`, { where: url });
  return new Uint8Array(await response.arrayBuffer());
}
