import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SinterError } from "../src/errors.ts";
import type { ElementType } from "../src/kernels/tensor.ts";
import { packageRoot } from "../src/platform/files.ts";
import { cacheFolder } from "../src/platform/tuned.ts";
import type { Size } from "./workload.ts";

/** What first-picture-process.ts is told. */
export interface FirstPictureJob extends Size {
  /** A file of weights. */
  readonly weights: string;
  readonly precision: ElementType;
  /** A part of the adapter's name. */
  readonly device?: string | undefined;
}

/** Milliseconds since the start of its process when the device was open, the weights loaded, the first plan ready to run, the first and the second picture in memory. */
export type FirstPictureMarks = Readonly<Record<"opened" | "loaded" | "compiled" | "first" | "second", number>>;

/** How long it takes from the start of a process to its first picture, in all and in parts. */
export interface FirstPicture extends Size {
  /** `cold`: the driver's shader cache was empty. `warm`: it holds what the cold run left there. */
  readonly start: "cold" | "warm";
  readonly milliseconds: number;
  /** Node, imports, adapter and device. */
  readonly deviceMilliseconds: number;
  readonly weightsMilliseconds: number;
  /** Graph, plan, upload and pipelines; of a diffusion model also what runs before the first step. */
  readonly compileMilliseconds: number;
  /** From upload to read-back; drivers that compile a kernel when it is first run do so here. */
  readonly runMilliseconds: number;
  /** The second picture of the same engine. */
  readonly readyMilliseconds: number;
}

/** Where the driver keeps compiled kernels lies beside the user's other caches or in a folder of its own, and can be named; on Linux only. */
export const CAN_EMPTY_SHADER_CACHE = process.platform === "linux";

/** Where bench/vite.config.ts puts it. */
const PROGRAM = join(packageRoot(), "dist/bench/first-picture-process.js");

/**
 * Times a cold and a warm start, each in a new process. What the system keeps of files in memory is warm either way.
 *
 * @param until by the clock
 * @returns nothing when the cold start was not done in time
 * @throws SinterError `FIRST_PICTURE` when the process fails
 */
export function timeFirstPictures(job: FirstPictureJob, until: number): FirstPicture[] {
  const cache = mkdtempSync(join(tmpdir(), "sinter-shaders-"));
  try {
    const cold = timeFirstPicture(job, "cold", cache, until);
    const warm = cold && timeFirstPicture(job, "warm", cache, until);
    return [cold, warm].filter((row) => row !== undefined);
  } finally {
    rmSync(cache, { recursive: true, force: true });
  }
}

function timeFirstPicture(job: FirstPictureJob, start: FirstPicture["start"], cache: string, until: number): FirstPicture | undefined {
  const left = until - performance.now();
  if (left <= 0) return undefined;
  const { stdout, stderr, status, error } = spawnSync(process.execPath, [PROGRAM, JSON.stringify(job)], {
    encoding: "utf8",
    // Variants that were tuned are no cache of shaders.
    env: { ...process.env, MESA_SHADER_CACHE_DIR: cache, __GL_SHADER_DISK_CACHE_PATH: cache, XDG_CACHE_HOME: cache, SINTER_CACHE: cacheFolder() },
    ...(Number.isFinite(left) && { timeout: left }),
  });
  if ((error as NodeJS.ErrnoException | undefined)?.code === "ETIMEDOUT") return undefined;
  if (status !== 0) throw new SinterError("FIRST_PICTURE", `The process that makes a first picture failed: ${error?.message ?? stderr.trim()}`, { where: PROGRAM });
  const { opened, loaded, compiled, first, second } = JSON.parse(stdout) as FirstPictureMarks;
  const { width, height } = job;
  return {
    width,
    height,
    start,
    milliseconds: first,
    deviceMilliseconds: opened,
    weightsMilliseconds: loaded - opened,
    compileMilliseconds: compiled - loaded,
    runMilliseconds: first - compiled,
    readyMilliseconds: second - first,
  };
}
