import { CAN_EMPTY_SHADER_CACHE, type FirstPicture } from "./first-picture.ts";
import type { KernelGroup } from "./kernel-groups.ts";
import type { Peaks } from "./peaks.ts";
import type { PeerResults } from "./peers.ts";
import type { Environment, KernelResults, Results } from "./results.ts";
import type { WholeRun } from "./whole-runs.ts";
import { formatSize, sameSize, type Size } from "./workload.ts";

/** Rows under a header, the first column left-aligned, numbers right-aligned. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => (row[column] ?? "").length)));
  return [header, ...rows]
    .map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  ").trimEnd())
    .join("\n");
}

/** Three digits, never an exponent. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 100) return Math.round(value).toString();
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}

export const percent = (share: number): string => `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;
const ratio = (value: number): string => (Number.isFinite(value) ? `${formatNumber(value)}×` : "–");
const megabytes = (bytes: number): string => `${formatNumber(bytes / 1e6)} MB`;

export function formatEnvironment({ adapter, processor, threads, node, webgpu, sinter, platform }: Environment): string {
  return [
    `adapter    ${adapter.device}, ${adapter.description} (${adapter.vendor})`,
    `machine    ${processor}, ${threads} threads, ${platform}`,
    `versions   Sinter ${sinter}, Node ${node}, webgpu ${webgpu}`,
  ].join("\n");
}

export function formatPeaks(peaks: Peaks): string {
  const { f32GigaflopsPerSecond, f16GigaflopsPerSecond, matrix, copyGigabytesPerSecond, dispatchMicroseconds, submitMicroseconds } = peaks;
  return [
    `fma f32    ${formatNumber(f32GigaflopsPerSecond)} GFLOP/s`,
    `fma f16    ${f16GigaflopsPerSecond === undefined ? "none" : `${formatNumber(f16GigaflopsPerSecond)} GFLOP/s`}`,
    ...(matrix.length === 0 ? ["matrix     none offered"] : matrix.map(({ product, gigaflopsPerSecond }) => `matrix     ${formatNumber(gigaflopsPerSecond)} GFLOP/s, ${product}`)),
    `copy       ${formatNumber(copyGigabytesPerSecond)} GB/s, read plus written`,
    `dispatch   ${formatNumber(dispatchMicroseconds)} µs each; ${formatNumber(submitMicroseconds)} µs from submit to done`,
  ].join("\n");
}

export function formatRuns(runs: readonly WholeRun[], leftOut: readonly Size[]): string {
  const rows = runs.map((run) => [
    `${formatSize(run)} ${run.part}`,
    formatNumber(run.firstMilliseconds ?? Number.NaN),
    formatNumber(run.milliseconds),
    `${run.runs}`,
    formatNumber(run.millisecondsPerMegapixel),
    `${run.dispatches}`,
    run.pipelines > 0 ? `${run.pipelines}` : "–",
    formatNumber(run.gigaflopsPerSecond),
    percent(run.shareOfPeak),
    megabytes(run.peakBytes),
  ]);
  const header = ["size", "first run ms", "run ms", "runs", "ms/megapixel", "dispatches", "pipelines", "GFLOP/s", "of peak", "GPU memory"];
  return [table(header, rows), ...(leftOut.length > 0 ? [`left out, too slow for the time: ${leftOut.map(formatSize).join(", ")} (--size measures them all the same)`] : [])].join("\n");
}

export function formatFirstPictures(pictures: readonly FirstPicture[]): string {
  if (pictures.length === 0) return "left out: the cold start was not done in time (--size measures it all the same)";
  const header = ["first picture", "ms", "process, device", "weights", "compile, upload", "run", "second picture ms"];
  const rows = pictures.map((picture) => [
    `${formatSize(picture)} ${picture.start}`,
    formatNumber(picture.milliseconds),
    formatNumber(picture.deviceMilliseconds),
    formatNumber(picture.weightsMilliseconds),
    formatNumber(picture.compileMilliseconds),
    formatNumber(picture.runMilliseconds),
    formatNumber(picture.readyMilliseconds),
  ]);
  return [table(header, rows), ...(CAN_EMPTY_SHADER_CACHE ? [] : ["on this platform the driver's shader cache cannot be emptied: cold is a new process only"])].join("\n");
}

/** What was measured, as a title. */
export function describeKernels({ picture, rows, part }: KernelResults): string {
  const cut = rows < picture.height ? `, cut to ${rows} rows so that it ends in time` : "";
  return `kernels of ${part} at ${formatSize(picture)}${cut}`;
}

/** Kernels that take less of a run are added up. */
const SHOWN_SHARE = 0.005;

