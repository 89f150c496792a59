import { type ChildProcess, fork, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SinterError } from "../src/errors.ts";
import { compile } from "../src/graph/plan.ts";
import { ConstantStore, Session } from "../src/graph/session.ts";
import { packageRoot } from "../src/platform/files.ts";
import type { Device } from "../src/runtime/device.ts";
import { PipelineCache } from "../src/runtime/pipelines.ts";
import { describeNode, type KernelGroup } from "./kernel-groups.ts";
import { operatorPair, type OperatorPair } from "./peer-operators.ts";
import { scatteredValues } from "./statistics.ts";
import { versionOf } from "./results.ts";
import { runOnce } from "./whole-runs.ts";
import { cacheFolder, type Size, type Workload } from "./workload.ts";

const OPERATOR_ENGINES = ["onnxruntime-node WebGPU", "onnxruntime-node CPU"] as const;
const NETWORK_ENGINES = [...OPERATOR_ENGINES, "onnxruntime-web wasm"] as const;
type Engine = (typeof NETWORK_ENGINES)[number];

const PACKAGES = ["onnxruntime-node", "onnxruntime-web"] as const;

/** Kernels that take less of the run are not compared. */
const LEAST_SHARE = 0.02;
/** Rounds in which ours and theirs take turns, so that both see the same noise; the shortest counts. */
const NETWORK_ROUNDS = 2;
const OPERATOR_ROUNDS = 3;

/** Whole runs of the network, from pictures in memory to the result in memory on both sides. */
export interface NetworkComparison {
  readonly engine: Engine;
  readonly size: Size;
  readonly oursMilliseconds: number;
  readonly theirsMilliseconds: number;
  /** Largest difference of the outputs over the largest output. */
  readonly error: number;
}

/**
 * One operator: GPU time on both sides for WebGPU, without upload and read-back, and without the peer's conversions of layout
 * (in a whole network there are fewer of them); for the CPU, time of its kernels by the clock.
 */
export interface OperatorComparison {
  readonly name: string;
  readonly shareOfRun: number;
  readonly oursMilliseconds: number;
  readonly webgpuMilliseconds: number;
  readonly cpuMilliseconds: number;
  readonly error: number;
  /** The WebGPU provider's kernels, milliseconds by name. */
  readonly webgpuKernels: Readonly<Record<string, number>>;
}

export interface PeerResults {
  readonly versions: Readonly<Record<string, string>>;
  readonly network: readonly NetworkComparison[];
  readonly operators: readonly OperatorComparison[];
}

const peersFolder = (): string => join(packageRoot(), "bench/peers");

/** @throws SinterError `PEERS_MISSING` with the command that installs them */
export function checkPeers(): void {
  if (PACKAGES.every((name) => existsSync(join(peersFolder(), "node_modules", name)))) return;
  throw new SinterError("PEERS_MISSING", "--peers runs onnxruntime, which is not installed", {
    fix: "Run `npm ci --prefix bench/peers --ignore-scripts` (its script would download CUDA's libraries).",
  });
}

/** Messages to bench/peers/onnxruntime.mjs, one at a time. */
class Peer {
  readonly #child: ChildProcess;

  constructor() {
    const stdio = ["ignore", "ignore", "inherit", "ipc"] as const;
    this.#child = fork(join(peersFolder(), "onnxruntime.mjs"), { serialization: "advanced", stdio: [...stdio] });
  }

