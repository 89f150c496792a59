import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { printError } from "../src/cli/output.ts";
import { SinterError } from "../src/errors.ts";
import { compile, type Plan } from "../src/graph/plan.ts";
import { ConstantStore } from "../src/graph/session.ts";
import type { ElementType } from "../src/kernels/tensor.ts";
import { packageRoot } from "../src/platform/files.ts";
import type { Device } from "../src/runtime/device.ts";
import { PipelineCache } from "../src/runtime/pipelines.ts";
import { affordableRows, Budget, Forecast } from "./budget.ts";
import { dispatchKey, DispatchTimer, measuringMilliseconds } from "./dispatch-timer.ts";
import { type FirstPicture, timeFirstPictures } from "./first-picture.ts";
import { openBenchDevice } from "./gpu.ts";
import { renderHtml } from "./html.ts";
import { profileKernels } from "./kernel-groups.ts";
import { maskDifuserByRule, maskDifuserFromFile } from "./mask-difuser-workload.ts";
import { measurePeaks, type Peaks } from "./peaks.ts";
import { checkPeers, comparePeers, type PeerResults } from "./peers.ts";
import { refusionWorkload } from "./refusion-workload.ts";
import { describeKernels, formatComparison, formatEnvironment, formatFirstPictures, formatKernels, formatPeaks, formatPeers, formatRuns } from "./report.ts";
import { describeEnvironment, type KernelResults, type NetworkResults, readResults, type Results } from "./results.ts";
import { timeWorkload, type WholeRun } from "./whole-runs.ts";
import { formatSize, type Part, type Size, type Workload } from "./workload.ts";

/** Sizes of whole runs, of the first picture of a process, of kernels, and of the network that the peers run. */
interface Sizes {
  readonly runs: readonly Size[];
  readonly first: readonly Size[];
  readonly kernels: readonly Size[];
  readonly peers: readonly Size[];
}

const size = (width: number, height: number): Size => ({ width, height });
const KERNEL_SIZES = [size(640, 480), size(1024, 768)];
const SIZES: Readonly<Record<Workload["network"], Sizes>> = {
  refusion: { runs: [size(160, 120), size(320, 240), size(640, 480), size(1280, 960)], first: [size(320, 240)], kernels: KERNEL_SIZES, peers: [size(640, 480)] },
  "mask-difuser": { runs: [size(128, 128), size(256, 256), size(640, 480)], first: [size(128, 128)], kernels: KERNEL_SIZES, peers: [size(128, 128), size(256, 256)] },
};
/** From 0.08 to 3 megapixels, where cost should grow with pixels. */
const OFFICIAL_SIZES: Readonly<Record<Workload["network"], readonly Size[]>> = {
  refusion: [size(320, 256), size(640, 480), size(1024, 768), size(1280, 960), size(1600, 1200), size(2048, 1536)],
  "mask-difuser": KERNEL_SIZES,
};

/** Of a run that is not told its sizes, peers aside; the rest of ten minutes is for compiling and for the peaks. */
const BUDGET_MILLISECONDS = 480_000;
const RUNS_WEIGHT = 3;
const FIRST_WEIGHT = 2;
const KERNELS_WEIGHT = 1;
const ROW_STEP = 16;

interface Options {
  readonly size?: Size[];
  readonly kernelSize?: Size[];
  readonly weights?: string;
  readonly official: boolean;
  readonly precision: ElementType;
  readonly json?: string;
  readonly html?: string;
  readonly compare?: string;
  readonly device?: string;
  readonly peers: boolean;
  readonly python: string;
}

const print = (text: string): void => void process.stdout.write(`${text}\n`);
const note = (step: string): void => void process.stderr.write(`… ${step}\n`);
const title = (text: string): void => print(`\n${text}\n${"─".repeat(text.length)}`);

function parseSize(text: string): Size {
  const [, width = "0", height = "0"] = /^(\d+)x(\d+)$/.exec(text) ?? [];
  if (Number(width) === 0 || Number(height) === 0) throw new InvalidArgumentError("Expected width and height, as in 640x480.");
  return { width: Number(width), height: Number(height) };
}

const collectSizes = (text: string, sizes: Size[] | undefined): Size[] => [...(sizes ?? []), parseSize(text)];

/** The networks that a command measures, each loaded when its turn comes. */
type Load = (options: Options) => Workload;

const loadRefusion: Load = ({ weights, precision }) => refusionWorkload(weights, precision);
const loadMaskDifuser: Load = ({ weights, official, precision }) =>
  weights === undefined ? maskDifuserByRule(official ? "official" : "c4", precision) : maskDifuserFromFile(weights, precision);

