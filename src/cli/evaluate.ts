import { availableParallelism } from "node:os";
import { basename, dirname, parse, resolve } from "node:path";
import { InvalidArgumentError, Option } from "commander";
import type { Command } from "commander";
import { SinterError } from "../errors.ts";
import { explainMetrics, METRIC_NAMES, PROFILE_NAMES, PROFILES } from "../metrics/index.ts";
import type { MetricName, ProfileName } from "../metrics/index.ts";
import { checkOutput, isFolder, listImages, pairFolders, writeFileAtomically } from "../platform/files.ts";
import { readPicture, type EvaluationJob } from "./evaluate-pair.ts";
import { evaluateAll } from "./evaluate-pool.ts";
import { formatExplanation, formatPairsCsv, formatSummary, summarize } from "./evaluate-table.ts";
import type { TableFormat } from "./evaluate-table.ts";
import { createOutput, type Output } from "./output.ts";

interface EvaluateOptions {
  profile: ProfileName;
  metrics?: MetricName[] | "all";
  format: TableFormat;
  csv?: string;
  html?: string;
  overwrite?: boolean;
  explain?: boolean;
  threads: number;
  json?: boolean;
  quiet?: boolean;
}

/** Adds `sinter evaluate FIRST SECOND FUSED…` to the program. */
export function registerEvaluate(program: Command): void {
  const formats = ["table", "csv", "markdown", "latex"];
  const command = program
    .command("evaluate")
    .description("compute the metrics of fused pictures as published toolkits do, and compare several methods")
    .argument("<first>", "the first source: a picture, or a folder")
    .argument("<second>", "the second source: a picture, or a folder of the same names (endings may differ)")
    .argument("<fused...>", "fused pictures of that pair, or folders of the same names: one for each method")
    .addOption(
      new Option("--profile <name>", "whose definitions to use").choices(PROFILE_NAMES).default("tang-matlab"),
    )
    .option("--metrics <list>", "metrics, separated by commas, or `all` of the profile", parseMetrics)
    .addOption(new Option("--format <format>", "how the means are printed").choices(formats).default("table"))
    .option("--csv <file>", "write every single value to this file")
    .option("--html <file>", "write a report with pictures and plots to this file")
    .option("--overwrite", "replace existing --csv and --html files")
    .option("--explain", "for one pair: what every profile computes, and where they part")
    .option("--threads <number>", "worker threads", parseThreads, availableParallelism())
    .option("--json", "print one JSON object")
    .option("--quiet", "no progress");
  command.action(async (first: string, second: string, fused: string[], options: EvaluateOptions) => {
    const output = createOutput(options);
    const jobs = await findJobs(first, second, fused, output);
    if (options.explain === true) return explain(jobs, options, output);
    return evaluate(jobs, options, output);
  });
}

function parseMetrics(text: string): MetricName[] | "all" {
  if (text === "all") return "all";
  return text.split(",").map((word) => {
    const wanted = word.trim().toLowerCase().replaceAll("-", "_");
    const name = METRIC_NAMES.find((candidate) => candidate.toLowerCase() === wanted);
    if (name === undefined) throw new InvalidArgumentError(`${word.trim()} is not one of ${METRIC_NAMES.join(", ")}.`);
    return name;
  });
}

function parseThreads(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError("expected a whole number from 1.");
  return count;
}

/** The metrics to compute, checked against the profile. */
function chooseMetrics({ profile, metrics }: EvaluateOptions): MetricName[] {
  const available = METRIC_NAMES.filter((name) => PROFILES[profile].metrics[name] !== undefined);
  if (metrics === undefined) return [...PROFILES[profile].defaults];
  if (metrics === "all") return available;
  const unknown = metrics.filter((name) => !available.includes(name));
  if (unknown.length > 0) {
    throw new SinterError("UNKNOWN_METRIC", `Profile ${profile} has no ${unknown.join(", ")}.`, {
      where: "--metrics",
      fix: `Choose from ${available.join(", ")}, or another --profile.`,
    });
  }
  return metrics;
}

async function evaluate(jobs: readonly EvaluationJob[], options: EvaluateOptions, output: Output): Promise<void> {
  const { profile, csv, html, overwrite } = options;
  const metrics = chooseMetrics(options);
  for (const file of [csv, html]) if (file !== undefined) await checkOutput(file, { overwrite });
  const progress = output.progress("evaluating", jobs.length);
  const settings = { profile, metrics };
  const pairs = await evaluateAll(jobs, settings, (done, name) => progress.update(done, name), options.threads).finally(
    () => progress.stop(),
  );
  for (const warning of pairs.flatMap((pair) => pair.warnings)) output.warn(warning);
  const methods = summarize(pairs, metrics);
  if (csv !== undefined) await writeFileAtomically(csv, formatPairsCsv(pairs, metrics), { overwrite });
  if (html !== undefined) {
    // The charting library is large, and only this option needs it.
    const { renderReport } = await import("./evaluate-report.ts");
    await writeFileAtomically(html, await renderReport({ profile, metrics, jobs, pairs, methods }), { overwrite });
  }
  output.note(`${pairs.length} ${pairs.length === 1 ? "pair" : "pairs"}, profile ${profile}: ${PROFILES[profile].title}`);
  for (const { label, metrics: values } of methods) {
    for (const metric of metrics) {
      const missing = values[metric]?.missing ?? 0;
      if (missing > 0) output.warn(`${label}: ${metric} is undefined for ${missing} of ${pairs.length} pairs.`);
    }
  }
  output.print(formatSummary(methods, metrics, options.format));
  const pick = (key: "mean" | "deviation") =>
    methods.map(({ label, metrics: values }) => ({
      label,
      metrics: Object.fromEntries(metrics.map((metric) => [metric, values[metric]?.[key] ?? null])),
    }));
  output.result({
    profile,
    pairs: pairs.map(({ name, fused }) => ({ name, fused })),
    mean: pick("mean"),
    deviation: pick("deviation"),
  });
}