export function formatKernels({ groups, milliseconds, notMeasured }: KernelResults): string {
  if (groups.length === 0) return `None of ${notMeasured} dispatches was measured: the time was up.`;
  const row = (group: KernelGroup): string[] => [
    group.name,
    `${group.nodes}`,
    formatNumber(group.milliseconds),
    percent(group.shareOfRun),
    formatNumber(group.gigaflopsPerSecond),
    formatNumber(group.gigabytesPerSecond),
    formatNumber(group.intensity),
    `${percent(group.shareOfPeak)} of ${group.bound}`,
  ];
  const shown = groups.filter(({ shareOfRun }) => shareOfRun >= SHOWN_SHARE);
  const rest = groups.slice(shown.length).reduce((sum, group) => sum + group.milliseconds, 0);
  const others = rest > 0 ? `; ${formatNumber(rest)} ms of it in ${groups.length - shown.length} kernels under ${percent(SHOWN_SHARE)} each` : "";
  const missing = notMeasured > 0 ? `; ${notMeasured} dispatches not measured, the time was up` : "";
  return `${table(["kernel", "count", "ms", "of run", "GFLOP/s", "GB/s", "FLOP/byte", "of peak"], shown.map(row))}
all kernels: ${formatNumber(milliseconds)} ms${others}${missing}`;
}

export function formatPeers({ network, operators, failures, versions }: PeerResults): string {
  const networkTable = table(
    ["whole network", "ours ms", "theirs ms", "theirs/ours", "ours CPU ms", "theirs CPU ms", "CPU ratio", "largest difference"],
    network.map(({ name, engine, oursMilliseconds, theirsMilliseconds, oursProcessorMilliseconds, theirsProcessorMilliseconds, error }) => [
      `${name}: ${engine}`,
      formatNumber(oursMilliseconds),
      formatNumber(theirsMilliseconds),
      ratio(theirsMilliseconds / oursMilliseconds),
      formatNumber(oursProcessorMilliseconds),
      formatNumber(theirsProcessorMilliseconds),
      ratio(theirsProcessorMilliseconds / oursProcessorMilliseconds),
      error.toExponential(1),
    ]),
  );
  const operatorTable = table(
    ["kernel", "of run", "ours ms", "WebGPU ms", "WebGPU/ours", "CPU ms", "CPU/ours", "largest difference"],
    operators.map(({ name, shareOfRun, oursMilliseconds, webgpuMilliseconds, cpuMilliseconds, error }) => [
      name,
      percent(shareOfRun),
      formatNumber(oursMilliseconds),
      formatNumber(webgpuMilliseconds),
      ratio(webgpuMilliseconds / oursMilliseconds),
      formatNumber(cpuMilliseconds),
      ratio(cpuMilliseconds / oursMilliseconds),
      error.toExponential(1),
    ]),
  );
  const failed = failures.map(({ name, engine, reason }) => `${name}: ${engine} failed: ${reason}\n`).join("");
  return `${networkTable}\n${failed}\nonnxruntime-node ${versions["onnxruntime-node"]}, one operator each\n${operatorTable}`;
}

/** How much faster `now` is than `earlier`: above 1 is better throughout. */
export function formatComparison(earlier: Results, now: Results): string {
  const rows: string[][] = [];
  const slower = (name: string, before: number | undefined, after: number | undefined): void => {
    if (before !== undefined && after !== undefined) rows.push([name, `${formatNumber(before)} ms`, `${formatNumber(after)} ms`, ratio(before / after)]);
  };
  const faster = (name: string, before: number, after: number, unit: string): void => {
    rows.push([name, `${formatNumber(before)} ${unit}`, `${formatNumber(after)} ${unit}`, ratio(after / before)]);
  };
  faster("peak fma f32", earlier.peaks.f32GigaflopsPerSecond, now.peaks.f32GigaflopsPerSecond, "GFLOP/s");
  faster("peak copy", earlier.peaks.copyGigabytesPerSecond, now.peaks.copyGigabytesPerSecond, "GB/s");
  for (const network of now.networks) {
    const before = earlier.networks.find(({ title, precision }) => title === network.title && precision === network.precision);
    if (!before) continue;
    for (const run of network.runs) {
      const same = before.runs.find((other) => sameSize(other, run) && other.part === run.part);
      slower(`${network.title} ${formatSize(run)} ${run.part}, first run`, same?.firstMilliseconds, run.firstMilliseconds);
      slower(`${network.title} ${formatSize(run)} ${run.part}`, same?.milliseconds, run.milliseconds);
    }
    for (const picture of network.firstPictures ?? []) {
      const same = before.firstPictures?.find((other) => sameSize(other, picture) && other.start === picture.start);
      slower(`${network.title} ${formatSize(picture)}, ${picture.start} start`, same?.milliseconds, picture.milliseconds);
    }
    for (const kernels of network.kernels) {
      const same = before.kernels.find(({ picture, rows: count, part }) => sameSize(picture, kernels.picture) && count === kernels.rows && part === kernels.part);
      for (const group of kernels.groups) {
        slower(`${formatSize(kernels.picture)} ${group.name}`, same?.groups.find(({ name }) => name === group.name)?.milliseconds, group.milliseconds);
      }
    }
  }
  return `earlier: ${earlier.environment.adapter.device}, ${earlier.environment.date}\n${table(["", "earlier", "now", "speed"], rows)}`;
}
