import type { EChartsOption } from "echarts";
import type { KernelGroup } from "./kernel-groups.ts";
import type { Peaks } from "./peaks.ts";
import { describeKernels, formatEnvironment, formatFirstPictures, formatNumber, formatPeaks, formatPeers, formatRuns, percent } from "./report.ts";
import type { KernelResults, NetworkResults, Results } from "./results.ts";
import { formatSize } from "./workload.ts";

/** Draws a chart as SVG text. */
type Draw = (option: EChartsOption, height: number) => string;

const WIDTH = 1100;
const COLOURS = { arithmetic: "#c2410c", bandwidth: "#1d4ed8", least: "#15803d", rest: "#cbd5e1" } as const;
/** Kernels that take less of a run have no number in the plot. */
const NUMBERED_SHARE = 0.01;

/** Results as one page without any other file: tables, a roofline plot and the layers of each network, drawn as SVG. */
export async function renderHtml(results: Results): Promise<string> {
  const { init } = await import("echarts");
  const draw: Draw = (option, height) => {
    const chart = init(null, null, { renderer: "svg", ssr: true, width: WIDTH, height });
    chart.setOption({ animation: false, ...option });
    const svg = chart.renderToSVGString();
    chart.dispose();
    return svg;
  };
  const { environment, peaks, networks } = results;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Sinter on ${escapeHtml(environment.adapter.device)}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1e293b; max-width: ${WIDTH}px; margin: 2rem auto; padding: 0 1rem; }
pre, table { font-size: 13px; line-height: 1.4; }
pre { overflow-x: auto; background: #f8fafc; padding: .8rem; }
svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .15rem .6rem; border-bottom: 1px solid #e2e8f0; }
th:nth-child(2), td:nth-child(2) { text-align: left; }
#tip { position: fixed; display: none; white-space: pre; background: #1e293b; color: #fff; font-size: 12px; padding: .3rem .6rem; pointer-events: none; }
</style>
</head>
<body>
<h1>Sinter on ${escapeHtml(environment.adapter.device)}</h1>
<pre>${escapeHtml(`${formatEnvironment(environment)}\ndate       ${environment.date}`)}</pre>
<h2>Measured peaks</h2>
<pre>${escapeHtml(formatPeaks(peaks))}</pre>
${networks.map((network) => networkSection(network, peaks, draw)).join("\n")}
<div id="tip"></div>
<script>
const tip = document.getElementById("tip");
for (const figure of document.querySelectorAll("figure")) {
  const texts = JSON.parse(figure.dataset.tips);
  figure.addEventListener("mousemove", (event) => {
    const shape = event.target.closest("[ecmeta_data_index]");
    const text = shape && texts[shape.getAttribute("ecmeta_series_index")]?.[shape.getAttribute("ecmeta_data_index")];
    tip.style.display = text ? "block" : "none";
    tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 4) + "px";
    tip.style.top = event.clientY + 14 + "px";
    if (text) tip.textContent = text;
  });
  figure.addEventListener("mouseleave", () => { tip.style.display = "none"; });
}
</script>
</body>
</html>
`;
}

function networkSection({ title, weights, precision, runs, leftOut, firstPictures, kernels, peers }: NetworkResults, peaks: Peaks, draw: Draw): string {
  return `<h2>${escapeHtml(title)}, ${precision}</h2>
<p>Weights ${escapeHtml(weights)}.</p>
<pre>${escapeHtml(formatRuns(runs, leftOut))}</pre>
${firstPictures ? `<h3>First picture of a new process</h3>\n<pre>${escapeHtml(formatFirstPictures(firstPictures))}</pre>` : ""}
${kernels.map((result) => kernelsSection(result, peaks, draw)).join("\n")}
${peers ? `<h3>Peers on the same adapter</h3>\n<pre>${escapeHtml(formatPeers(peers))}</pre>` : ""}`;
}

function kernelsSection(result: KernelResults, peaks: Peaks, draw: Draw): string {
  const { groups, picture, part } = result;
  const rows = groups.map(
    (group, i) =>
      `<tr><td>${i + 1}</td><td>${escapeHtml(group.name)}</td>${[
        `${group.nodes}`,
        formatNumber(group.milliseconds),
        percent(group.shareOfRun),
        formatNumber(group.gigaflopsPerSecond),
        formatNumber(group.gigabytesPerSecond),
        formatNumber(group.intensity),
        `${percent(group.shareOfPeak)} of ${group.bound}`,
      ]
        .map((cell) => `<td>${cell}</td>`)
        .join("")}</tr>`,
  );
  return `<h3>${escapeHtml(describeKernels(result))}</h3>