async function explain(jobs: readonly EvaluationJob[], options: EvaluateOptions, output: Output): Promise<void> {
  const [job] = jobs;
  const fused = job?.fused[0];
  if (job === undefined || fused === undefined) return;
  if (jobs.length > 1 || job.fused.length > 1) output.note(`--explain takes one pair: ${fused.path}`);
  const pictures = {
    first: await readPicture(job.first),
    second: await readPicture(job.second),
    fused: await readPicture(fused.path),
  };
  const metrics = options.metrics === undefined || options.metrics === "all" ? METRIC_NAMES : options.metrics;
  const explained = explainMetrics(pictures, metrics);
  const profiles = PROFILE_NAMES.map((name) => {
    const { title, source, checked, grey, colour } = PROFILES[name];
    return { name, title, source, checked, grey, colour };
  });
  const heads = profiles.map(({ name, title, source, checked, grey, colour }) =>
    [`${name}: ${title}`, `  source: ${source}`, `  grey: ${grey}`, `  colour: ${colour}`, `  checked: ${checked}`].join("\n"),
  );
  output.print([...heads, "", formatExplanation(explained)].join("\n"));
  output.result({ name: job.name, profiles, metrics: explained });
}

/** The jobs that the arguments name: one for files, one for each name for folders. */
async function findJobs(
  first: string,
  second: string,
  fused: readonly string[],
  output: Output,
): Promise<EvaluationJob[]> {
  const paths = [first, second, ...fused];
  const folders = await Promise.all(paths.map(isFolder));
  const labels = labelsOf(fused);
  if (!folders.includes(true)) {
    const candidates = fused.map((path, index) => ({ label: labels[index] as string, path }));
    return [{ name: parse(fused[0] as string).name, first, second, fused: candidates }];
  }
  const file = paths.find((_, index) => folders[index] === false);
  if (file !== undefined) {
    throw new SinterError("FILES_AND_FOLDERS", `${file} is no folder, but another argument is one.`, {
      where: file,
      fix: "Give only files or only folders.",
    });
  }
  return pairWithFused(first, second, fused, labels, output);
}

async function pairWithFused(
  first: string,
  second: string,
  fused: readonly string[],
  labels: readonly string[],
  output: Output,
): Promise<EvaluationJob[]> {
  const sources = await pairFolders(first, second);
  const folders = await Promise.all(fused.map(imagesByName));
  const sourceNames = new Set(sources.map(({ name }) => name));
  folders.forEach((images, index) => {
    const strangers = [...images.keys()].filter((name) => !sourceNames.has(name));
    const lacking = [...sourceNames].filter((name) => !images.has(name) && folders.some((other) => other.has(name)));
    if (strangers.length === 0 && lacking.length === 0) return;
    const parts = [
      strangers.length > 0 ? `has ${listNames(strangers)}, which the sources do not have` : "",
      lacking.length > 0 ? `lacks ${listNames(lacking)}, which another fused folder has` : "",
    ].filter((part) => part !== "");
    throw new SinterError("UNMATCHED_NAMES", `${fused[index]} ${parts.join(" and ")}.`, {
      where: fused[index] as string,
      fix: "Pictures are matched by name without its ending; rename, add or remove files.",
    });
  });
  const jobs = sources
    .filter(({ name }) => folders[0]?.has(name))
    .map((pair) => ({
      ...pair,
      fused: folders.map((images, index) => ({
        label: labels[index] as string,
        path: images.get(pair.name) as string,
      })),
    }));
  const left = sources.filter(({ name }) => !folders[0]?.has(name)).map(({ name }) => name);
  if (left.length > 0) {
    output.warn(`${left.length} of ${sources.length} pairs have no fused picture and are left out: ${listNames(left)}.`);
  }
  return jobs;
}

async function imagesByName(folder: string): Promise<Map<string, string>> {
  const byName = new Map<string, string>();
  for (const path of await listImages(folder)) {
    const { name } = parse(path);
    const other = byName.get(name);
    if (other !== undefined) {
      throw new SinterError("AMBIGUOUS_NAMES", `${other} and ${path} have the same name without the ending.`, {
        where: folder,
        fix: "Keep one of them in the folder.",
      });
    }
    byName.set(name, path);
  }
  return byName;
}

function listNames(names: readonly string[]): string {
  const shown = names.slice(0, 5).join(", ");
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}

/** A name for each fused argument: its last part, with the folder above where two are equal, else the whole path. */
function labelsOf(fused: readonly string[]): string[] {
  const short = fused.map((path) => basename(resolve(path)));
  const longer = fused.map((path) => `${basename(dirname(resolve(path)))}/${basename(resolve(path))}`);
  return [short, longer].find((labels) => new Set(labels).size === labels.length) ?? [...fused];
}
