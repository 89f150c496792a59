import { SingleBar } from "cli-progress";
import { SinterError } from "../errors.ts";

/** A progress bar on a terminal; nothing elsewhere. */
export interface Progress {
  /** @param done how much of the total is done  @param detail what is being done now */
  update(done: number, detail?: string): void;
  stop(): void;
}

/**
 * Where a command says what. On stdout: what the command was asked for, as text or, with `--json`, as one JSON object. On
 * stderr: everything else.
 */
export interface Output {
  /** Text that the command was asked for; not printed with `--json`. */
  print(text: string): void;
  /** The one JSON object of `--json`; not printed without. */
  result(value: object): void;
  /** What happens meanwhile; silent with `--quiet`. */
  note(text: string): void;
  warn(text: string): void;
  progress(label: string, total: number): Progress;
}

export function createOutput(options: { json?: boolean | undefined; quiet?: boolean | undefined } = {}): Output {
  const { json = false, quiet = false } = options;
  return {
    print: (text) => {
      if (!json) process.stdout.write(`${text}\n`);
    },
    result: (value) => {
      if (json) printJson(value);
    },
    note: (text) => {
      if (!quiet) process.stderr.write(`${text}\n`);
    },
    warn: (text) => {
      process.stderr.write(`warning: ${text}\n`);
    },
    progress: (label, total) => progressBar(label, total, !quiet && process.stderr.isTTY),
  };
}

/**
 * Prints why a command failed: `sinter: message`, then the place and the fix, on stderr; with `--json` also as
 * `{ "error": { code, message, fix, where } }` on stdout. A stack trace only with `SINTER_DEBUG=1`.
 */
export function printError(error: unknown, json: boolean): void {
  const known = error instanceof SinterError ? error : unexpected(error);
  const lines = [`sinter: ${known.message}`];
  if (known.where !== undefined && !known.message.includes(known.where)) lines.push(`  where: ${known.where}`);
  if (known.fix !== undefined) lines.push(`  fix: ${known.fix}`);
  if (process.env.SINTER_DEBUG === "1" && error instanceof Error) lines.push(stackOf(error));
  process.stderr.write(`${lines.join("\n")}\n`);
  if (json) printJson({ error: errorJson(known) });
}

/** The form of an error in `--json`; `fix` and `where` are left out where there is none. */
export function errorJson(error: SinterError): { code: string; message: string; fix?: string; where?: string } {
  const { code, message, fix, where } = error;
  return { code, message, ...(fix === undefined ? {} : { fix }), ...(where === undefined ? {} : { where }) };
}

/** The one JSON object of a command, on stdout. */
export function printJson(value: object): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** Bytes with a decimal unit: `17 B`, `3.2 MB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : Number(value.toPrecision(2))} ${units[unit]}`;
}

/** A duration: `0.4 ms`, `340 ms`, `2.5 s`, `3 min 20 s`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 0.0995) return `${Number((seconds * 1000).toPrecision(2))} ms`;
  if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 99.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** Rows of cells as lines, each column as wide as its widest cell. */
export function alignColumns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()).join("\n");
}

function progressBar(label: string, total: number, shown: boolean): Progress {
  if (!shown) return { update: () => undefined, stop: () => undefined };
  const format = `${label} {bar} {value}/{total} {detail}`;
  const bar = new SingleBar({ format, stream: process.stderr, barsize: 24, clearOnComplete: true, hideCursor: false });
  bar.start(total, 0, { detail: "" });
  return {
    update: (done, detail) => bar.update(done, detail === undefined ? {} : { detail }),
    stop: () => bar.stop(),
  };
}

function unexpected(error: unknown): SinterError {
  const message = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return new SinterError("UNEXPECTED", `unexpected error: ${message}`, {
    fix: "This is a fault in Sinter. Please report it with the command; SINTER_DEBUG=1 shows where it happened.",
    cause: error,
  });
}

function stackOf(error: Error): string {
  const own = error.stack ?? error.message;
  return error.cause instanceof Error ? `${own}\ncaused by ${stackOf(error.cause)}` : own;
}
