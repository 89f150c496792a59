/** The middle of a list of numbers, the mean of the two middle ones for an even count; NaN for an empty list. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/**
 * Numbers in -1..1 that look random (multiples of the golden ratio), the same in bench/peers/export_onnx.py, so that both
 * engines get equal weights without a file between them.
 */
export function scatteredValues(count: number, seed: number, scale = 1): Float32Array {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const bits = Math.imul(i + 1 + seed * 1000003, 2654435761) >>> 0;
    values[i] = ((bits / 4294967296) * 2 - 1) * scale;
  }
  return values;
}
