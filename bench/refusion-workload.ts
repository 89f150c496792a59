import { existsSync, readFileSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { detectModel } from "../src/checkpoints/detect.ts";
import { readCheckpoint } from "../src/checkpoints/read.ts";
import { expectedRefusionTensors, refusionFormat } from "../src/checkpoints/refusion-format.ts";
import { elementCount, toFloat32 } from "../src/checkpoints/tensor.ts";
import { SinterError } from "../src/errors.ts";
import { rewriteAll } from "../src/graph/rewrites.ts";
import type { ElementType } from "../src/kernels/tensor.ts";
import { lazyWeight, type Weight } from "../src/kernels/weights.ts";
import { reFusionGraph } from "../src/models/refusion/network.ts";
import { packageRoot } from "../src/platform/files.ts";
import { scatteredValues } from "./statistics.ts";
import { cacheFolder, type PeerNetwork, type Pictures, randomPicture, type Size, type Workload, writeWeights } from "./workload.ts";

/** @param file safetensors or PyTorch weights; default the shipped ones, or random ones where none are shipped */
export function refusionWorkload(file: string | undefined, elementType: ElementType): Workload {
  const shipped = join(packageRoot(), "weights/refusion-infrared-visible.safetensors");
  const weightsFile = resolve(file ?? (existsSync(shipped) ? shipped : writeRandomWeights()));
  const detected = detectModel(readCheckpoint(readFileSync(weightsFile), weightsFile), weightsFile);
  if (detected.model !== "refusion") {
    throw new SinterError("UNKNOWN_MODEL", `${weightsFile} holds weights of ${detected.model}, not of refusion`, { where: weightsFile });
  }
  const weights = (name: string): Weight => {
    const tensor = detected.tensors.get(name);
    if (!tensor) throw new SinterError("WEIGHTS_MISMATCH", `${weightsFile} has no tensor ${name}`, { where: weightsFile });
    return lazyWeight(name, tensor.shape, () => toFloat32(tensor));
  };
  const { config } = detected;
  const inPackage = relative(packageRoot(), weightsFile);
  const plainGraph = ({ width, height }: Size, type: ElementType) => reFusionGraph(weights, config, { batch: 1, width, height }, type);
  const pictures = ({ width, height }: Size): Pictures => ({ first: randomPicture(width * height, 1), second: randomPicture(width * height, 2) });
  return {
    network: "refusion",
    title: "ReFusion",
    weightsName: inPackage.startsWith("..") ? basename(weightsFile) : inPackage,
    weightsFile,
    elementType,
    multiple: 1,
    parts: (size) => [{ name: "fusion", graph: rewriteAll(plainGraph(size, elementType)) }],
    pictures,
    peer: (size): PeerNetwork => {
      const { width, height } = size;
      const { first, second } = pictures(size);
      const sources = new Float32Array(2 * width * height);
      sources.set(first);
      sources.set(second, width * height);
      const theirWeights = join(cacheFolder(), "refusion.safetensors");
      writeWeights(theirWeights, [...detected.tensors.keys()].map(weights));
      return {
        name: `ReFusion ${width}×${height}`,
        file: `refusion-${width}x${height}.onnx`,
        exportArguments: ["--network", "refusion", "--weights", theirWeights, "--size", `${width}x${height}`],
        graph: rewriteAll(plainGraph(size, "f32")),
        plainGraph: plainGraph(size, "f32"),
        inputs: { first, second },
        theirInputs: { sources: { data: sources, dims: [1, 2, height, width] } },
        outputToOurs: (values) => values,
        heads: config.heads,
      };
    },
  };
}

/** A file of weights of the published configuration, so that the peers can run the same network. */
function writeRandomWeights(): string {
  const shapes = [...expectedRefusionTensors(refusionFormat.published)];
  const weights = shapes.map(([name, shape], i): Weight => {
    const count = elementCount(shape);
    const isOne = /norm\d\.body\.weight$|temperature/.test(name);
    return { name, shape, data: isOne ? new Float32Array(count).fill(1) : scatteredValues(count, i, 1 / Math.sqrt(count / (shape[0] ?? 1))) };
  });
  const file = join(cacheFolder(), "random-weights.safetensors");
  writeWeights(file, weights);
  return file;
}
