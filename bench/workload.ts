import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { detectModel } from "../src/checkpoints/detect.ts";
import { readCheckpoint } from "../src/checkpoints/read.ts";
import { expectedRefusionTensors, refusionFormat, type RefusionConfig } from "../src/checkpoints/refusion-format.ts";
import { writeSafetensors } from "../src/checkpoints/safetensors.ts";
import { elementCount, fromFloat32, toFloat32 } from "../src/checkpoints/tensor.ts";
import { SinterError } from "../src/errors.ts";
import type { Graph } from "../src/graph/graph.ts";
import { rewriteAll } from "../src/graph/rewrites.ts";
import type { Weight } from "../src/kernels/weights.ts";
import { reFusionGraph } from "../src/models/refusion/network.ts";
import { packageRoot } from "../src/platform/files.ts";
import { scatteredValues } from "./statistics.ts";

export interface Size {
  readonly width: number;
  readonly height: number;
}

export const formatSize = ({ width, height }: Size): string => `${width}×${height}`;

export const cacheFolder = (): string => join(packageRoot(), ".cache/bench");

/** ReFusion's network with the weights of one file. */
export interface Workload {
  readonly weightsFile: string;
  /** For reports: the file's path within the package, or else its name. */
  readonly weightsName: string;
  readonly config: RefusionConfig;
  /** The network as it runs, after all rewrites: inputs `first` and `second`, output `output`. */
  graph(size: Size): Graph;
  /** Pictures as luma in 0..1, random. */
  pictures(size: Size): { readonly first: Float32Array; readonly second: Float32Array };
}

/** @param file safetensors or PyTorch weights; default the shipped ones, or random ones where none are shipped */
export function loadWorkload(file: string | undefined): Workload {
  const shipped = join(packageRoot(), "weights/refusion-infrared-visible.safetensors");
  const weightsFile = resolve(file ?? (existsSync(shipped) ? shipped : writeRandomWeights()));
  const detected = detectModel(readCheckpoint(readFileSync(weightsFile), weightsFile), weightsFile);
  if (detected.model !== "refusion") {
    throw new SinterError("UNKNOWN_MODEL", `${weightsFile} holds weights of ${detected.model}, not of refusion`, { where: weightsFile });
  }
  const weights = (name: string): Weight => {
    const tensor = detected.tensors.get(name);
    if (!tensor) throw new SinterError("WEIGHTS_MISMATCH", `${weightsFile} has no tensor ${name}`, { where: weightsFile });
    return { name, shape: tensor.shape, data: toFloat32(tensor) };
  };
  const { config } = detected;
  const inPackage = relative(packageRoot(), weightsFile);
  return {
    weightsFile,
    weightsName: inPackage.startsWith("..") ? basename(weightsFile) : inPackage,
    config,
    graph: ({ width, height }) => rewriteAll(reFusionGraph(weights, config, { batch: 1, width, height })),
    pictures: ({ width, height }) => ({
      first: scatteredValues(width * height, 1, 0.5).map((value) => value + 0.5),
      second: scatteredValues(width * height, 2, 0.5).map((value) => value + 0.5),
    }),
  };
}

/** A file of weights of the published configuration, so that the peers can run the same network. */
function writeRandomWeights(): string {
  const shapes = [...expectedRefusionTensors(refusionFormat.published)];
  const tensors = shapes.map(([name, shape], i) => {
    const count = elementCount(shape);
    const values = /norm\d\.body\.weight$|temperature/.test(name)
      ? new Float32Array(count).fill(1)
      : scatteredValues(count, i, 1 / Math.sqrt(count / (shape[0] ?? 1)));
    return [name, fromFloat32(values, shape, "F32")] as const;
  });
  const file = join(cacheFolder(), "random-weights.safetensors");
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, writeSafetensors({ tensors: new Map(tensors), metadata: {} }));
  return file;
}
