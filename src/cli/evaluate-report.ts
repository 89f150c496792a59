import { BoxplotChart, LineChart } from "echarts/charts";
import { GridComponent, LegendComponent, TitleComponent } from "echarts/components";
import { init, use } from "echarts/core";
import { SVGRenderer } from "echarts/renderers";
import sharp from "sharp";
import type { Sharp } from "sharp";
import { METRICS, PROFILES, type MetricName, type ProfileName } from "../metrics/index.ts";
import type { EvaluatedPair, EvaluationJob } from "./evaluate-pair.ts";
import { formatDeviation, formatValue, rankOf, type MethodSummary } from "./evaluate-table.ts";

use([BoxplotChart, LineChart, GridComponent, LegendComponent, TitleComponent, SVGRenderer]);

export interface ReportContent {
  profile: ProfileName;
  metrics: readonly MetricName[];
  jobs: readonly EvaluationJob[];
  pairs: readonly EvaluatedPair[];
  methods: readonly MethodSummary[];
}

/** How many pairs are shown with their pictures. */
const SHOWN_PAIRS = 4;
const THUMBNAIL_WIDTH = 320;
const CHART = { width: 460, height: 300 };
/** Okabe and Ito's colours, which colour-blind people tell apart. */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442"];

/**
 * The whole report as one HTML page that loads nothing: the summary with best and second best marked, cumulative curves
 * and box plots of every metric, and some of the pictures with a zoomed crop.
 */
export async function renderReport(content: ReportContent): Promise<string> {
  const { profile, metrics, methods, pairs } = content;
  const charts = metrics.map((metric) => {
    const values = valuesByMethod(metric, content);
    if (values.every((list) => list.length === 0)) return "";
    const labels = methods.map(({ label }) => label);
    return `<figure>${cumulativeChart(metric, labels, values)}${boxChart(metric, labels, values)}</figure>`;
  });
  const pictures = await Promise.all(spread(content.jobs, SHOWN_PAIRS).map(renderPictures));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Fusion metrics</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1100px; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; } th, td { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; } .first { font-weight: 700; } .second { text-decoration: underline; }
