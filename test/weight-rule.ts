/** How the weights of one golden network are made (`../shared/golden/README.md`, "The weight rule"). */
export interface WeightRule {
  readonly seed: number;
  readonly gain: number;
  readonly bits: number;
  /** Every suffix that a key ends with multiplies its values. */
  readonly multipliers: readonly (readonly [suffix: string, factor: number])[];
}

function mix(value: number): number {
  let h = value;
  h ^= h >>> 16;
  h = Math.imul(h, 0x7feb352d);
  h ^= h >>> 15;
  h = Math.imul(h, 0x846ca68b);
  h ^= h >>> 16;
  return h >>> 0;
}

/**
 * The values of a tensor by the rule, as float32.
 *
 * @param index position of the key among all keys of the state dict, sorted by code unit
 */
export function ruleWeight({ seed, gain, bits, multipliers }: WeightRule, key: string, index: number, shape: readonly number[]): Float32Array {
  const count = shape.reduce((product, size) => product * size, 1);
  const base = mix((Math.imul(seed, 0x9e3779b1) + Math.imul(index, 0x85ebca77) + 1) | 0);
  const name = key.slice(key.lastIndexOf(".") + 1);
  const fan = count / (shape[0] ?? 1);
  let scale = 1;
  while (fan > gain / scale ** 2) scale /= 2;
  const value = (u: number): number => {
    const s = 2 * u - 1;
    if (name === "running_var") return 0.5 + u;
    if (name === "running_mean") return 0.25 * s;
    if (name === "num_batches_tracked") return 1000;
    if (shape.length >= 2) return scale * s;
    if (name === "weight") return 1 + 0.5 * s;
    return name.endsWith("bias") ? 0.125 * s : 0.5 + 0.5 * u;
  };
  const factor = multipliers.reduce((product, [suffix, multiplier]) => (key.endsWith(suffix) ? product * multiplier : product), 1);
  return Float32Array.from({ length: count }, (_, i) => value((mix((base + Math.imul(i, 0x9e3779b1)) | 0) >>> (32 - bits)) / 2 ** bits) * factor);
}
