import { METRICS, type ExplainedMetric, type MetricName } from "../metrics/index.ts";
import type { EvaluatedPair } from "./evaluate-pair.ts";
import { alignColumns } from "./output.ts";

export type TableFormat = "table" | "csv" | "markdown" | "latex";

/** One metric of one method over all pairs. */
export interface Summary {
  /** Mean of the defined values; null where none is. */
  mean: number | null;
  /** Sample standard deviation (n − 1) of the defined values; null for fewer than two. */
  deviation: number | null;
  /** How many values are not defined. */
  missing: number;
}

export interface MethodSummary {
  label: string;
  metrics: Partial<Record<MetricName, Summary>>;
}

/** Mean and deviation of each metric for each fused folder. */
export function summarize(pairs: readonly EvaluatedPair[], metrics: readonly MetricName[]): MethodSummary[] {
  const labels = pairs[0]?.fused.map(({ label }) => label) ?? [];
  return labels.map((label, index) => {
    const summary: MethodSummary = { label, metrics: {} };
    for (const metric of metrics) {
      const values = pairs.map((pair) => pair.fused[index]?.metrics[metric] ?? null);
      summary.metrics[metric] = summarizeValues(values);
    }
    return summary;
  });
}

function summarizeValues(values: readonly (number | null)[]): Summary {
  const defined = values.filter((value) => value !== null);
  const missing = values.length - defined.length;
  if (defined.length === 0) return { mean: null, deviation: null, missing };
  const mean = defined.reduce((sum, value) => sum + value, 0) / defined.length;
  if (defined.length === 1) return { mean, deviation: null, missing };
  const squares = defined.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: Math.sqrt(squares / (defined.length - 1)), missing };
}

/** Four decimals, or four significant digits where they would show fewer. */
export function formatValue(value: number | null): string {
  if (value === null) return "undefined";
  return Math.abs(value) >= 0.01 || value === 0 ? value.toFixed(4) : value.toPrecision(4);
}

/** A deviation with as many decimals as its mean. */
export function formatDeviation(deviation: number, mean: number | null): string {
  const text = formatValue(mean);
  const decimals = /^-?\d+\.(\d+)$/.exec(text)?.[1]?.length;
  return decimals === undefined ? formatValue(deviation) : deviation.toFixed(decimals);
}

/** 1 for the best mean, 2 for the next value after it; equal means share their rank. Nothing for one method. */
export function rankOf(metric: MetricName, label: string, methods: readonly MethodSummary[]): 1 | 2 | undefined {
  if (methods.length < 2) return undefined;
  const means = methods.flatMap((method) => method.metrics[metric]?.mean ?? []);
  const sign = METRICS[metric].better === "higher" ? -1 : 1;
  const order = [...new Set(means)].toSorted((a, b) => sign * (a - b));
  const own = methods.find((method) => method.label === label)?.metrics[metric]?.mean ?? null;
  if (own === null) return undefined;
  if (own === order[0]) return 1;
  return own === order[1] ? 2 : undefined;
}

const MARKS: Record<TableFormat, { plusMinus: string; rank: (text: string, rank: 1 | 2) => string }> = {
  table: { plusMinus: " ± ", rank: (text, rank) => `${text} ${rank === 1 ? "(1)" : "(2)"}` },
  csv: { plusMinus: "", rank: (text) => text },
  markdown: { plusMinus: " ± ", rank: (text, rank) => (rank === 1 ? `**${text}**` : `_${text}_`) },
  latex: { plusMinus: " $\\pm$ ", rank: (text, rank) => `${rank === 1 ? "\\textbf" : "\\underline"}{${text}}` },
};

