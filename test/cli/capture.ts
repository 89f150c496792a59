import { vi } from "vitest";

export interface Captured {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** Runs a function and takes what it prints and the exit code it sets; the test process keeps its own. */
export async function capture(run: () => Promise<void>): Promise<Captured> {
  let stdout = "";
  let stderr = "";
  const out = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  const err = vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
  const before = process.exitCode;
  process.exitCode = 0;
  try {
    await run();
    return { stdout, stderr, exitCode: Number(process.exitCode) };
  } finally {
    process.exitCode = before;
    out.mockRestore();
    err.mockRestore();
  }
}
