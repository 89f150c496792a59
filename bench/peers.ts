import { type ChildProcess, fork, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { SinterError } from "../src/errors.ts";
import type { Graph, Tensor } from "../src/graph/graph.ts";
import { compile } from "../src/graph/plan.ts";
import { ConstantStore, Session } from "../src/graph/session.ts";
import { packageRoot } from "../src/platform/files.ts";
import type { Device } from "../src/runtime/device.ts";
import { PipelineCache } from "../src/runtime/pipelines.ts";
import { describeNode, fullSize } from "./kernel-groups.ts";
import { operatorPair, type OperatorPair } from "./peer-operators.ts";
import { scatteredValues } from "./statistics.ts";
import { versionOf } from "./results.ts";
import { runOnce } from "./whole-runs.ts";
import { cacheFolder, type PeerNetwork, type PeerTensor, type Size } from "./workload.ts";

const TENSORFLOW = "TensorFlow.js WebGPU";
const NETWORK_ENGINES = ["onnxruntime-node WebGPU", "onnxruntime-node CPU", "onnxruntime-web WebGPU", "onnxruntime-web wasm", TENSORFLOW] as const;
type Engine = (typeof NETWORK_ENGINES)[number];

const PACKAGES = ["onnxruntime-node", "onnxruntime-web", "@tensorflow/tfjs-backend-webgpu"] as const;

/** Kernels that take less of the run are not compared. */
const LEAST_SHARE = 0.01;
/** Rounds in which ours and theirs take turns, so that both see the same noise; the shortest counts. */
const NETWORK_ROUNDS = 2;
/** An operator takes so many turns, if they fit into so many milliseconds: of short ones most are disturbed by something. */
const OPERATOR_ROUNDS = 30;
const OPERATOR_MILLISECONDS = 4000;
const LEAST_OPERATOR_ROUNDS = 3;
/** Milliseconds before each run, in which the threads of the engine that ran before stop waiting for more work: they spin. */
const PAUSE = 20;

/** Whole runs of the network, from its inputs in memory to the result in memory on both sides. */
export interface NetworkComparison {
  readonly name: string;
  readonly engine: Engine;
  readonly size: Size;
  readonly oursMilliseconds: number;
  readonly theirsMilliseconds: number;
  /**
   * Time of all threads of the process, the least of all runs: of a software adapter it is the work itself, and hardly depends on what
   * else the machine does.
   */
  readonly oursProcessorMilliseconds: number;
  readonly theirsProcessorMilliseconds: number;
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

/** An engine that could not run a network. */
export interface PeerFailure {
  readonly name: string;
  readonly engine: Engine;
  readonly reason: string;
}

export interface PeerResults {
  readonly versions: Readonly<Record<string, string>>;
  readonly failures: readonly PeerFailure[];
  readonly network: readonly NetworkComparison[];
  readonly operators: readonly OperatorComparison[];
}

const peersFolder = (): string => join(packageRoot(), "bench/peers");

/** @throws SinterError `PEERS_MISSING` with the command that installs them */
export function checkPeers(): void {
  if (PACKAGES.every((name) => existsSync(join(peersFolder(), "node_modules", name)))) return;
  throw new SinterError("PEERS_MISSING", "--peers runs onnxruntime and TensorFlow.js, which are not installed", {
    fix: "Run `npm ci --prefix bench/peers --ignore-scripts` (its script would download CUDA's libraries).",
  });
}

/** One engine in a process of its own, so that none wakes the threads of another or takes it down. One message at a time. */
class Peer {
  readonly #engine: Engine;
  readonly #child: ChildProcess;

  constructor(engine: Engine) {
    const stdio = ["ignore", "ignore", "inherit", "ipc"] as const;
    this.#engine = engine;
    this.#child = fork(join(peersFolder(), engine === TENSORFLOW ? "tfjs.mjs" : "onnxruntime.mjs"), { serialization: "advanced", stdio: [...stdio] });
  }

  #ask<Answer>(message: object): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const exited = (code: number | null): void => reject(new SinterError("PEER_FAILED", `${this.#engine} ended with ${code}`));
      this.#child.once("exit", exited);
      this.#child.once("message", ({ ok, error }: { ok?: Answer; error?: string }) => {
        this.#child.off("exit", exited);
        if (ok === undefined) reject(new SinterError("PEER_FAILED", `${this.#engine}: ${error}`));
        else resolve(ok);
      });
      this.#child.send(message);
    });
  }

  /** For all but TensorFlow.js. */
  async loadOnnx(file: string, inputs: Readonly<Record<string, PeerTensor>>, profile: boolean): Promise<void> {
    await this.#ask({ type: "load", engine: this.#engine, file, inputs, profile });
  }

  /** For TensorFlow.js. */
  async loadGraph(graph: Graph, inputs: Readonly<Record<string, PeerTensor>>): Promise<void> {
    await this.#ask({ type: "load", graph: plainNodes(graph), inputs });
  }

  async run(): Promise<Run> {
    return this.#ask<Run>({ type: "run" });
  }

  async output(): Promise<Float32Array> {
    return (await this.#ask<PeerTensor>({ type: "output" })).data;
  }

  /** @returns milliseconds by kernel, where the session was profiled */
  async release(): Promise<Record<string, number>> {
    const { kernels = {} } = await this.#ask<{ kernels?: Record<string, number> }>({ type: "release" });
    return Object.fromEntries(Object.entries(kernels).map(([name, microseconds]) => [name, microseconds / 1000]));
  }

  close(): void {
    if (this.#child.connected) this.#child.disconnect();
  }
}

/** A graph as data: what tfjs.mjs takes. */
function plainNodes({ nodes, outputs }: Graph) {
  const reference = ({ name, shape, slice }: Tensor) => (slice ? { name: slice.of.name, firstChannel: slice.firstChannel, channels: shape.channels } : { name });
  return {
    nodes: nodes.map(({ operator, attributes, inputs, output }) => ({ operator: operator.name, attributes, inputs: inputs.map(reference), output: output.name })),
    output: outputs[0]?.name,
  };
}

interface Run {
  readonly milliseconds: number;
  readonly processorMilliseconds: number;
}

interface Case {
  readonly name: string;
  readonly shareOfRun: number;
  readonly pair: OperatorPair;
  readonly file: string;
}

/**
 * Runs a network at some sizes on the peers, and at the first of them on onnxruntime every kernel that takes more than 1 % of it, taking turns with ours.
 *
 * @param peer the network at a size
 * @param onStep told what runs now
 * @throws SinterError `PEERS_EXPORT` when the ONNX files cannot be made, `PEER_FAILED` when onnxruntime fails
 */
export async function comparePeers(peer: (size: Size) => PeerNetwork, sizes: readonly Size[], device: Device, python: string, onStep: (step: string) => void): Promise<PeerResults> {
  checkPeers();
  const folder = join(cacheFolder(), "onnx");
  const network: NetworkComparison[] = [];
  const failures: PeerFailure[] = [];
  const operators: OperatorComparison[] = [];
  for (const [i, size] of sizes.entries()) {
    const { comparisons, cases, failed } = await compareNetwork(peer(size), size, i === 0, device, folder, python, onStep);
    network.push(...comparisons);
    failures.push(...failed);
    for (const operator of cases) {
      onStep(operator.name);
      operators.push(await compareOperator(operator, device, folder));
    }
  }
  const versions = PACKAGES.map((name) => [name, versionOf(join(peersFolder(), "node_modules", name, "package.json"))] as const);
  return { versions: Object.fromEntries(versions), failures, network, operators };
}

/** The kernels that take most of a run, each with its counterpart. */
async function operatorCases(session: Session, { graph, heads }: PeerNetwork): Promise<Case[]> {
  const full = fullSize(graph);
  const names = new Map(graph.nodes.map((node) => [node.output.name, describeNode(node, full)]));
  const times = new Map<string, number>();
  for (const { dispatch, nanoseconds } of await session.profile()) {
    const name = names.get(dispatch.label) ?? "";
    times.set(name, (times.get(name) ?? 0) + nanoseconds);
  }
  const total = [...times.values()].reduce((a, b) => a + b, 0);
  return [...times]
    .toSorted(([, a], [, b]) => b - a)
    .filter(([, time]) => time > LEAST_SHARE * total)
    .flatMap(([name, time], i) => {
      const node = graph.nodes.find(({ output }) => names.get(output.name) === name);
      const pair = node && operatorPair(node, heads);
      return pair ? [{ name, shareOfRun: time / total, pair, file: `operator-${i}.onnx` }] : [];
    });
}

function exportOnnx({ exportArguments, file }: PeerNetwork, cases: readonly Case[], folder: string, python: string): void {
  mkdirSync(folder, { recursive: true });
  const list = join(folder, "operators.json");
  writeFileSync(list, JSON.stringify(cases.map((operator) => ({ ...operator.pair.theirs, file: operator.file }))));
  const script = join(peersFolder(), "export_onnx.py");
  const args = [script, ...exportArguments, "--out", join(folder, file), "--operators", list];
  const { status, stderr, error } = spawnSync(python, args, { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"] });
  if (status === 0) return;
  const reason = error?.message ?? stderr.trim().split("\n").at(-1);
  throw new SinterError("PEERS_EXPORT", `${python} ${script} did not succeed: ${reason}`, {
    fix: "Name a Python that has PyTorch with --python.",
  });
}

/** Our inputs with their shapes: TensorFlow.js has channels last too. */
function channelsLastInputs({ plainGraph, inputs }: PeerNetwork): Record<string, PeerTensor> {
  return Object.fromEntries(
    plainGraph.inputs.map(({ name, shape: { batch, height, width, channels } }) => [name, { data: inputs[name] ?? new Float32Array(), dims: [batch, height, width, channels] }]),
  );
}

async function compareNetwork(
  network: PeerNetwork,
  size: Size,
  withOperators: boolean,
  device: Device,
  folder: string,
  python: string,
  onStep: (step: string) => void,
): Promise<{ readonly comparisons: NetworkComparison[]; readonly cases: Case[]; readonly failed: PeerFailure[] }> {
  const constants = new ConstantStore(device);
  const session = await Session.create(compile(network.graph, device.traits), device, new PipelineCache(device), constants);
  await runOnce(session, network.inputs);
  const [output] = session.plan.outputs;
  const expected = await session.read(output?.tensor.name ?? "");
  const cases = withOperators && device.traits.timestamps ? await operatorCases(session, network) : [];
  onStep(`${network.name}: export to ONNX`);
  exportOnnx(network, cases, folder, python);
  const peers = new Map<Engine, { readonly peer: Peer; readonly runs: Run[] }>();
  const failed: PeerFailure[] = [];
  for (const engine of NETWORK_ENGINES) {
    onStep(`${network.name}: ${engine}, first run`);
    const peer = new Peer(engine);
    try {
      if (engine === TENSORFLOW) await peer.loadGraph(network.plainGraph, channelsLastInputs(network));
      else await peer.loadOnnx(join(folder, network.file), network.theirInputs, false);
      await peer.run();
      peers.set(engine, { peer, runs: [] });
    } catch (error) {
      peer.close();
      if (!(error instanceof SinterError && error.code === "PEER_FAILED")) throw error;
      failed.push({ name: network.name, engine, reason: error.message });
    }
  }
  const ours: Run[] = [];
  for (let round = 1; round <= NETWORK_ROUNDS; round++) {
    onStep(`${network.name}: round ${round} of ${NETWORK_ROUNDS}`);
    await setTimeout(PAUSE);
    const before = process.cpuUsage();
    const milliseconds = await runOnce(session, network.inputs);
    const { user, system } = process.cpuUsage(before);
    ours.push({ milliseconds, processorMilliseconds: (user + system) / 1000 });
    for (const { peer, runs } of peers.values()) {
      await setTimeout(PAUSE);
      runs.push(await peer.run());
    }
  }
  const least = (runs: readonly Run[], key: keyof Run): number => Math.min(...runs.map((run) => run[key]));
  const comparisons: NetworkComparison[] = [];
  for (const [engine, { peer, runs }] of peers) {
    const result = await peer.output();
    const error = largestDifference(engine === TENSORFLOW ? result : network.outputToOurs(result), expected);
    peer.close();
    comparisons.push({
      name: network.name,
      engine,
      size,
      oursMilliseconds: least(ours, "milliseconds"),
      theirsMilliseconds: least(runs, "milliseconds"),
      oursProcessorMilliseconds: least(ours, "processorMilliseconds"),
      theirsProcessorMilliseconds: least(runs, "processorMilliseconds"),
      error,
    });
  }
  session.dispose();
  constants.dispose();
  return { comparisons, cases, failed };
}

async function compareOperator({ name, shareOfRun, pair, file }: Case, device: Device, folder: string): Promise<OperatorComparison> {
  const inputs: Record<string, PeerTensor> = {};
  const constants = new ConstantStore(device);
  const session = await Session.create(compile(pair.ours, device.traits), device, new PipelineCache(device), constants);
  Object.entries(pair.theirs.inputs).forEach(([input, dims], i) => {
    const data = scatteredValues(dims.reduce((product, length) => product * length, 1), 100 + i);
    inputs[input] = { data, dims };
    session.write(input, pair.toOurs(input, data));
  });
  session.run();
  const [outputName = ""] = session.plan.outputs.map(({ tensor }) => tensor.name);
  const output = await session.read(outputName);
  const [webgpu, cpu] = [new Peer("onnxruntime-node WebGPU"), new Peer("onnxruntime-node CPU")];
  // The least of each dispatch, as of each of their kernels.
  let ours: readonly number[] = [];
  let webgpuKernels: Record<string, number>;
  let cpuKernels: Record<string, number>;
  let error: number;
  try {
    for (const peer of [webgpu, cpu]) {
      await peer.loadOnnx(join(folder, file), inputs, true);
      await peer.run();
    }
    const until = performance.now() + OPERATOR_MILLISECONDS;
    for (let round = 0; round < LEAST_OPERATOR_ROUNDS || (round < OPERATOR_ROUNDS && performance.now() < until); round++) {
      await setTimeout(PAUSE);
      // Wakes the adapter, as the conversions before their kernels do.
      session.run();
      const times = await session.profile();
      ours = times.map(({ nanoseconds }, i) => Math.min(nanoseconds / 1e6, ours[i] ?? Number.POSITIVE_INFINITY));
      for (const peer of [webgpu, cpu]) {
        await setTimeout(PAUSE);
        await peer.run();
      }
    }
    error = largestDifference(pair.outputToOurs(await webgpu.output()), output);
    webgpuKernels = await webgpu.release();
    cpuKernels = await cpu.release();
  } finally {
    webgpu.close();
    cpu.close();
  }
  session.dispose();
  constants.dispose();
  const counted = Object.entries(webgpuKernels).filter(([kernel]) => !isLayoutChange(kernel));
  return {
    name,
    shareOfRun,
    oursMilliseconds: ours.reduce((sum, milliseconds) => sum + milliseconds, 0),
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
