import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { evaluatePictures, PROFILES, type MetricName } from "../../src/metrics/index.ts";
import { readImage } from "../../src/platform/images.ts";

// Published pictures and values, which are not in the repository.
const data = join(process.cwd(), "..", "shared", "data");
const golden = join(process.cwd(), "..", "shared", "golden", "refusion");
const published = join(data, "metrics_ref");

interface Row {
  image: string;
  method: string;
  values: Map<string, number>;
}

function readRows(file: string): Row[] {
  const [head = [], ...rows] = readFileSync(file, "utf8").trim().split("\n").map((line) => line.split("\t"));
  return rows.map(([image = "", method = "", ...cells]) => ({
    image,
    method,
    values: new Map(cells.map((cell, index) => [head[index + 2] ?? "", Number(cell)])),
  }));
}

async function readTriple(first: string, second: string, fused: string) {
  const [a, b, f] = await Promise.all([first, second, fused].map((path) => readImage(path, { ignoreProfile: true })));
  if (a === undefined || b === undefined || f === undefined) throw new Error("three pictures expected");
  return { first: a, second: b, fused: f };
}

function readGolden(task: string) {
  const [first = "", second = "", fused = ""] = ["input1", "input2", "fused_gray"].map((part) =>
    join(golden, `${task}_${part}.png`),
  );
  return readTriple(first, second, fused);
}

describe.skipIf(!existsSync(published))("published values (needs ../shared/data/metrics_ref)", () => {
  it("the 2022 MATLAB toolkit on TNO: all eleven columns to 1e-9", async () => {
    for (const { image, method, values } of readRows(join(published, "tno", "values.tsv"))) {
      const pictures = await readTriple(
        join(data, "ivf/tno/ir", `${image}.png`),
        join(data, "ivf/tno/vis", `${image}.png`),
        join(published, "tno/fused", method, `${image}.png`),
      );
      const names = [...values.keys()] as MetricName[];
      const computed = evaluatePictures(pictures, "tang-2022-uint8", names);
      for (const name of names) {
        const difference = Math.abs((computed[name] ?? Number.NaN) - (values.get(name) ?? Number.NaN));
        expect(difference, `${image} ${method} ${name}`).toBeLessThan(1e-9);
      }
    }
  });

  it("VIFB: all thirteen columns to the printed digits", async () => {
    const columns: Record<string, MetricName> = {
      Entropy: "EN",
      Variance: "SD",
      Spatial_frequency: "SF",
      Avg_gradient: "AG",
      Edge_intensity: "EI",
      Cross_entropy: "CE",
      Mutinf: "MI",
      Psnr: "PSNR",
      Rmse: "RMSE",
      Ssim: "SSIM",
      Qabf: "Qabf",
      Qcb: "Q_CB",
      Qcv: "Q_CV",
    };
    for (const { image, method, values } of readRows(join(published, "vifb", "values.tsv"))) {
      const pictures = await readTriple(
        join(data, "ivf/vifb/vis", `${image}.jpg`),
        join(data, "ivf/vifb/ir", `${image}.jpg`),
        join(published, "vifb/fused", method, `${image}.jpg`),
      );
      const computed = evaluatePictures(pictures, "vifb");
      expect(values.size).toBe(PROFILES.vifb.defaults.length);
      for (const [column, value] of values) {
        const name = columns[column];
        if (name === undefined) throw new Error(`unknown column ${column}`);
        // Five significant digits are printed.
        const relative = Math.abs((computed[name] ?? Number.NaN) / value - 1);
        expect(relative, `${image} ${method} ${column}`).toBeLessThan(5.1e-5);
      }
    }
  });
});

describe.skipIf(!existsSync(golden))("official ReFusion on its own pairs (needs ../shared/golden/refusion)", () => {
  const names = ["EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "CC", "PSNR", "Qabf"] as const;
  it.each([
    ["IVIF", [5.8985, 31.1903, 7.0482, 1.9793, 3.3694, 1.7676, 1.0694, 0.7511, 69.3208, 0.6131]],
    ["MFIF", [7.5267, 60.3606, 19.4782, 5.8748, 6.7019, 0.8744, 1.0451, 0.9747, 73.5466, 0.704]],
    ["MEIF", [7.4602, 77.3018, 6.4093, 1.8042, 7.5274, 1.1385, 1.3137, 0.9399, 60.7049, 0.6059]],
    ["MIF", [5.5563, 75.7678, 31.859, 9.9502, 2.803, 1.8489, 0.8147, 0.7215, 60.8249, 0.8125]],
  ])("%s", async (task, wanted) => {
    const pictures = await readGolden(task);
    const computed = evaluatePictures(pictures, "tang-matlab", names);
    // The table's MI has all 256 joint levels, unlike the toolkit's.
    computed.MI = (evaluatePictures(pictures, "cddfuse-py", ["MI"]).MI ?? Number.NaN) / Math.LN2;
    names.forEach((name, index) => {
      const difference = Math.abs((computed[name] ?? Number.NaN) - (wanted[index] ?? Number.NaN));
      expect(difference, name).toBeLessThan(2.5e-4);
    });
  });

  it("SSIM of one pair in four toolkits", async () => {
    const pictures = await readGolden("IVIF");
    expect(evaluatePictures(pictures, "tang-matlab", ["SSIM"]).SSIM).toBeCloseTo(0.5239, 4);
    expect(evaluatePictures(pictures, "cddfuse-py", ["SSIM"]).SSIM).toBeCloseTo(1.056, 3);
    expect(evaluatePictures(pictures, "vifb", ["SSIM"]).SSIM).toBeCloseTo(1.6388, 4);
    expect(evaluatePictures(pictures, "ivif-zoo", ["SSIM"]).SSIM).toBeCloseTo(1.0524, 4);
  });
});