/** The shipped Mask-DiFuser, if there is one. */
function shippedMaskDifuser(): Load[] {
  const file = join(packageRoot(), "weights/mask-difuser-small.safetensors");
  return existsSync(file) ? [({ precision }) => maskDifuserFromFile(file, precision)] : [];
}

async function benchNetworks(loads: readonly Load[], options: Options): Promise<void> {
  const earlier = options.compare === undefined ? undefined : readResults(options.compare);
  if (options.peers) checkPeers();
  const device = await openBenchDevice(options.device);
  if (options.precision === "f16" && !device.traits.f16) throw new SinterError("NO_F16", "The GPU has no 16-bit floats.", { fix: "Leave out --precision f16." });
  const environment = describeEnvironment(device);
  print(formatEnvironment(environment));
  title("Measured peaks");
  const peaks = await measurePeaks(device);
  print(formatPeaks(peaks));

  const networks: NetworkResults[] = [];
  const budget = makeBudget(loads.length, options);
  for (const load of loads) networks.push(await benchNetwork(load(options), options, device, peaks, budget));
  device.gpu.destroy();
  const results: Results = { environment, peaks, networks };
  if (earlier) {
    title("Compared with earlier");
    print(formatComparison(earlier, results));
  }
  if (options.json !== undefined) writeFile(options.json, `${JSON.stringify(results, sixDigits, 2)}\n`);
  if (options.html !== undefined) writeFile(options.html, await renderHtml(results));
}

/** Sizes that were asked for by name are measured however long they take. */
function makeBudget(networks: number, { official, size: sizes, kernelSize }: Options): Budget {
  const parts = 2;
  const weights = networks * (RUNS_WEIGHT + FIRST_WEIGHT + KERNELS_WEIGHT * KERNEL_SIZES.length * parts);
  return new Budget(official || sizes !== undefined || kernelSize !== undefined ? Number.POSITIVE_INFINITY : BUDGET_MILLISECONDS, weights);
}

async function benchNetwork(workload: Workload, options: Options, device: Device, peaks: Peaks, budget: Budget): Promise<NetworkResults> {
  const sizes = SIZES[workload.network];
  const forecast = new Forecast(peaks);

  title(`${workload.title}, ${workload.elementType}, whole runs`);
  print(`weights ${workload.weightsName}\n`);
  const runs: WholeRun[] = [];
  const leftOut: Size[] = [];
  const limits = { until: budget.section(RUNS_WEIGHT), forecast, f32GigaflopsPerSecond: peaks.f32GigaflopsPerSecond };
  for (const runSize of options.size ?? (options.official ? OFFICIAL_SIZES[workload.network] : sizes.runs)) {
    note(`${workload.network} ${formatSize(runSize)}`);
    const rows = await timeWorkload(workload, runSize, options.device, limits);
    if (rows) runs.push(...rows);
    else leftOut.push(runSize);
  }
  print(formatRuns(runs, leftOut));

  const firstPictures = benchFirstPictures(workload, options.size ?? sizes.first, options.device, budget.section(FIRST_WEIGHT));

  const kernels: KernelResults[] = [];
  const pipelines = new PipelineCache(device);
  for (const picture of options.kernelSize ?? sizes.kernels) {
    for (const { name } of workload.parts({ width: picture.width, height: workload.multiple })) {
      const until = budget.section(KERNELS_WEIGHT);
      note(`${workload.network}, kernels of ${name} at ${formatSize(picture)}`);
      const result = await benchKernels(workload, name, picture, device, pipelines, peaks, forecast, until);
      title(`${workload.title}, ${describeKernels(result)}`);
      print(formatKernels(result));
      kernels.push(result);
    }
  }

  let peers: PeerResults | undefined;
  if (options.peers && workload.peer) {
    title("Peers on the same adapter");
    peers = await comparePeers(workload.peer, options.size ?? sizes.peers, device, options.python, note);
    print(formatPeers(peers));
  }
  const { network, title: workloadTitle, weightsName, elementType } = workload;
  return { network, title: workloadTitle, weights: weightsName, precision: elementType, runs, leftOut, ...(firstPictures && { firstPictures }), kernels, ...(peers && { peers }) };
}

/** Undefined for weights that are in no file. */
function benchFirstPictures({ network, title: workloadTitle, weightsFile, elementType }: Workload, sizes: readonly Size[], device: string | undefined, until: number): FirstPicture[] | undefined {
  if (weightsFile === undefined) return undefined;
  const pictures = sizes.flatMap((picture) => {
    note(`${network} ${formatSize(picture)}, first picture`);
    return timeFirstPictures({ ...picture, weights: weightsFile, precision: elementType, device }, until);
  });
  title(`${workloadTitle}, ${elementType}, first picture of a new process`);
  print(formatFirstPictures(pictures));
  return pictures;
}