<p>Each point is one kind of kernel, its area its share of the time; the lines are what the measured peaks allow. Point at it for its name.</p>
${figure(draw(rooflineOption(groups, peaks), 520), rooflineTips(groups, peaks))}
<p>Layers of ${part} at ${formatSize(picture)} in the order in which they run: green is the least time that the peaks allow.</p>
${figure(draw(layersOption(result), 300), layerTips(result))}
<table><tr><th></th><th>kernel</th><th>count</th><th>ms</th><th>of run</th><th>GFLOP/s</th><th>GB/s</th><th>FLOP/byte</th><th>of peak</th></tr>
${rows.join("\n")}
</table>`;
}

/** @param tips text for each point, by series */
const figure = (svg: string, tips: readonly (readonly string[])[]): string => `<figure style="margin: 0" data-tips="${escapeHtml(JSON.stringify(tips))}">${svg}</figure>`;

/** Kernels that compute nothing have no place on a logarithmic axis. */
const computing = (groups: readonly KernelGroup[]): readonly KernelGroup[] => groups.filter(({ operations }) => operations > 0);

/** The roofs: bandwidth × intensity up to a peak of arithmetic. */
function roofs({ f32GigaflopsPerSecond, matrix }: Peaks): { readonly name: string; readonly peak: number }[] {
  return [{ name: "f32", peak: f32GigaflopsPerSecond }, ...matrix.map(({ product, gigaflopsPerSecond }) => ({ name: product, peak: gigaflopsPerSecond }))];
}

function rooflineOption(groups: readonly KernelGroup[], peaks: Peaks): EChartsOption {
  const { copyGigabytesPerSecond } = peaks;
  const points = computing(groups);
  const decade = (value: number, round: (x: number) => number): number => 10 ** round(Math.log10(value));
  const intensities = points.map(({ intensity }) => intensity);
  const rates = points.map(({ gigaflopsPerSecond }) => gigaflopsPerSecond);
  const highest = Math.max(...roofs(peaks).map(({ peak }) => peak));
  const left = decade(Math.min(...intensities, 1), Math.floor);
  const right = decade(Math.max(...intensities, highest / copyGigabytesPerSecond) * 1.5, Math.ceil);
  const bottom = decade(Math.min(...rates, copyGigabytesPerSecond * left), Math.floor);
  const number = (group: KernelGroup): string => (group.shareOfRun >= NUMBERED_SHARE ? `${groups.indexOf(group) + 1}` : "");
  return {
    grid: { left: 70, right: 30, top: 30, bottom: 50 },
    xAxis: { type: "log", name: "operations a byte", nameLocation: "middle", nameGap: 30, min: left, max: right },
    yAxis: { type: "log", name: "GFLOP/s", min: bottom, max: decade(highest * 1.2, Math.ceil) },
    series: [
      {
        type: "scatter",
        data: points.map((group) => ({
          value: [group.intensity, group.gigaflopsPerSecond],
          symbolSize: 8 + 40 * Math.sqrt(group.shareOfRun),
          itemStyle: { color: COLOURS[group.bound], opacity: 0.65 },
          label: { show: number(group) !== "", formatter: number(group), color: "#000", fontSize: 11 },
        })),
      },
      ...roofs(peaks).map(({ name, peak }) => {
        const ridge = peak / copyGigabytesPerSecond;
        return {
          type: "line" as const,
          symbol: "none",
          lineStyle: { color: "#475569", width: 2 },
          data: [
            [left, copyGigabytesPerSecond * left],
            [ridge, peak],
            { value: [right, peak], label: { show: true, formatter: `${name} ${formatNumber(peak)} GFLOP/s`, position: "insideBottomRight" as const }, symbol: "circle", symbolSize: 1 },
          ],
        };
      }),
    ],
  };
}

const describeWork = (milliseconds: number, least: number): string => `${formatNumber(milliseconds)} ms, at least ${formatNumber(least)} ms (${percent(least / milliseconds)})`;

function rooflineTips(groups: readonly KernelGroup[], peaks: Peaks): string[][] {
  const points = computing(groups).map((group) =>
    [
      group.name,
      `${describeWork(group.milliseconds, group.leastMilliseconds)}, ${percent(group.shareOfRun)} of the run`,
      `${formatNumber(group.gigaflopsPerSecond)} GFLOP/s, ${formatNumber(group.gigabytesPerSecond)} GB/s, ${formatNumber(group.intensity)} operations a byte`,
      group.kernels.join(", "),
    ].join("\n"),
  );
  return [points, ...roofs(peaks).map(() => [])];
}

function layersOption({ layers }: KernelResults): EChartsOption {
  return {
    grid: { left: 70, right: 30, top: 30, bottom: 30 },
    xAxis: { type: "category", data: layers.map((_, i) => `${i + 1}`) },
    yAxis: { type: "value", name: "ms" },
    series: [
      { type: "bar", stack: "time", itemStyle: { color: COLOURS.least }, data: layers.map(({ milliseconds, leastMilliseconds }) => Math.min(milliseconds, leastMilliseconds)) },
      { type: "bar", stack: "time", itemStyle: { color: COLOURS.rest }, data: layers.map(({ milliseconds, leastMilliseconds }) => Math.max(0, milliseconds - leastMilliseconds)) },
    ],
  };
}

function layerTips({ layers }: KernelResults): string[][] {
  const texts = layers.map(({ name, group, milliseconds, leastMilliseconds }) => `${name}\n${group}\n${describeWork(milliseconds, leastMilliseconds)}`);
  return [texts, texts];
}

function escapeHtml(text: string): string {
  const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (character) => entities[character] ?? character);
}
