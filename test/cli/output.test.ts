import { describe, expect, it } from "vitest";
import { alignColumns, createOutput, formatBytes, formatSeconds } from "../../src/cli/output.ts";
import { capture } from "./capture.ts";

async function speak(options: { json?: boolean; quiet?: boolean }): Promise<{ stdout: string; stderr: string }> {
  const { stdout, stderr } = await capture(async () => {
    const output = createOutput(options);
    output.note("working");
    output.warn("careful");
    output.print("answer");
    output.result({ answer: 1 });
    await Promise.resolve();
  });
  return { stdout, stderr };
}

async function drawBar(isTTY: boolean): Promise<string> {
  const before = process.stderr.isTTY;
  process.stderr.isTTY = isTTY;
  const { stderr, stdout } = await capture(async () => {
    const progress = createOutput().progress("Fusing", 4);
    progress.update(2, "b.png");
    progress.stop();
    await Promise.resolve();
  });
  process.stderr.isTTY = before;
  expect(stdout).toBe("");
  return stderr;
}

describe("createOutput", () => {
  it("prints the answer on stdout as text or as JSON, all else on stderr", async () => {
    expect(await speak({})).toEqual({ stdout: "answer\n", stderr: "working\nwarning: careful\n" });
    const json = await speak({ json: true });
    expect(JSON.parse(json.stdout)).toEqual({ answer: 1 });
    expect(json.stderr).toBe("working\nwarning: careful\n");
    expect(await speak({ quiet: true })).toEqual({ stdout: "answer\n", stderr: "warning: careful\n" });
  });

  it("draws a progress bar on a terminal only", async () => {
    expect(await drawBar(true)).toContain("Fusing");
    expect(await drawBar(false)).toBe("");
  });
});

describe("numbers for people", () => {
  it("formats bytes", () => {
    expect([0, 999, 1000, 3_240_000, 99_600_000, 999_600, 4_294_967_295].map(formatBytes)).toEqual([
      "0 B",
      "999 B",
      "1 kB",
      "3.2 MB",
      "100 MB",
      "1 MB",
      "4.3 GB",
    ]);
  });

  it("formats durations", () => {
    expect([0.0004, 0.0996, 0.34, 0.9996, 2.46, 99.96, 200].map(formatSeconds)).toEqual([
      "0.4 ms",
      "100 ms",
      "340 ms",
      "1.0 s",
      "2.5 s",
      "1 min 40 s",
      "3 min 20 s",
    ]);
  });

  it("aligns columns", () => {
    expect(alignColumns([["a", "long", "x"], ["bbb", "c"]])).toBe("a    long  x\nbbb  c");
  });
});