  #ask<Answer>(message: object): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const exited = (code: number | null): void => reject(new SinterError("PEER_FAILED", `onnxruntime's process ended with ${code}`));
      this.#child.once("exit", exited);
      this.#child.once("message", ({ ok, error }: { ok?: Answer; error?: string }) => {
        this.#child.off("exit", exited);
        if (ok === undefined) reject(new SinterError("PEER_FAILED", `onnxruntime: ${error}`));
        else resolve(ok);
      });
      this.#child.send(message);
    });
  }

  async load(engine: Engine, file: string, inputs: Readonly<Record<string, PeerTensor>>, profile: boolean): Promise<void> {
    await this.#ask({ type: "load", id: engine, engine, file, inputs, profile });
  }

  async run(engine: Engine): Promise<number> {
    return (await this.#ask<{ milliseconds: number }>({ type: "run", id: engine })).milliseconds;
  }

  async output(engine: Engine): Promise<Float32Array> {
    return (await this.#ask<PeerTensor>({ type: "output", id: engine })).data;
  }

  /** @returns milliseconds by kernel, where the session was profiled */
  async release(engine: Engine): Promise<Record<string, number>> {
    const { kernels = {} } = await this.#ask<{ kernels?: Record<string, number> }>({ type: "release", id: engine });
    return Object.fromEntries(Object.entries(kernels).map(([name, microseconds]) => [name, microseconds / 1000]));
  }

  close(): void {
    this.#child.disconnect();
  }
}

interface PeerTensor {
  readonly data: Float32Array;
  readonly dims: readonly number[];
}

interface Case {
  readonly group: KernelGroup;
  readonly pair: OperatorPair;
  readonly file: string;
}

/**
 * Runs the network and every kernel that takes more than 2 % of it on onnxruntime, taking turns with ours.
 *
 * @param groups our kernels at `size`
 * @param onStep told what runs now
 * @throws SinterError `PEERS_EXPORT` when the ONNX files cannot be made, `PEER_FAILED` when onnxruntime fails
 */
export async function comparePeers(
  workload: Workload,
  size: Size,
  groups: readonly KernelGroup[],
  device: Device,
  python: string,
  onStep: (step: string) => void,
): Promise<PeerResults> {
  checkPeers();
  const folder = join(cacheFolder(), "onnx");
  const cases = operatorCases(workload, size, groups);
  onStep("export to ONNX");
  exportOnnx(workload, size, cases, folder, python);
  const peer = new Peer();
  try {
    const network = await compareNetwork(peer, workload, size, device, folder, onStep);
    const operators: OperatorComparison[] = [];
    for (const operator of cases) {
      onStep(operator.group.name);
      operators.push(await compareOperator(peer, operator, device, folder));
    }
    const versions = PACKAGES.map((name) => [name, versionOf(join(peersFolder(), "node_modules", name, "package.json"))] as const);
    return { versions: Object.fromEntries(versions), network, operators };
  } finally {
    peer.close();
  }
}

function operatorCases(workload: Workload, size: Size, groups: readonly KernelGroup[]): Case[] {
  const { nodes } = workload.graph(size);
  return groups
    .filter(({ shareOfRun }) => shareOfRun > LEAST_SHARE)
    .flatMap((group, i) => {
      const node = nodes.find((candidate) => describeNode(candidate) === group.name);
      const pair = node && operatorPair(node, workload.config.heads);
      return pair ? [{ group, pair, file: `operator-${i}.onnx` }] : [];
    });
}

function exportOnnx(workload: Workload, { width, height }: Size, cases: readonly Case[], folder: string, python: string): void {
  mkdirSync(folder, { recursive: true });
  const list = join(folder, "operators.json");
  writeFileSync(list, JSON.stringify(cases.map(({ pair, file }) => ({ ...pair.theirs, file }))));
  const script = join(peersFolder(), "export_onnx.py");
  const args = [script, "--weights", workload.weightsFile, "--out", folder, "--size", `${width}x${height}`, "--operators", list];
  const { status, stderr, error } = spawnSync(python, args, { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"] });
  if (status === 0) return;
  const reason = error?.message ?? stderr.trim().split("\n").at(-1);
  throw new SinterError("PEERS_EXPORT", `${python} ${script} did not succeed: ${reason}`, {
    fix: "Name a Python that has PyTorch with --python.",
  });
}

async function compareNetwork(
  peer: Peer,
  workload: Workload,
  size: Size,
  device: Device,
  folder: string,
  onStep: (step: string) => void,
): Promise<NetworkComparison[]> {
  const { width, height } = size;
  const pictures = workload.pictures(size);
  const sources = new Float32Array(2 * width * height);
  sources.set(pictures.first);
  sources.set(pictures.second, width * height);
  const inputs = { sources: { data: sources, dims: [1, 2, height, width] } };
  const constants = new ConstantStore(device);
  const session = await Session.create(compile(workload.graph(size), device.traits), device, new PipelineCache(device), constants);
  await runOnce(session, pictures);
  const expected = await session.read("output");
  for (const engine of NETWORK_ENGINES) {
    onStep(`${engine}, first run`);
    await peer.load(engine, join(folder, `refusion-${width}x${height}.onnx`), inputs, false);
    await peer.run(engine);
  }
  const ours: number[] = [];
  const theirs = new Map<Engine, number[]>(NETWORK_ENGINES.map((engine) => [engine, []]));
  for (let round = 1; round <= NETWORK_ROUNDS; round++) {
    onStep(`whole network, round ${round} of ${NETWORK_ROUNDS}`);
    ours.push(await runOnce(session, pictures));
    for (const engine of NETWORK_ENGINES) theirs.get(engine)?.push(await peer.run(engine));
  }
  const comparisons: NetworkComparison[] = [];
  for (const engine of NETWORK_ENGINES) {
    const error = largestDifference(await peer.output(engine), expected);
    await peer.release(engine);
    comparisons.push({ engine, size, oursMilliseconds: Math.min(...ours), theirsMilliseconds: Math.min(...(theirs.get(engine) ?? [])), error });
  }
  session.dispose();
  constants.dispose();
  return comparisons;
}

async function compareOperator(peer: Peer, { group, pair, file }: Case, device: Device, folder: string): Promise<OperatorComparison> {
  const inputs: Record<string, PeerTensor> = {};
  const constants = new ConstantStore(device);
  const session = await Session.create(compile(pair.ours, device.traits), device, new PipelineCache(device), constants);
  Object.entries(pair.theirs.inputs).forEach(([name, dims], i) => {
    const data = scatteredValues(dims.reduce((product, length) => product * length, 1), 100 + i);
    inputs[name] = { data, dims };
    session.write(name, pair.toOurs(name, data));
  });
  session.run();
  const [outputName = ""] = session.plan.outputs.map(({ tensor }) => tensor.name);
  const output = await session.read(outputName);
  for (const engine of OPERATOR_ENGINES) {
    await peer.load(engine, join(folder, file), inputs, true);
    await peer.run(engine);
  }
  const ours: number[] = [];
  await session.profile();
  for (let round = 0; round < OPERATOR_ROUNDS; round++) {
    const times = await session.profile();
    ours.push(times.reduce((sum, { nanoseconds }) => sum + nanoseconds / 1e6, 0));
    for (const engine of OPERATOR_ENGINES) await peer.run(engine);
  }
  const error = largestDifference(pair.outputToOurs(await peer.output(OPERATOR_ENGINES[0])), output);
  const webgpuKernels = await peer.release("onnxruntime-node WebGPU");
  const cpuKernels = await peer.release("onnxruntime-node CPU");
  session.dispose();
  constants.dispose();
  const counted = Object.entries(webgpuKernels).filter(([name]) => !isLayoutChange(name));
  return {
    name: group.name,
    shareOfRun: group.shareOfRun,
    oursMilliseconds: Math.min(...ours),
    webgpuMilliseconds: counted.reduce((sum, [, milliseconds]) => sum + milliseconds, 0),
    cpuMilliseconds: Object.values(cpuKernels).reduce((sum, milliseconds) => sum + milliseconds, 0),
    error,
    webgpuKernels,
  };
}

/**
 * Whether a kernel of the WebGPU provider ("node&operator&kernel") only converts between layouts. The transposes of the exported
 * graph itself are called /Transpose.
 */
const isLayoutChange = (name: string): boolean => name.endsWith("&Transpose") && !name.startsWith("/Transpose");

/** Largest |a − b| over largest |b|. */
function largestDifference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < b.length; i++) {
    difference = Math.max(difference, Math.abs((a[i] ?? 0) - (b[i] ?? 0)));
    largest = Math.max(largest, Math.abs(b[i] ?? 0));
  }
  return difference / largest;
}
