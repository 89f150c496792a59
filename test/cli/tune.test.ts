import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { registerDoctor } from "../../src/cli/doctor.ts";
import { registerTune } from "../../src/cli/tune.ts";
import { DEVICE_CLASSES } from "../../src/runtime/device.ts";
import { capture } from "./capture.ts";

const sinter = (...args: string[]): ReturnType<typeof capture> =>
  capture(async () => {
    const program = new Command().exitOverride();
    registerTune(program);
    registerDoctor(program);
    await program.parseAsync(["node", "sinter", ...args]);
  });

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sinter-tune-"));
  vi.stubEnv("SINTER_CACHE", folder);
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

describe("sinter tune", () => {
  it("measures the operators of a model, says what is fastest and remembers it", async () => {
    const { stdout } = await sinter("tune", "--size", "24x16", "--json");
    const { file, operators } = JSON.parse(stdout) as { file: string; operators: { key: string; operator: string; standard: string; best: string; candidates: unknown[] }[] };
    expect(operators.map(({ operator }) => operator)).toContain("depthwiseConv2d");
    const { variants } = JSON.parse(await readFile(file, "utf8")) as { variants: Record<string, string> };
    expect(variants).toEqual(Object.fromEntries(operators.filter(({ standard, best }) => best !== standard).map(({ key, best }) => [key, best])));
    expect(file.startsWith(folder)).toBe(true);
  });

  it("refuses a size that is none", async () => {
    await expect(sinter("tune", "--size", "640")).rejects.toMatchObject({ exitCode: 1 });
  });
});

describe("sinter doctor --variants", () => {
  it("prints what each class of GPUs takes, and which of it was measured", async () => {
    const { stdout } = await sinter("doctor", "--variants");
    for (const deviceClass of DEVICE_CLASSES) expect(stdout).toContain(deviceClass);
    expect(stdout).toContain("nvidia *");
    expect(stdout).not.toContain("software *");
    const { stdout: json } = await sinter("doctor", "--variants", "--json");
    expect(JSON.parse(json)).toMatchObject({ measured: ["software"] });
  });
});
