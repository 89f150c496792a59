import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** What a run of the `sinter` command left behind. */
export interface BinaryRun {
  /** Null when a signal ended it. */
  readonly exitCode: number | null;
  readonly stdout: string;
  /** Without the lines that Dawn and the Vulkan loader write by themselves. */
  readonly stderr: string;
}

export interface BinaryOptions {
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The script to run; default this repository's `bin/sinter.mjs`. */
  readonly script?: string;
  /** Called with all of stdout so far; may send a signal. */
  readonly onOutput?: (stdout: string, kill: (signal: NodeJS.Signals) => void) => void;
}

const repository = process.cwd();

/** Runs the built `sinter` command in a process of its own, without a terminal. */
export function runBinary(args: readonly string[], { cwd, env = {}, script, onOutput }: BinaryOptions): Promise<BinaryRun> {
  if (!existsSync(join(repository, "dist/cli.js"))) {
    throw new Error("Sinter is not built, and this test runs the built command: `npm run build` first.");
  }
  const child = spawn(process.execPath, [script ?? join(repository, "bin/sinter.mjs"), ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    onOutput?.(stdout, (signal) => child.kill(signal));
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (exitCode) => resolve({ exitCode, stdout, stderr: withoutDawn(stderr) }));
  });
}

function withoutDawn(text: string): string {
  const lines = text.split("\n").filter((line) => !/^Warning: |^ {4}at \w+ \(.*dawn.*\)$/.test(line));
  return lines.join("\n").trim();
}
