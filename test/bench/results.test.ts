import { mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { renderHtml } from "../../bench/html.ts";
import { formatComparison } from "../../bench/report.ts";
import { readResults } from "../../bench/results.ts";

const folder = "bench/results";
const files = readdirSync(folder).filter((file) => file.endsWith(".json") && !file.endsWith("-torch.json"));

describe("stored results", () => {
  it.each(files)("%s can be compared with: every ratio to itself is 1", (file) => {
    const results = readResults(join(folder, file));
    const ratios = [...formatComparison(results, results).matchAll(/(\S+)×$/gm)].map(([, ratio]) => ratio);
    expect(ratios.length).toBeGreaterThan(10);
    expect(new Set(ratios)).toEqual(new Set(["1.00"]));
  });

  it.each(files)("%s as a page: one point for each kernel that computes, and nothing from elsewhere", async (file) => {
    const results = readResults(join(folder, file));
    const html = await renderHtml(results);
    expect(html).not.toMatch(/<(script|link|img)[^>]*(src|href)=|url\(\s*["']?http|@import/);
    const kernels = results.networks.flatMap((network) => network.kernels);
    const computing = kernels.flatMap(({ groups }) => groups).filter(({ operations }) => operations > 0);
    const circles = html.match(/ecmeta_series_index="0"[^>]*ecmeta_ssr_type="chart"/g) ?? [];
    const bars = kernels.flatMap(({ layers }) => layers);
    expect(circles.length).toBeGreaterThanOrEqual(computing.length);
    expect(circles.length).toBeLessThanOrEqual(computing.length + bars.length);
  });
});

describe("readResults", () => {
  it("names a file that is not a result", () => {
    const file = join(mkdtempSync(join(tmpdir(), "sinter-")), "other.json");
    writeFileSync(file, '{ "runs": [] }');
    expect(() => readResults(file)).toThrow(/other\.json is not a result of this benchmark/);
    writeFileSync(file, "{");
    expect(() => readResults(file)).toThrow(/cannot be read as JSON/);
  });
});
