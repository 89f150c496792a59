import { SinterError } from "../errors.ts";
import { maskDifuserFormat } from "./mask-difuser-format.ts";
import type { MaskDifuserConfig } from "./mask-difuser-format.ts";
import type { ModelFormat } from "./model-format.ts";
import { refusionFormat } from "./refusion-format.ts";
import type { RefusionConfig } from "./refusion-format.ts";
import { formatShape } from "./tensor.ts";
import type { Checkpoint, StoredTensor } from "./tensor.ts";

/** A checkpoint whose model is known and whose tensors are complete. */
interface Detected<Name extends string, Config> {
  readonly model: Name;
  readonly config: Config;
  /** Every tensor the configuration asks for, under its canonical name, in the model's order; element types as stored. */
  readonly tensors: Map<string, StoredTensor>;
  /** Further names under which the file holds a tensor, with its canonical name. */
  readonly aliases: Record<string, string>;
}

/** What `detectModel` finds; `model` tells which configuration it is. */
export type DetectedModel = Detected<"refusion", RefusionConfig> | Detected<"mask-difuser", MaskDifuserConfig>;

/** One detector a model; a new model adds its format here and its type above. */
const detectors: readonly Detector<DetectedModel>[] = [detector(refusionFormat), detector(maskDifuserFormat)];

/** Fewer of a model's names than this share, and the file is taken for something else. */
const recognisedShare = 0.5;
/** How many names of a kind an error lists. */
const listedNames = 20;

/**
 * Finds which model a checkpoint belongs to and with which configuration: from `__metadata__` when that names them,
 * else from names and shapes. Tensors that are stored twice are checked to be equal and kept once.
 * @throws SinterError `UNKNOWN_MODEL` when it is no model Sinter knows; `WEIGHTS_MISMATCH` with the list of what is
 *   missing, unexpected, of the wrong shape, or stored twice with different values.
 */
export function detectModel(checkpoint: Checkpoint, fileName: string): DetectedModel {
  const stated = checkpoint.metadata["model"];
  if (stated !== undefined) {
    const found = detectors.find(({ model }) => model === stated);
    if (found === undefined) throw unknownModel(fileName, `it says that its model is "${stated}"`);
    return found.examine(checkpoint, fileName).finish();
  }
  const best = detectors
    .map((candidate) => candidate.examine(checkpoint, fileName))
    .reduce((a, b) => (b.share > a.share ? b : a));
  if (best.share < recognisedShare) {
    const names = [...checkpoint.tensors.keys()].slice(0, 5).join(", ");
    throw unknownModel(fileName, `it holds ${checkpoint.tensors.size} tensors (${names}, …)`);
  }
  return best.finish();
}

function unknownModel(fileName: string, found: string): SinterError {
  return new SinterError("UNKNOWN_MODEL", `${fileName} holds weights of no model that Sinter knows: ${found}.`, {
    where: fileName,
    fix: `Accepted are: ${detectors.map(({ accepted }) => accepted).join("; ")}.`,
  });
}

interface Detector<Result> {
  readonly model: string;
  readonly accepted: string;
  examine(checkpoint: Checkpoint, fileName: string): Examination<Result>;
}

interface Examination<Result> {
  /** Share of the model's tensor names that the file has, 0 to 1. */
  readonly share: number;
  /** The result, or the error that lists what differs. */
  finish(): Result;
}

function detector<Name extends string, Config>(format: ModelFormat<Name, Config>): Detector<Detected<Name, Config>> {
  const { model, accepted } = format;
  return {
    model,
    accepted,
    examine(checkpoint, fileName) {
      const { tensors, aliases, differing } = removeAliases(checkpoint.tensors, (name) => format.canonicalName(name));
      const shapes = new Map([...tensors].map(([name, { shape }]) => [name, shape]));
      const config =
        statedConfig(format, checkpoint.metadata, fileName) ??
        format.parseConfig(format.inferConfig(shapes)) ??
        format.published;
      const expected = format.expectedTensors(config);
      const missing = [...expected.keys()].filter((name) => !tensors.has(name) && format.isOptional?.(name) !== true);

      const finish = (): Detected<Name, Config> => {
        const ordered = new Map<string, StoredTensor>();
        const wrong: string[] = [];
        for (const [name, shape] of expected) {
          const tensor = tensors.get(name);
          if (tensor === undefined) continue;
          ordered.set(name, tensor);
          const found = formatShape(tensor.shape);
          if (found !== formatShape(shape)) wrong.push(`${name} (expected ${formatShape(shape)}, found ${found})`);
        }
        const unexpected = [...tensors.keys()].filter((name) => !expected.has(name));
        const lists = [
          listed("missing", missing),
          listed("unexpected", unexpected),
          listed("of the wrong shape", wrong),
          listed("stored twice with different values", differing),
        ].filter((list) => list !== "");
        if (lists.length === 0) return { model, config, tensors: ordered, aliases };
        throw new SinterError(
          "WEIGHTS_MISMATCH",
          `${fileName} does not fit the model "${model}" with ${JSON.stringify(config)}: ${lists.join("; ")}.`,
          { where: fileName, fix: `Accepted are: ${accepted}.` },
        );
      };
      return { share: 1 - missing.length / expected.size, finish };
    },
  };
}

/** The configuration that `__metadata__` states, if it names the model and has one. */
function statedConfig<Name extends string, Config>(
  format: ModelFormat<Name, Config>,
  metadata: Readonly<Record<string, string>>,
  fileName: string,
): Config | undefined {
  const text = metadata["model"] === format.model ? metadata["config"] : undefined;
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const config = format.parseConfig(value);
  if (config !== undefined) return config;
  throw new SinterError(
    "WEIGHTS_MISMATCH",
    `${fileName}: the config in its metadata is none of the model "${format.model}": ${text.slice(0, 200)}.`,
    { where: fileName, fix: "Convert the original checkpoint again." },
  );
}

function removeAliases(
  stored: Checkpoint["tensors"],
  canonicalName: (name: string) => string,
): { tensors: Map<string, StoredTensor>; aliases: Record<string, string>; differing: string[] } {
  const tensors = new Map<string, StoredTensor>();
  const aliases: Record<string, string> = {};
  const differing: string[] = [];
  for (const [name, tensor] of stored) {
    const canonical = canonicalName(name);
    if (canonical !== name) aliases[name] = canonical;
    const other = canonical === name ? undefined : stored.get(canonical);
    if (other === undefined) tensors.set(canonical, tensor);
    else if (!equalTensors(tensor, other)) differing.push(`${canonical} and ${name}`);
  }
  return { tensors, aliases, differing };
}

function equalTensors(a: StoredTensor, b: StoredTensor): boolean {
  if (a.elementType !== b.elementType || formatShape(a.shape) !== formatShape(b.shape)) return false;
  return a.bytes.every((byte, index) => byte === b.bytes[index]);
}

function listed(kind: string, names: readonly string[]): string {
  if (names.length === 0) return "";
  const more = names.length > listedNames ? `, and ${names.length - listedNames} more` : "";
  return `${names.length} ${kind}: ${names.slice(0, listedNames).join(", ")}${more}`;
}