async function benchKernels(
  workload: Workload,
  partName: string,
  picture: Size,
  device: Device,
  pipelines: PipelineCache,
  peaks: Peaks,
  forecast: Forecast,
  until: number,
): Promise<KernelResults> {
  const planned = (rows: number): { readonly part: Part; readonly plan: Plan } => {
    const part = workload.parts({ width: picture.width, height: rows }).find(({ name }) => name === partName);
    if (!part) throw new SinterError("GRAPH", `${workload.title} has no part ${partName}`);
    return { part, plan: compile(part.graph, device.traits) };
  };
  const cost = (rows: number): number => {
    const distinct = [...new Map(planned(rows).plan.dispatches.map((dispatch) => [dispatchKey(dispatch), dispatch])).values()];
    return distinct.reduce((sum, dispatch) => sum + measuringMilliseconds(forecast.milliseconds([dispatch]), peaks.copyGigabytesPerSecond), 0);
  };
  const rows = affordableRows(picture.height, Math.max(ROW_STEP, workload.multiple), until - performance.now(), cost);
  const { part, plan } = planned(rows);
  const constants = new ConstantStore(device);
  const timer = new DispatchTimer(device, pipelines, constants);
  try {
    return { picture, rows, ...(await profileKernels(part.name, part.graph, plan, timer, peaks, until)) };
  } finally {
    timer.dispose();
    constants.dispose();
  }
}

/** Writes what kernels may rely on and what the peaks are to `bench/adapters/`. */
async function benchAdapter(options: { readonly device?: string }): Promise<void> {
  const device = await openBenchDevice(options.device);
  const environment = describeEnvironment(device);
  print(formatEnvironment(environment));
  const peaks = await measurePeaks(device);
  print(formatPeaks(peaks));
  const features = [...device.gpu.features].toSorted();
  const words = (device.adapter.device || device.adapter.architecture).toLowerCase().split(/[^a-z0-9]+/).filter(Boolean);
  // Of a software adapter the first word names it; of a GPU all do.
  const name = (device.adapter.architecture === "software" ? words[0] : words.join("-")) ?? "adapter";
  writeFile(join(packageRoot(), `bench/adapters/${name}.json`), `${JSON.stringify({ environment, features, traits: device.traits, peaks }, null, 2)}\n`);
  device.gpu.destroy();
}

/** No measurement has more. */
const sixDigits = (_: string, value: unknown): unknown => (typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value);

function writeFile(file: string, text: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  } catch (cause) {
    throw new SinterError("UNWRITABLE_FILE", `${file} cannot be written: ${(cause as Error).message}`, { where: file, cause });
  }
  print(`\nwritten: ${file}`);
}

const program = new Command("bench").description("Times Sinter's networks and kernels on this machine's GPU.").exitOverride();

function networkCommand(name: string, description: string, loads: (options: Options) => readonly Load[], oneNetwork: boolean): Command {
  const command = program
    .command(name, { isDefault: !oneNetwork })
    .description(description)
    .option("--official", "published configurations and full shapes, however long it takes", false)
    .addOption(new Option("--precision <type>", "how tensors are stored").choices(["f32", "f16"]).default("f32"))
    .option("--json <file>", "write all results")
    .option("--html <file>", "write a page with rooflines and layers")
    .option("--compare <file>", "print ratios to an earlier --json file")
    .option("--peers", "run onnxruntime and TensorFlow.js on the same adapter, side by side", false)
    .option("--python <program>", "a Python with PyTorch, to export the networks for --peers", "python3")
    .option("--device <name>", "a part of the adapter's name")
    .action((options: Options) => benchNetworks(loads(options), options));
  if (!oneNetwork) return command;
  return command
    .addOption(new Option("--size <WxH...>", "sizes of the whole runs, and with --peers of the peers").argParser(collectSizes))
    .addOption(new Option("--kernel-size <WxH...>", "picture sizes at which single kernels are timed (default: 640x480 1024x768)").argParser(collectSizes))
    .option("--weights <file>", "safetensors or PyTorch weights");
}

networkCommand("all", "both networks, within ten minutes", () => [loadRefusion, loadMaskDifuser, ...shippedMaskDifuser()], false);
networkCommand("refusion", "ReFusion, with the shipped weights", () => [loadRefusion], true);
networkCommand("mask-difuser", "Mask-DiFuser, with weights by a rule", () => [loadMaskDifuser], true);

program
  .command("adapter")
  .description("features, limits and measured peaks of the adapter, written to bench/adapters/")
  .option("--device <name>", "a part of the adapter's name")
  .action(benchAdapter);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : 2;
  } else {
    printError(error, false);
    process.exitCode = 1;
  }
}
