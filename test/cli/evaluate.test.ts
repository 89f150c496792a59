import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { registerEvaluate } from "../../src/cli/evaluate.ts";
import { formatPairsCsv, formatSummary, rankOf, summarize } from "../../src/cli/evaluate-table.ts";
import type { Picture } from "../../src/fusion/picture.ts";
import { writeImage } from "../../src/platform/images.ts";
import { fixturePictures, greyPicture, threeChannels } from "../metrics/pictures.ts";

let folder: string;
let stdout: string;
let stderr: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sinter-evaluate-"));
  stdout = "";
  stderr = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

/** Runs `sinter evaluate` with paths inside the test's folder. */
async function run(paths: string[], ...options: string[]): Promise<void> {
  const program = new Command("sinter").exitOverride();
  registerEvaluate(program);
  const full = paths.map((path) => join(folder, path));
  await program.parseAsync(["node", "sinter", "evaluate", ...full, ...options]);
}

async function save(path: string, picture: Picture): Promise<void> {
  const file = join(folder, path);
  await mkdir(join(file, ".."), { recursive: true });
  await writeImage(file, picture, { overwrite: true });
}

function shifted(picture: Picture, by: number): Picture {
  return { ...picture, data: Uint8Array.from(picture.data, (level) => Math.min(level + by, 255)) };
}

/** Folders ir, vis, good and bad with two pairs, the names' endings differing. */
async function saveFolders(): Promise<void> {
  const { first, second, fused } = fixturePictures();
  for (const [name, by] of [["one", 0], ["two", 9]] as const) {
    await save(`ir/${name}.png`, shifted(first, by));
    await save(`vis/${name}.tif`, shifted(second, by));
    await save(`good/${name}.webp`, shifted(fused, by));
    await save(`bad/${name}.png`, greyPicture(first.width, first.height, (x) => x % 2));
  }
}

