import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readSafetensors } from "../../src/checkpoints/safetensors.ts";
import { toFloat32 } from "../../src/checkpoints/tensor.ts";

const folder = join(process.cwd(), "../shared/golden");

/** Whether the reference data of the published programs are at hand; a user's clone has none. */
export const hasGoldens = existsSync(folder);

/** The text of a reference file. */
export function goldenText(path: string): string {
  return readFileSync(join(folder, path), "utf8");
}

/** The tensors of a reference file as numbers, float64 where they are stored so. */
export function goldenTensors(path: string): Map<string, Float32Array | Float64Array> {
  const { tensors } = readSafetensors(readFileSync(join(folder, path)), path);
  return new Map(
    [...tensors].map(([name, tensor]) => [
      name,
      tensor.elementType === "F64" ? new Float64Array(Uint8Array.from(tensor.bytes).buffer) : toFloat32(tensor),
    ]),
  );
}

/** Largest |actual − expected| / |expected|, where an expected 0 must be met exactly. */
export function largestRelativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const a = actual[i] ?? NaN;
    const e = expected[i] ?? NaN;
    const error = a === e ? 0 : Math.abs((a - e) / e);
    if (!(error <= largest)) largest = error;
  }
  return largest;
}
