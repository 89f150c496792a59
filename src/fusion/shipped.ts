import { SinterError } from "../errors.ts";
import registry from "../../weights/registry.json" with { type: "json" };
import type { Task } from "./tasks.ts";

/** A file of weights that comes with Sinter. */
export interface ShippedWeights {
  readonly name: string;
  readonly model: string;
  /** One of `TASKS`, or `any` for weights of all tasks. */
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
 * All shipped weights of a model.
 *
 * @param model a model, or the name of a file of weights without its ending
 * @throws SinterError `UNKNOWN_MODEL`; `WEIGHTS_NOT_SHIPPED` for a model that runs but has none
 */
export function shippedVariants(model: string): readonly [ShippedWeights, ...ShippedWeights[]] {
  const [first, ...others] = SHIPPED_WEIGHTS.filter((weights) => weights.model === model || weights.name === model);
  if (first) return [first, ...others];
  if (model === "mask-difuser") {
    throw new SinterError("WEIGHTS_NOT_SHIPPED", "Sinter ships no weights of mask-difuser.", {
      where: "--model mask-difuser",
      fix: "Give a checkpoint, official or your own: --weights FILE. `sinter models` says where official ones come from.",
    });
  }
  const models = [...new Set(SHIPPED_WEIGHTS.map((weights) => weights.model))].join(", ");
  throw new SinterError("UNKNOWN_MODEL", `Sinter ships no weights of a model "${model}".`, {
    fix: `Name one of ${models}, or give a checkpoint (--weights FILE). \`sinter models\` lists what is shipped.`,
  });
}

/**
 * The shipped weights of a model for a task: the first of its variants that are for it, or for any.
 *
 * @param model as for `shippedVariants`
 * @throws SinterError what `shippedVariants` throws; `WEIGHTS_NOT_SHIPPED` also when none are for the task
 */
export function shippedWeights(model: string, task: Task): ShippedWeights {
  const variants = shippedVariants(model);
  const found = variants.find((weights) => weights.task === task || weights.task === "any");
  if (found) return found;
  const forAny = SHIPPED_WEIGHTS.find((weights) => weights.task === "any");
  throw new SinterError("WEIGHTS_NOT_SHIPPED", `Sinter ships no weights of ${model} for ${task}, only for ${variants.map((weights) => weights.task).join(", ")}.`, {
    where: `--task ${task}`,
    fix: forAny ? `Use --model ${forAny.model}, which takes every task, or weights of your own: --weights FILE.` : "Give weights of your own: --weights FILE.",
  });
}
