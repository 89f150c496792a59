import { SinterError } from "../errors.ts";
import registry from "../../weights/registry.json" with { type: "json" };
import type { Task } from "./tasks.ts";

/** A file of weights that comes with Sinter. */
export interface ShippedWeights {
  readonly name: string;
  readonly model: string;
  readonly task: string;
  /** File name in `weights/`. */
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly licence: string;
  /** File name of the model card in `weights/`. */
  readonly card: string;
}

export const SHIPPED_WEIGHTS: readonly ShippedWeights[] = registry;

/**
 * The shipped weights of a model for a task.
 *
 * @throws SinterError `UNKNOWN_MODEL`; `WEIGHTS_NOT_SHIPPED` for a model that runs but has none
 */
export function shippedWeights(model: string, task: Task): ShippedWeights {
  const found = SHIPPED_WEIGHTS.find((weights) => weights.model === model && weights.task === task);
  if (found) return found;
  if (model === "mask-difuser") {
    throw new SinterError("WEIGHTS_NOT_SHIPPED", "Sinter ships no weights of mask-difuser.", {
      where: "--model mask-difuser",
      fix: "Give a checkpoint, official or your own: --weights FILE. `sinter models` says where official ones come from.",
    });
  }
  const models = [...new Set(SHIPPED_WEIGHTS.map((weights) => weights.model))].join(", ");
  throw new SinterError("UNKNOWN_MODEL", `Sinter ships no weights of a model "${model}" for ${task}.`, {
    fix: `Name one of ${models}, or give a checkpoint (--weights FILE). \`sinter models\` lists what is shipped.`,
  });
}
