import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { printError } from "../src/cli/output.ts";
import { SinterError } from "../src/errors.ts";
import { compile } from "../src/graph/plan.ts";
import { ConstantStore, Session } from "../src/graph/session.ts";
import { packageRoot } from "../src/platform/files.ts";
import type { Device } from "../src/runtime/device.ts";
import { PipelineCache } from "../src/runtime/pipelines.ts";
import { openBenchDevice } from "./gpu.ts";
import { type Profile, profileKernels } from "./kernel-groups.ts";
import { measurePeaks, type Peaks } from "./peaks.ts";
import { checkPeers, comparePeers, type PeerResults } from "./peers.ts";
import { formatComparison, formatEnvironment, formatKernels, formatPeaks, formatPeers, formatRuns } from "./report.ts";
import { describeEnvironment, readResults, type Results } from "./results.ts";
import { timeWholeRun, type WholeRun } from "./whole-runs.ts";
import { formatSize, loadWorkload, type Size, type Workload } from "./workload.ts";

const SIZES: readonly Size[] = [
  { width: 160, height: 120 },
  { width: 320, height: 240 },
  { width: 640, height: 480 },
  { width: 1280, height: 960 },
];

interface RefusionOptions {
  readonly size?: Size[];
  readonly kernelSize: Size;
  readonly weights?: string;
  readonly json?: string;
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

async function benchRefusion(options: RefusionOptions): Promise<void> {
  const earlier = options.compare === undefined ? undefined : readResults(options.compare);
  if (options.peers) checkPeers();
  const workload = loadWorkload(options.weights);
  const device = await openBenchDevice(options.device);
  const environment = describeEnvironment(device);
  print(formatEnvironment(environment));
  print(`weights    ${workload.weightsName}`);

  title("Measured peaks");
  const peaks = await measurePeaks(device);
  print(formatPeaks(peaks));

  title("ReFusion, whole runs");
  const runs: WholeRun[] = [];
  for (const size of options.size ?? SIZES) {
    note(formatSize(size));
    runs.push(await timeWholeRun(workload, size, options.device));
  }
  print(formatRuns(runs));

  const { kernelSize } = options;
  title(`ReFusion, kernels at ${formatSize(kernelSize)}`);
  const profile = await profileWorkload(workload, kernelSize, device, peaks);
  print(profile ? formatKernels(profile) : "The device has no timestamps, so its kernels cannot be timed one by one.");

  let peers: PeerResults | undefined;
  if (profile && options.peers) {
    title(`Peers on the same adapter, at ${formatSize(kernelSize)}`);
    peers = await comparePeers(workload, kernelSize, profile.groups, device, options.python, note);
    print(formatPeers(peers));
  } else if (options.peers) {
    print("Without timestamps the peers are not run either.");
  }

  const results: Results = {
    environment,
    weights: workload.weightsName,
    peaks,
    runs,
    ...(profile && { kernels: { ...kernelSize, ...profile } }),
    ...(peers && { peers }),
  };
  device.gpu.destroy();
  if (earlier) {
    title("Compared with earlier");
    print(formatComparison(earlier, results));
  }
  if (options.json !== undefined) writeJson(options.json, results);
}

async function profileWorkload(workload: Workload, size: Size, device: Device, peaks: Peaks): Promise<Profile | undefined> {
  if (!device.traits.timestamps) return undefined;
  const graph = workload.graph(size);
  const constants = new ConstantStore(device);
  const session = await Session.create(compile(graph, device.traits), device, new PipelineCache(device), constants);
  const { first, second } = workload.pictures(size);
  session.write("first", first);
  session.write("second", second);
  const profile = await profileKernels(session, graph, peaks);
  session.dispose();
  constants.dispose();
  return profile;
}

/** Writes what kernels may rely on and what the peaks are to `bench/adapters/`. */
async function benchAdapter(options: { readonly device?: string }): Promise<void> {
  const device = await openBenchDevice(options.device);
  const environment = describeEnvironment(device);
  print(formatEnvironment(environment));
  const peaks = await measurePeaks(device);
  print(formatPeaks(peaks));
  const features = [...device.gpu.features].toSorted();
  const name = (device.adapter.device || device.adapter.architecture).toLowerCase().split(/[^a-z0-9]+/).filter(Boolean)[0] ?? "adapter";
  const file = join(packageRoot(), `bench/adapters/${name}.json`);
  writeJson(file, { environment, features, traits: device.traits, peaks });
  device.gpu.destroy();
}

function writeJson(file: string, value: object): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
  } catch (cause) {
    throw new SinterError("UNWRITABLE_FILE", `${file} cannot be written: ${(cause as Error).message}`, { where: file, cause });
  }
  print(`\nwritten: ${file}`);
}

const program = new Command("bench").description("Times Sinter's networks and kernels on this machine's GPU.").exitOverride();

program
  .command("refusion")
  .description("whole runs of ReFusion, and each of its kernels beside the adapter's measured peaks")
  .addOption(
    new Option("--size <WxH...>", "sizes of the whole runs (default: 160x120 320x240 640x480 1280x960)").argParser(
      (text: string, sizes: Size[] | undefined) => [...(sizes ?? []), parseSize(text)],
    ),
  )
  .addOption(
    new Option("--kernel-size <WxH>", "size at which single kernels are timed, and the peers")
      .argParser(parseSize)
      .default({ width: 640, height: 480 }, "640x480"),
  )
  .option("--weights <file>", "safetensors or PyTorch weights (default: the shipped ones, random if there are none)")
  .option("--json <file>", "write all results")
  .option("--compare <file>", "print ratios to an earlier --json file")
  .option("--peers", "run onnxruntime on the same adapter, side by side", false)
  .option("--python <program>", "a Python with PyTorch, to export the network for --peers", "python3")
  .option("--device <name>", "a part of the adapter's name")
  .action(benchRefusion);

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
