// Measures every method on the held-out pairs and writes the tables of docs/results.md; see README.md. Run `npm run build` first.
import { execFile } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";

const root = fileURLToPath(new URL("../..", import.meta.url));
const sinter = join(root, "bin/sinter.mjs");
const { values } = parseArgs({
  options: {
    data: { type: "string" },
    official: { type: "string" },
    work: { type: "string", default: join(tmpdir(), "sinter-results") },
    task: { type: "string", multiple: true },
  },
});
if (!values.data || !values.official) {
  console.error("usage: node tools/results/results.mjs --data DATA --official FOLDER [--work FOLDER] [--task TASK …]");
  process.exit(2);
}

/** Task names of the command, by those of the split. */
const TASKS = {
  ivf: { name: "infrared-visible", official: "ReFusion_IVIF.pth" },
  medical: { name: "medical", official: "ReFusion_MIF.pth" },
  mef: { name: "multi-exposure", official: "ReFusion_MEIF.pth" },
  mff: { name: "multi-focus", official: "ReFusion_MFIF.pth" },
};
const METRICS = ["EN", "SD", "SF", "AG", "MI", "SCD", "CC", "VIF", "Qabf", "SSIM"];

/** @param {string} path */
function readTable(path) {
  const [head = "", ...lines] = readFileSync(path, "utf8").trim().split("\n");
  const names = head.split("\t");
  return lines.map((line) => Object.fromEntries(line.split("\t").map((value, i) => [names[i], value])));
}

/** @param {string[]} args */
const run = (args) => promisify(execFile)(process.execPath, [sinter, ...args], { maxBuffer: 1 << 28 });

const split = readTable(join(root, "tools/train/split.tsv")).filter((row) => row.split === "test");
const files = new Map(readTable(join(values.data, "PAIRS.tsv")).map((row) => [`${row.task}/${row.dataset}/${row.name}`, row]));
const chosen = Object.entries(TASKS).filter(([, { name }]) => !values.task || values.task.includes(name));

const sections = [];
for (const [key, { name, official }] of chosen) {
  const folder = join(values.work, name);
  const [first, second] = [join(folder, "first"), join(folder, "second")];
  for (const side of [first, second]) mkdirSync(side, { recursive: true });
  const pairs = split.filter((row) => row.task === key).map((row) => files.get(`${key}/${row.dataset}/${row.name}`));
  for (const { dataset, name: pair, path_a: a, path_b: b } of pairs) {
    for (const [side, path] of [[first, a], [second, b]]) {
      const copy = join(side, `${dataset}-${pair}${extname(path)}`);
      if (!existsSync(copy)) copyFileSync(join(values.data, path), copy);
    }
  }
  const methods = {
    average: ["--model", "average"],
    maximum: ["--model", "maximum"],
    laplacian: ["--model", "laplacian"],
    mertens: ["--model", "mertens"],
    "ReFusion, official": ["--weights", join(values.official, official)],
    "ReFusion, shipped": ["--model", "refusion"],
    "Mask-DiFuser, shipped": ["--model", "mask-difuser"],
  };
  const fused = [];
  for (const [label, flags] of Object.entries(methods)) {
    const out = join(folder, label);
    console.error(`${name}: ${label}`);
    await run(["fuse", first, second, "-o", out, "--task", name, "--quiet", ...flags]);
    fused.push(out);
  }
  const reportFile = join(folder, "report.json");
  if (!existsSync(reportFile)) {
    console.error(`${name}: measuring`);
    const { stdout } = await run(["evaluate", first, second, ...fused, "--metrics", METRICS.join(","), "--json", "--quiet"]);
    writeFileSync(reportFile, stdout);
  }
  const report = JSON.parse(readFileSync(reportFile, "utf8"));
  const sets = [...new Set(pairs.map(({ dataset }) => dataset))].map((set) => `${set} ${pairs.filter(({ dataset }) => dataset === set).length}`);
  sections.push({ name, count: pairs.length, sets, mean: report.mean.map((entry) => ({ ...entry, label: basename(entry.label) })) });
}

const format = (value) => (value === null || value === undefined ? "undefined" : value.toFixed(3));
const text = sections.map(({ name, count, sets, mean }) => {
  const best = METRICS.map((metric) => Math.max(...mean.map(({ metrics }) => metrics[metric] ?? -Infinity)));
  const rows = mean.map(({ label, metrics }) => {
    const cells = METRICS.map((metric, i) => (metrics[metric] === best[i] ? `**${format(metrics[metric])}**` : format(metrics[metric])));
    return `| ${label} | ${cells.join(" | ")} |`;
  });
  return [`## ${name}`, "", `${count} pairs: ${sets.join(", ")}.`, "", `| | ${METRICS.join(" | ")} |`, `|---|${METRICS.map(() => "---|").join("")}`, ...rows].join("\n");
});
writeFileSync(
  join(values.work, "results.md"),
  [
    "# Results on pairs that no shipped weights were trained on",
    "",
    "Means over the held-out pairs of [tools/train/split.tsv](../tools/train/split.tsv), profile `tang-matlab` ([metrics.md](metrics.md)). Higher is better",
    "throughout, the best of a column is bold; EN, SD, SF and AG reward contrast and noise as well as detail, so read VIF and Qabf first.",
    "Official ReFusion runs from its authors' checkpoints; whether it was trained on some of these pairs is not known. Both run with Sinter's",
    "defaults, not `--reference`. Reproduce with [tools/results](../tools/results):",
    "",
    "```sh",
    "node tools/results/results.mjs --data DATA --official FOLDER",
    "```",
    "",
    text.join("\n\n"),
    "",
  ].join("\n"),
);
console.error(`Written: ${join(values.work, "results.md")}`);