/** The summary as a table: a row for each fused folder, a column for each metric, best and second best marked. */
export function formatSummary(
  methods: readonly MethodSummary[],
  metrics: readonly MetricName[],
  format: TableFormat,
): string {
  if (format === "csv") return formatSummaryCsv(methods, metrics);
  const { plusMinus, rank } = MARKS[format];
  const cell = (method: MethodSummary, metric: MetricName): string => {
    const { mean = null, deviation = null } = method.metrics[metric] ?? {};
    const place = rankOf(metric, method.label, methods);
    const text = place === undefined ? formatValue(mean) : rank(formatValue(mean), place);
    return deviation === null ? text : `${text}${plusMinus}${formatDeviation(deviation, mean)}`;
  };
  if (format === "table") {
    // One line a metric: with many metrics, columns would not fit a terminal.
    const head = ["", ...methods.map(({ label }) => label)];
    const rows = metrics.map((metric) => [arrowed(metric), ...methods.map((method) => cell(method, metric))]);
    return alignColumns([head, ...rows]);
  }
  const head = ["", ...metrics.map(arrowed)];
  const rows = methods.map((method) => [method.label, ...metrics.map((metric) => cell(method, metric))]);
  return format === "markdown" ? formatMarkdown(head, rows) : formatLatex(head, rows);
}

function arrowed(metric: MetricName): string {
  return `${metric} ${METRICS[metric].better === "higher" ? "↑" : "↓"}`;
}

function markdownLine(cells: readonly string[]): string {
  return `| ${cells.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`;
}

function formatMarkdown(head: string[], rows: string[][]): string {
  const rule = head.map((_, index) => (index === 0 ? "---" : "---:"));
  return [head, rule, ...rows].map(markdownLine).join("\n");
}

function escapeLatex(text: string): string {
  return text.replaceAll(/[_&%#${}]/g, (sign) => `\\${sign}`);
}

function formatLatex(head: string[], rows: string[][]): string {
  const heads = head.map((text) => escapeLatex(text).replace("↑", "$\\uparrow$").replace("↓", "$\\downarrow$"));
  const body = rows.map(([label = "", ...cells]) => `${[escapeLatex(label), ...cells].join(" & ")} \\\\`);
  return [
    `\\begin{tabular}{l${"r".repeat(head.length - 1)}}`,
    "\\hline",
    `${heads.join(" & ")} \\\\`,
    "\\hline",
    ...body,
    "\\hline",
    "\\end{tabular}",
  ].join("\n");
}

function csvLine(cells: readonly string[]): string {
  return cells.map((text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)).join(",");
}

function csvValue(value: number | null | undefined): string {
  return value === null || value === undefined ? "undefined" : String(value);
}

function formatSummaryCsv(methods: readonly MethodSummary[], metrics: readonly MetricName[]): string {
  const rows = methods.flatMap(({ label, metrics: values }) => [
    [label, "mean", ...metrics.map((metric) => csvValue(values[metric]?.mean))],
    [label, "deviation", ...metrics.map((metric) => csvValue(values[metric]?.deviation))],
  ]);
  return [["fused", "statistic", ...metrics], ...rows].map(csvLine).join("\n");
}

/** Every single value: a line for each pair and fused folder, all digits. */
export function formatPairsCsv(pairs: readonly EvaluatedPair[], metrics: readonly MetricName[]): string {
  const rows = pairs.flatMap(({ name, fused }) =>
    fused.map(({ label, metrics: values }) => [name, label, ...metrics.map((metric) => csvValue(values[metric]))]),
  );
  return `${[["name", "fused", ...metrics], ...rows].map(csvLine).join("\n")}\n`;
}

/** What `--explain` prints for one pair: each metric with its variants, their values and where they part. */
export function formatExplanation(explained: readonly ExplainedMetric[]): string {
  return explained.map(formatExplainedMetric).join("\n\n");
}

function formatExplainedMetric({ metric, title, better, variants, parts }: ExplainedMetric): string {
  const rows = variants.map(({ profile, value, options }) => {
    const words = Object.entries(options).map(([key, text]) => `${key} ${text}`);
    return [`  ${profile}`, formatValue(value), words.join("; ")];
  });
  const notes = variants.flatMap(({ profile, note }) => (note === undefined ? [] : [`  ${profile}: ${note}`]));
  const difference = parts.length === 0 ? [] : [`  they part in: ${parts.join(", ")}`];
  return [`${metric}, ${title} (${better} is better)`, alignColumns(rows), ...difference, ...notes].join("\n");
}
