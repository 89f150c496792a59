/** Sinter in Node: the portable library, opened through Dawn, with image files, the shipped weights and the variants that `sinter tune` remembered. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Engine as PortableEngine, type EngineOptions } from "./fusion/engine.ts";
import { packageRoot } from "./platform/files.ts";
import { findGpu } from "./platform/gpu.ts";
import { readTuned } from "./platform/tuned.ts";
import { waitQuietly } from "./platform/wait.ts";

export * from "./index.ts";
export { readImage, writeImage, type DecodedImage, type WriteOptions, type WrittenImage } from "./platform/images.ts";

export interface NodeEngineOptions extends Omit<EngineOptions, "device"> {
  /** A part of the adapter's name, such as `llvmpipe`, or a device that the caller opened. */
  readonly device?: string | GPUDevice;
}

/** Reads a file of Sinter's `weights/` folder. */
const readWeights = async (file: string): Promise<Uint8Array> => readFile(join(packageRoot(), "weights", file));

export const Engine = {
  /**
   * Opens the GPU through Dawn.
   *
   * @throws SinterError `NO_WEBGPU_PACKAGE`, `NO_ADAPTER`, `UNKNOWN_DEVICE`, `TUNED_DAMAGED`
   */
  async open({ device, ...options }: NodeEngineOptions = {}): Promise<PortableEngine> {
    if (typeof device === "object") return PortableEngine.open({ readWeights, readTuned, waitForSoftware: waitQuietly, ...options, device });
    return PortableEngine.open({ readWeights, readTuned, waitForSoftware: waitQuietly, ...options, gpu: options.gpu ?? (await findGpu({ device })) });
  },
};

export type Engine = PortableEngine;
