import { SinterError } from "../errors.ts";
import type { Session } from "../graph/session.ts";

/**
 * Runs a plan operator by operator and stops at the first whose output is not finite: what `--debug` does, many times slower than a
 * run without.
 *
 * @param when for the message, such as "step 2 of 5"
 * @throws SinterError `NOT_FINITE` naming the operator
 */
export async function runChecked(session: Session, when: string): Promise<void> {
  const found = await session.runChecked();
  if (!found) return;
  const { label, operator, kernel } = found.dispatch;
  throw new SinterError("NOT_FINITE", `${found.notFinite} of ${found.values} values of ${label}, made by the operator ${operator} (kernel ${kernel.name}), are not finite, in ${when}.`, {
    where: `${when}, ${label}`,
    fix: "What other operators gave this one is finite: its weights or the pictures hold NaN or infinity, or its numbers are too large for f16.",
  });
}

/**
 * Checks what `minMax` made of a network's output in a step.
 *
 * @throws SinterError `NOT_FINITE` naming the step
 */
export function checkStepRange([, , notFinite = 0]: Float32Array, k: number, total: number): void {
  if (!(notFinite > 0)) return;
  throw new SinterError("NOT_FINITE", `${notFinite} values of the network's output in step ${k} of ${total} are not finite.`, {
    where: `step ${k}`,
    fix: "Use --precision f32; if that is so already, the pictures hold infinities, or the weights are damaged: --debug names the operator.",
  });
}