describe("sinter evaluate", () => {
  it("prints the values of one pair as JSON", async () => {
    const { first, second, fused } = fixturePictures();
    await save("a.png", first);
    await save("b.png", second);
    await save("f.png", fused);
    await run(["a.png", "b.png", "f.png"], "--json", "--metrics", "en,AG,ms-ssim", "--profile", "ivif-zoo");
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({
      profile: "ivif-zoo",
      // 48 × 45 pixels are too few for five scales.
      pairs: [{ name: "f", fused: [{ label: "f.png", metrics: { MS_SSIM: null } }] }],
      mean: [{ label: "f.png", metrics: { MS_SSIM: null } }],
      deviation: [{ label: "f.png", metrics: { EN: null, AG: null, MS_SSIM: null } }],
    });
    expect(result.mean[0].metrics.EN).toBeCloseTo(7.2449644, 6);
    expect(result.pairs[0].fused[0].metrics.AG).toBe(result.mean[0].metrics.AG);
    expect(stderr).toContain("MS_SSIM is undefined for 1 of 1 pairs");
  });

  it("compares folders, with means and the order of the methods", async () => {
    await saveFolders();
    await run(["ir", "vis", "bad", "good"], "--metrics", "VIF,MSE", "--format", "markdown");
    const [head, , bad = "", good = ""] = stdout.trim().split("\n");
    expect(head).toBe("|  | VIF ↑ | MSE ↓ |");
    expect(bad).toMatch(/^\| bad \| _\d\.\d+_ ± [\d.]+ \| _0\.\d+_ ± [\d.]+ \|$/);
    expect(good).toMatch(/^\| good \| \*\*\d\.\d+\*\* ± [\d.]+ \| \*\*0\.\d+\*\* ± [\d.]+ \|$/);
    expect(stderr).toContain("2 pairs, profile tang-matlab");
  });

  it("writes every single value and a report that loads nothing, and keeps existing files", async () => {
    await saveFolders();
    const files = ["--csv", join(folder, "values.csv"), "--html", join(folder, "report.html")];
    const paths = ["ir", "vis", "bad", "good"];
    await run(paths, "--metrics", "EN,SCD", ...files);
    const lines = (await readFile(join(folder, "values.csv"), "utf8")).trim().split("\n");
    expect(lines[0]).toBe("name,fused,EN,SCD");
    expect(lines.map((line) => line.split(",").slice(0, 2).join(" "))).toEqual([
      "name fused",
      "one bad",
      "one good",
      "two bad",
      "two good",
    ]);
    const html = await readFile(join(folder, "report.html"), "utf8");
    // EN and SCD: a cumulative curve and a box plot each; two pairs of four pictures with a crop each.
    expect(html.match(/<svg /g)).toHaveLength(4);
    expect(html.match(/<img /g)).toHaveLength(16);
    expect(html.match(/(?:src|href)="(?!data:)/g)).toBeNull();
    expect(html).not.toMatch(/<script|NaN/);
    await expect(run(paths, "--metrics", "EN", ...files)).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
    await run(paths, "--metrics", "EN", "--overwrite", ...files);
    expect(await readFile(join(folder, "values.csv"), "utf8")).toMatch(/^name,fused,EN\n/);
  });

  it("explains a pair from the table of profiles", async () => {
    await saveFolders();
    await run(["ir/one.png", "vis/one.tif", "good/one.webp"], "--explain", "--metrics", "AG");
    expect(stdout).toMatch(/tang-matlab +16\.\d{4} +divisor \(h−1\)\(w−1\)/);
    expect(stdout).toMatch(/ivif-zoo +15\.\d{4} +divisor h·w/);
    expect(stdout).toContain("they part in: divisor");
  });
});

describe("bad input", () => {
  it("names without a partner, in the sources and in the fused folders", async () => {
    await saveFolders();
    await save("ir/three.png", greyPicture(2, 2, () => 0));
    await expect(run(["ir", "vis", "good"])).rejects.toMatchObject({ code: "UNMATCHED_NAMES" });
    await save("vis/three.png", greyPicture(2, 2, () => 0));
    await save("good/three.png", greyPicture(2, 2, () => 0));
    await save("good/four.png", greyPicture(2, 2, () => 0));
    const message = expect.stringMatching(/good has four, which the sources do not have\.$/);
    await expect(run(["ir", "vis", "good"])).rejects.toMatchObject({ code: "UNMATCHED_NAMES", message });
    const lacking = expect.stringMatching(/bad lacks three, which another fused folder has\.$/);
    await expect(run(["ir", "vis", "bad", "good"])).rejects.toMatchObject({ code: "UNMATCHED_NAMES", message: lacking });
  });

  it("sizes that differ: which file, which sizes", async () => {
    await saveFolders();
    await save("bad/two.png", greyPicture(7, 5, () => 0));
    const message = expect.stringMatching(/ir\/two\.png is 48×45, .*bad\/two\.png is 7×5/);
    await expect(run(["ir", "vis", "bad"])).rejects.toMatchObject({ code: "SIZE_MISMATCH", message });
  });

  it("an empty folder, and files beside folders", async () => {
    await saveFolders();
    await mkdir(join(folder, "empty"));
    await expect(run(["ir", "vis", "empty"])).rejects.toMatchObject({ code: "NO_IMAGES" });
    await expect(run(["ir", "vis", "good/one.webp"])).rejects.toMatchObject({ code: "FILES_AND_FOLDERS" });
  });

  it("a coloured picture of grey sources: a warning", async () => {
    await saveFolders();
    const grey = threeChannels(fixturePictures().fused);
    const data = Uint8Array.from(grey.data, (level, i) => (i % 3 === 0 ? 255 : level));
    await save("colour.png", { ...grey, data });
    await run(["ir/one.png", "vis/one.tif", "colour.png"], "--metrics", "EN");
    expect(stderr).toMatch(/warning: .*colour\.png is coloured, but both sources are grey\./);
  });

  it("a file that is no picture", async () => {
    await saveFolders();
    await writeFile(join(folder, "good/one.webp"), "text");
    await expect(run(["ir", "vis", "good"])).rejects.toMatchObject({ code: "NOT_AN_IMAGE" });
  });

  it("metrics that do not exist, or not in the profile", async () => {
    await saveFolders();
    await expect(run(["ir", "vis", "good"], "--metrics", "XYZ")).rejects.toBeInstanceOf(CommanderError);
    await expect(run(["ir", "vis", "good"], "--metrics", "FMI_w", "--profile", "vifb")).rejects.toMatchObject({
      code: "UNKNOWN_METRIC",
    });
  });
});

describe("tables", () => {
  const pairs = [
    { name: "1", warnings: [], fused: [{ label: "a_b", metrics: { EN: 1, MSE: 0.25 } }, { label: "c", metrics: { EN: 3, MSE: 0.5 } }] },
    { name: "2", warnings: [], fused: [{ label: "a_b", metrics: { EN: 2, MSE: null } }, { label: "c", metrics: { EN: 3, MSE: 0.5 } }] },
  ];
  const methods = summarize(pairs, ["EN", "MSE"]);

  it("mean and sample deviation over the defined values", () => {
    expect(methods[0]?.metrics).toEqual({
      EN: { mean: 1.5, deviation: Math.sqrt(0.5), missing: 0 },
      MSE: { mean: 0.25, deviation: null, missing: 1 },
    });
    expect([rankOf("EN", "a_b", methods), rankOf("EN", "c", methods)]).toEqual([2, 1]);
    expect([rankOf("MSE", "a_b", methods), rankOf("MSE", "c", methods)]).toEqual([1, 2]);
  });

  it("LaTeX", () => {
    expect(formatSummary(methods, ["EN", "MSE"], "latex").split("\n").slice(2, 6)).toEqual([
      " & EN $\\uparrow$ & MSE $\\downarrow$ \\\\",
      "\\hline",
      "a\\_b & \\underline{1.5000} $\\pm$ 0.7071 & \\textbf{0.2500} \\\\",
      "c & \\textbf{3.0000} $\\pm$ 0.0000 & \\underline{0.5000} $\\pm$ 0.0000 \\\\",
    ]);
  });

  it("text and CSV, with what is undefined as such", () => {
    expect(formatSummary(methods, ["MSE"], "table")).toBe(
      ["       a_b         c", "MSE ↓  0.2500 (1)  0.5000 (2) ± 0.0000"].join("\n"),
    );
    expect(formatSummary(methods, ["MSE"], "csv").split("\n")).toEqual([
      "fused,statistic,MSE",
      "a_b,mean,0.25",
      "a_b,deviation,undefined",
      "c,mean,0.5",
      "c,deviation,0",
    ]);
    expect(formatPairsCsv(pairs, ["MSE"]).split("\n")[3]).toBe("2,a_b,undefined");
  });
});
