import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { join } from "node:path";
import { SinterError } from "../src/errors.ts";
import { packageRoot } from "../src/platform/files.ts";
import type { ElementType } from "../src/kernels/tensor.ts";
import type { Device } from "../src/runtime/device.ts";
import type { FirstPicture } from "./first-picture.ts";
import type { Profile } from "./kernel-groups.ts";
import type { Peaks } from "./peaks.ts";
import type { PeerResults } from "./peers.ts";
import type { Size, Workload } from "./workload.ts";
import type { WholeRun } from "./whole-runs.ts";

/** Where and with what a benchmark ran. */
export interface Environment {
  /** ISO 8601, UTC. */
  readonly date: string;
  readonly sinter: string;
  readonly node: string;
  readonly webgpu: string;
  readonly platform: string;
  readonly processor: string;
  readonly threads: number;
  readonly adapter: Device["adapter"];
}

/** Kernels of one part of a network at one size. */
export interface KernelResults extends Profile {
  /** The picture that the shapes are those of. */
  readonly picture: Size;
  /** Rows of it that were measured: fewer where all of them would take too long. */
  readonly rows: number;
}

/** Everything about one network. */
export interface NetworkResults {
  readonly network: Workload["network"];
  readonly title: string;
  readonly weights: string;
  readonly precision: ElementType;
  readonly runs: readonly WholeRun[];
  /** Sizes that would have taken too long. */
  readonly leftOut: readonly Size[];
  /** Of networks whose weights come from a file; absent in results of earlier versions. */
  readonly firstPictures?: readonly FirstPicture[];
  readonly kernels: readonly KernelResults[];
  readonly peers?: PeerResults;
}

/** What `--json` writes. */
export interface Results {
  readonly environment: Environment;
  readonly peaks: Peaks;
  readonly networks: readonly NetworkResults[];
}

export function describeEnvironment({ adapter }: Device): Environment {
  const [processor] = cpus();
  return {
    date: new Date().toISOString(),
    sinter: versionOf(join(packageRoot(), "package.json")),
    node: process.version,
    webgpu: versionOf(createRequire(import.meta.url).resolve("webgpu/package.json")),
    platform: `${process.platform}-${process.arch}`,
    processor: processor?.model ?? "unknown",
    threads: cpus().length,
    adapter,
  };
}

export function versionOf(packageFile: string): string {
  return (JSON.parse(readFileSync(packageFile, "utf8")) as { version?: string }).version ?? "unknown";
}

/** Reads what `--json` wrote earlier. */
export function readResults(file: string): Results {
  try {
    const results = JSON.parse(readFileSync(file, "utf8")) as Partial<Results>;
    if (results.environment && results.peaks && results.networks) return results as Results;
  } catch (cause) {
    throw new SinterError("UNREADABLE_RESULTS", `${file} cannot be read as JSON`, { where: file, cause });
  }
  throw new SinterError("UNREADABLE_RESULTS", `${file} is not a result of this benchmark`, { where: file, fix: "Give a file that --json wrote." });
}
