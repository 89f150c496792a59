import type { KernelGroup, Profile } from "./kernel-groups.ts";
import type { Peaks } from "./peaks.ts";
import type { PeerResults } from "./peers.ts";
import type { Environment, Results } from "./results.ts";
import type { WholeRun } from "./whole-runs.ts";
import { formatSize, type Size } from "./workload.ts";

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

const percent = (share: number): string => `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;
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
  const { f32GigaflopsPerSecond, f16GigaflopsPerSecond, copyGigabytesPerSecond, dispatchMicroseconds, submitMicroseconds } = peaks;
  return [
    `fma f32    ${formatNumber(f32GigaflopsPerSecond)} GFLOP/s`,
    `fma f16    ${f16GigaflopsPerSecond === undefined ? "none" : `${formatNumber(f16GigaflopsPerSecond)} GFLOP/s`}`,
    `copy       ${formatNumber(copyGigabytesPerSecond)} GB/s, read plus written`,
    `dispatch   ${formatNumber(dispatchMicroseconds)} µs each; ${formatNumber(submitMicroseconds)} µs from submit to done`,
  ].join("\n");
}

export function formatRuns(runs: readonly WholeRun[]): string {
  return table(
    ["size", "first run ms", "run ms", "runs", "ms/megapixel", "dispatches", "pipelines", "GPU memory"],
    runs.map((run) => [
      formatSize(run),
      formatNumber(run.firstMilliseconds),
      formatNumber(run.milliseconds),
      `${run.runs}`,
      formatNumber(run.millisecondsPerMegapixel),
      `${run.dispatches}`,
      `${run.pipelines}`,
      megabytes(run.peakBytes),
    ]),
  );
}

export function formatKernels({ groups, milliseconds, profiles }: Profile): string {
  const row = (group: KernelGroup): string[] => [
    group.name,
    `${group.operators}`,
    formatNumber(group.milliseconds),
    percent(group.shareOfRun),
    formatNumber(group.gigaflopsPerSecond),
    formatNumber(group.gigabytesPerSecond),
    `${percent(group.shareOfPeak)} of ${group.bound}`,
  ];
  return `${table(["kernel", "count", "ms", "of run", "GFLOP/s", "GB/s", "of peak"], groups.map(row))}
all kernels: ${formatNumber(milliseconds)} ms (each the median of ${profiles} profiles)`;
}

export function formatPeers({ network, operators, versions }: PeerResults): string {
  const networkTable = table(
    ["whole network", "ours ms", "theirs ms", "theirs/ours", "largest difference"],
    network.map(({ engine, size, oursMilliseconds, theirsMilliseconds, error }) => [
      `${formatSize(size)} ${engine}`,
      formatNumber(oursMilliseconds),
      formatNumber(theirsMilliseconds),
      ratio(theirsMilliseconds / oursMilliseconds),
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
  return `${networkTable}\n\nonnxruntime-node ${versions["onnxruntime-node"]}, one operator each\n${operatorTable}`;
}

const sameSize = (a: Size, b: Size): boolean => a.width === b.width && a.height === b.height;

/** How much faster `now` is than `earlier`: above 1 is better throughout. */
export function formatComparison(earlier: Results, now: Results): string {
  const rows: string[][] = [];
  const slower = (name: string, before: number | undefined, after: number, unit: string): void => {
    if (before !== undefined) rows.push([name, `${formatNumber(before)} ${unit}`, `${formatNumber(after)} ${unit}`, ratio(before / after)]);
  };
  const faster = (name: string, before: number, after: number, unit: string): void => {
    rows.push([name, `${formatNumber(before)} ${unit}`, `${formatNumber(after)} ${unit}`, ratio(after / before)]);
  };
  faster("peak fma f32", earlier.peaks.f32GigaflopsPerSecond, now.peaks.f32GigaflopsPerSecond, "GFLOP/s");
  faster("peak copy", earlier.peaks.copyGigabytesPerSecond, now.peaks.copyGigabytesPerSecond, "GB/s");
  for (const run of now.runs) {
    const before = earlier.runs.find((other) => sameSize(other, run));
    slower(`first run ${formatSize(run)}`, before?.firstMilliseconds, run.firstMilliseconds, "ms");
    slower(`run ${formatSize(run)}`, before?.milliseconds, run.milliseconds, "ms");
  }
  const before = earlier.kernels;
  if (now.kernels && before && sameSize(before, now.kernels)) {
    for (const group of now.kernels.groups) {
      slower(group.name, before.groups.find(({ name }) => name === group.name)?.milliseconds, group.milliseconds, "ms");
    }
  }
  return `earlier: ${earlier.environment.adapter.device}, ${earlier.environment.date}\n${table(["", "earlier", "now", "speed"], rows)}`;
}