.scroll { overflow-x: auto; } figure { display: inline-block; margin: 0 1rem 1rem 0; }
.pictures { display: flex; flex-wrap: wrap; gap: .6rem; } .pictures figure { margin: 0; width: ${THUMBNAIL_WIDTH}px; }
.pictures img { display: block; width: 100%; } .crop { image-rendering: pixelated; margin-top: .3rem; }
figcaption, .note { font-size: 13px; color: #555; }
</style>
</head>
<body>
<h1>Fusion metrics</h1>
<p>Profile <b>${profile}</b>: ${escapeHtml(PROFILES[profile].title)}. ${pairs.length} pairs; mean ± sample standard
deviation. ${methods.length > 1 ? "<b>Best</b> and <u>second best</u> mean are marked." : ""}</p>
<div class="scroll">${summaryTable(metrics, methods)}</div>
<h2>Distributions</h2>
<p class="note">Left: cumulative curves; at x, the share x of the pairs has at most the value y (mean in the legend).
Right: smallest value, quartiles, largest value.</p>
${charts.join("\n")}
<h2>Pictures</h2>
<p class="note">Below each picture, the same part enlarged: where the sources have the most detail.</p>
${pictures.join("\n")}
</body>
</html>
`;
}

function escapeHtml(text: string): string {
  const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replaceAll(/[&<>"]/g, (sign) => entities[sign] ?? sign);
}

function summaryTable(metrics: readonly MetricName[], methods: readonly MethodSummary[]): string {
  const head = methods.map(({ label }) => `<th>${escapeHtml(label)}</th>`).join("");
  const rows = metrics.map((metric) => {
    const cells = methods.map((method) => {
      const summary = method.metrics[metric];
      const rank = rankOf(metric, method.label, methods);
      const mark = rank === undefined ? "" : ` class="${rank === 1 ? "first" : "second"}"`;
      const spreadOf = summary?.deviation ?? null;
      const deviation = spreadOf === null ? "" : ` ± ${formatDeviation(spreadOf, summary?.mean ?? null)}`;
      const missing = summary?.missing ? ` <small>(${summary.missing} undefined)</small>` : "";
      return `<td><span${mark}>${formatValue(summary?.mean ?? null)}</span>${deviation}${missing}</td>`;
    });
    const { title, better } = METRICS[metric];
    return `<tr><td title="${title}">${metric} ${better === "higher" ? "↑" : "↓"}</td>${cells.join("")}</tr>`;
  });
  return `<table><tr><th></th>${head}</tr>${rows.join("")}</table>`;
}

/** Defined values of a metric, ascending, a list for each method. */
function valuesByMethod(metric: MetricName, { methods, pairs }: ReportContent): number[][] {
  return methods.map((_, index) =>
    pairs.flatMap((pair) => pair.fused[index]?.metrics[metric] ?? []).toSorted((a, b) => a - b),
  );
}

function renderChart(option: object): string {
  const chart = init(null, null, { renderer: "svg", ssr: true, ...CHART });
  chart.setOption({ animation: false, color: COLOURS, ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

function cumulativeChart(metric: MetricName, labels: readonly string[], values: readonly number[][]): string {
  const series = values.map((list, index) => {
    const mean = list.reduce((sum, value) => sum + value, 0) / list.length;
    return {
      type: "line",
      name: list.length === 0 ? `${labels[index]}: undefined` : `${labels[index]}: ${formatValue(mean)}`,
      showSymbol: list.length <= 30,
      symbolSize: 4,
      data: list.map((value, i) => [(i + 1) / list.length, value]),
    };
  });
  return renderChart({
    title: { text: metric, left: "center", textStyle: { fontSize: 14 } },
    legend: { bottom: 0, type: "plain" },
    grid: { top: 36, bottom: 34 + 22 * Math.ceil(labels.length / 2), left: 60, right: 20 },
    xAxis: { type: "value", min: 0, max: 1 },
    yAxis: { type: "value", scale: true },
    series,
  });
}

function quantile(sorted: readonly number[], share: number): number {
  const position = (sorted.length - 1) * share;
  const below = sorted[Math.floor(position)] ?? Number.NaN;
  const above = sorted[Math.ceil(position)] ?? Number.NaN;
  return below + (above - below) * (position - Math.floor(position));
}

function boxChart(metric: MetricName, labels: readonly string[], values: readonly number[][]): string {
  const boxes = values.map((list, index) => ({
    name: labels[index],
    value: [0, 0.25, 0.5, 0.75, 1].map((share) => quantile(list, share)),
    itemStyle: { borderColor: COLOURS[index % COLOURS.length] },
  }));
  return renderChart({
    title: { text: metric, left: "center", textStyle: { fontSize: 14 } },
    grid: { top: 36, bottom: 50, left: 60, right: 20 },
    xAxis: { type: "category", data: labels, axisLabel: { interval: 0, overflow: "truncate", width: 90 } },
    yAxis: { type: "value", scale: true },
    series: [{ type: "boxplot", data: boxes.filter((_, index) => (values[index] ?? []).length > 0) }],
  });
}

/** `count` items evenly spread over the list. */
function spread<Item>(items: readonly Item[], count: number): Item[] {
  if (items.length <= count) return [...items];
  return Array.from({ length: count }, (_, i) => items[Math.round((i * (items.length - 1)) / (count - 1))] as Item);
}

async function renderPictures(job: EvaluationJob): Promise<string> {
  const shown = [
    { label: "first", path: job.first },
    { label: "second", path: job.second },
    ...job.fused,
  ];
  const region = await detailedRegion([job.first, job.second]);
  const figures = await Promise.all(
    shown.map(async ({ label, path }) => {
      const whole = await encode(sharp(path).resize({ width: THUMBNAIL_WIDTH, withoutEnlargement: true }));
      const crop = await encode(sharp(path).extract(region));
      const alt = escapeHtml(`${job.name}, ${label}`);
      return `<figure><img src="${whole}" alt="${alt}"><img class="crop" src="${crop}" alt="${alt}, enlarged">
<figcaption>${escapeHtml(label)}</figcaption></figure>`;
    }),
  );
  return `<h3>${escapeHtml(job.name)}</h3><div class="pictures">${figures.join("")}</div>`;
}

async function encode(image: Sharp): Promise<string> {
  const bytes = await image.toColourspace("srgb").webp({ quality: 90 }).toBuffer();
  return `data:image/webp;base64,${bytes.toString("base64")}`;
}

interface Region {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** The block of a 5 × 5 grid over the pictures whose grey levels vary most in both together. */
async function detailedRegion(paths: readonly string[]): Promise<Region> {
  const blocks = 5;
  let sizes = { width: 1, height: 1 };
  const totals = new Float64Array(blocks * blocks);
  for (const path of paths) {
    const { data, info } = await sharp(path).greyscale().toColourspace("b-w").raw().toBuffer({ resolveWithObject: true });
    sizes = info;
    for (let y = 0; y < info.height; y++) {
      for (let x = 1; x < info.width; x++) {
        const i = (y * info.width + x) * info.channels;
        const block = Math.floor((y * blocks) / info.height) * blocks + Math.floor((x * blocks) / info.width);
        totals[block] = (totals[block] ?? 0) + Math.abs((data[i] ?? 0) - (data[i - info.channels] ?? 0));
      }
    }
  }
  const best = totals.indexOf(Math.max(...totals));
  const left = Math.floor(((best % blocks) * sizes.width) / blocks);
  const top = Math.floor((Math.floor(best / blocks) * sizes.height) / blocks);
  const width = Math.max(Math.floor(sizes.width / blocks), 1);
  const height = Math.max(Math.floor(sizes.height / blocks), 1);
  return { left: Math.min(left, sizes.width - width), top: Math.min(top, sizes.height - height), width, height };
}
