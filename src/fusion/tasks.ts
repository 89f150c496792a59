import { SinterError } from "../errors.ts";

/** What a pair of pictures is. The first side of each: infrared, functional (PET, SPECT, CT), under-exposed, near focus. */
export const TASKS = ["infrared-visible", "medical", "multi-exposure", "multi-focus"] as const;

export type Task = (typeof TASKS)[number];

/** @throws SinterError `UNKNOWN_TASK` */
export function parseTask(name: string): Task {
  const task = TASKS.find((known) => known === name);
  if (!task) throw new SinterError("UNKNOWN_TASK", `There is no task "${name}".`, { fix: `Name one of ${TASKS.join(", ")}.` });
  return task;
}
