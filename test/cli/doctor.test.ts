import { Command } from "commander";
import { afterEach, describe, expect, it, vi } from "vitest";
import { computeCheckSum, expectedCheckSum, registerDoctor } from "../../src/cli/doctor.ts";
import { SinterError } from "../../src/errors.ts";
import * as platform from "../../src/platform/gpu.ts";
import { capture } from "./capture.ts";

const { findGpu } = platform;
vi.mock("../../src/platform/gpu.ts", { spy: true });
afterEach(() => {
  vi.mocked(platform.findGpu).mockReset();
});

const doctor = (...args: string[]): ReturnType<typeof capture> =>
  capture(async () => {
    const program = new Command().exitOverride();
    registerDoctor(program);
    await program.parseAsync(["node", "sinter", "doctor", ...args]);
  });

describe("the check sum", () => {
  it("is the same on the adapter and on the CPU", async () => {
    const adapter = await (await findGpu()).requestAdapter();
    const device = await adapter?.requestDevice();
    if (device === undefined) throw new Error("no device");
    for (const count of [64, 4096, 65536]) expect(await computeCheckSum(device, count)).toBe(expectedCheckSum(count));
    device.destroy();
  });

  it("is a sum of hashed words", () => {
    // One invocation, by hand in unlimited integers.
    const mask = 0xffffffffn;
    let word = 0n;
    let key = 1n;
    for (let round = 0; round < 10; round++) {
      word = (((word ^ key) * 0xd2511f53n) >> 32n) ^ ((word * 0xcd9e8d57n) & mask) ^ key;
      key = (key + 0x9e3779b9n) & mask;
    }
    expect(BigInt(expectedCheckSum(1))).toBe(word);
  });
});

describe("sinter doctor", () => {
  it("describes the adapter and finds nothing missing", async () => {
    const text = await doctor();
    expect(text.exitCode).toBe(0);
    expect(text.stdout).toMatch(/^adapter +\S/m);
    expect(text.stdout).toMatch(/^check sum +0x[0-9a-f]{8}, as expected$/m);

    const { stdout, exitCode } = await doctor("--json");
    expect(exitCode).toBe(0);
    const report = JSON.parse(stdout) as Record<string, unknown>;
    expect(report).toMatchObject({ ok: true, node: process.version, adapter: { features: {}, limits: {} } });
    expect(report.webgpu).toMatch(/^\d+\./);
  });

  it("exits 1 when the check sum is wrong", async () => {
    // The null backend computes nothing.
    vi.mocked(platform.findGpu).mockResolvedValue(await findGpu({ backend: "null" }));
    const { stdout, stderr, exitCode } = await doctor("--json");
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: "WRONG_CHECK_SUM" } });
    expect(stderr).toContain("null-backend");
  });

  it("exits 1 and says how to mend it when there is no adapter", async () => {
    vi.mocked(platform.findGpu).mockRejectedValue(new SinterError("NO_ADAPTER", "No adapter.", { fix: "Run `npm run setup`." }));
    const json = await doctor("--json");
    expect(json.exitCode).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({ ok: false, adapter: null, error: { code: "NO_ADAPTER" } });
    const text = await doctor();
    expect(text.stdout).toMatch(/^adapter +none$/m);
    expect(text.stderr).toBe("sinter: No adapter.\n  fix: Run `npm run setup`.\n");
  });
});
