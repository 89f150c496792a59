/** Names of tensors with their shapes. */
export type TensorShapes = ReadonlyMap<string, readonly number[]>;

/**
 * How the checkpoints of one model look: what `detectModel` knows about it. Names are those of the official PyTorch
 * state dict; "canonical" ones are what is left when a tensor that the state dict holds twice is named once.
 */
export interface ModelFormat<Name extends string, Config> {
  readonly model: Name;
  /** Which files are accepted, for messages. */
  readonly accepted: string;
  /** The published configuration, assumed where the shapes tell none that is possible. */
  readonly published: Config;
  /** The canonical name: `name` itself, unless it is an alias. */
  canonicalName(name: string): string;
  /** The configuration that the shapes tell, published values where they do not; may be an impossible one. */
  inferConfig(shapes: TensorShapes): Config;
  /** Checks a configuration that was inferred, or read from the JSON in `__metadata__`; undefined when it is not one. */
  parseConfig(value: unknown): Config | undefined;
  /** Every tensor that a checkpoint of this configuration holds, by canonical name. */
  expectedTensors(config: Config): Map<string, readonly number[]>;
  /** True for an expected tensor that nothing uses, so that a checkpoint may lack it; default: none. */
  isOptional?(name: string): boolean;
}

/** How many different numbers N occur in names `PREFIX.N.…`. */
export function countBlocks(shapes: TensorShapes, prefix: string): number {
  const numbers = new Set<string>();
  for (const name of shapes.keys()) {
    const number = name.startsWith(`${prefix}.`) ? name.slice(prefix.length + 1).split(".", 1)[0] : undefined;
    if (number !== undefined && /^\d+$/.test(number)) numbers.add(number);
  }
  return numbers.size;
}

/** True for an integer from 1 to `limit`; the limit keeps a hostile configuration from asking for endless lists. */
export function isCount(value: unknown, limit: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= limit;
}

/** A JSON object, as opposed to null, a list or a single value. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
