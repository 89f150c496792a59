import type { Command } from "commander";
import { afterEach, describe, expect, it, vi } from "vitest";
import { main } from "../../src/cli/main.ts";
import { SinterError } from "../../src/errors.ts";
import { capture } from "./capture.ts";

// `fuse` stands for any subcommand here: it does what the test tells it. The others are not looked at.
const task = vi.hoisted(() => ({ run: (): void => undefined }));
vi.mock("../../src/cli/fuse.ts", () => ({
  registerFuse: (program: Command) => {
    program
      .command("fuse <first>")
      .option("--json")
      .action(() => task.run());
  },
}));
vi.mock("../../src/cli/evaluate.ts", () => ({ registerEvaluate: () => undefined }));
vi.mock("../../src/cli/convert.ts", () => ({ registerConvert: () => undefined }));
vi.mock("../../src/cli/models.ts", () => ({ registerModels: () => undefined }));

const sinter = (...args: string[]): ReturnType<typeof capture> => capture(() => main(["node", "sinter", ...args]));

afterEach(() => {
  task.run = () => undefined;
  delete process.env.SINTER_DEBUG;
});

describe("sinter", () => {
  it("exits 0 when the command is done, and for help and version", async () => {
    expect(await sinter("fuse", "a.png")).toEqual({ stdout: "", stderr: "", exitCode: 0 });
    const version = await sinter("--version");
    expect(version.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(version.exitCode).toBe(0);
    const help = await sinter("--help");
    expect(help.exitCode).toBe(0);
    expect(help.stdout).toContain("doctor");
    expect((await sinter("fuse", "--help")).exitCode).toBe(0);
  });

  it("exits 1 and says message, place and fix, without a stack trace", async () => {
    task.run = () => {
      throw new SinterError("SIZE_MISMATCH", "the sizes differ", { where: "a.png", fix: "Give pictures of one size." });
    };
    const failed = await sinter("fuse", "a.png");
    expect(failed.stderr).toBe("sinter: the sizes differ\n  where: a.png\n  fix: Give pictures of one size.\n");
    expect([failed.stdout, failed.exitCode]).toEqual(["", 1]);
  });

  it("prints the error as one JSON object with --json", async () => {
    task.run = () => {
      throw new SinterError("SIZE_MISMATCH", "a.png: the sizes differ", { where: "a.png" });
    };
    const failed = await sinter("fuse", "a.png", "--json");
    const error = { code: "SIZE_MISMATCH", message: "a.png: the sizes differ", where: "a.png" };
    expect(JSON.parse(failed.stdout)).toEqual({ error });
    expect([failed.stderr, failed.exitCode]).toEqual(["sinter: a.png: the sizes differ\n", 1]);
  });

  it("asks for a report of an unexpected error, and shows its stack only with SINTER_DEBUG=1", async () => {
    task.run = () => {
      throw new TypeError("x is not a function", { cause: new Error("the reason") });
    };
    const failed = await sinter("fuse", "a.png", "--json");
    expect(failed.exitCode).toBe(1);
    expect(JSON.parse(failed.stdout)).toMatchObject({ error: { code: "UNEXPECTED" } });
    expect(failed.stderr).toContain("TypeError: x is not a function");
    expect(failed.stderr).toContain("report");
    expect(failed.stderr).not.toContain("main.test.ts");
    process.env.SINTER_DEBUG = "1";
    const debugged = await sinter("fuse", "a.png");
    expect(debugged.stderr).toContain("main.test.ts");
    expect(debugged.stderr).toContain("caused by Error: the reason");
  });

  it("exits 2 for wrong usage", async () => {
    for (const args of [[], ["fuse"], ["fuse", "a", "b"], ["fuse", "a", "--nope"], ["nope"]]) {
      const failed = await sinter(...args);
      expect(failed.exitCode, args.join(" ")).toBe(2);
      expect(failed.stderr, args.join(" ")).not.toBe("");
      expect(failed.stdout, args.join(" ")).toBe("");
    }
    const failed = await sinter("fuse", "a", "--nope", "--json");
    expect(failed.stderr).toContain("sinter: unknown option '--nope'");
    expect(JSON.parse(failed.stdout)).toMatchObject({ error: { code: "WRONG_USAGE", message: "unknown option '--nope'" } });
  });
});
