import { parentPort, workerData } from "node:worker_threads";
import { SinterError } from "../errors.ts";
import { evaluatePair, type EvaluatedPair, type EvaluationJob, type EvaluationSettings } from "./evaluate-pair.ts";

/** What a worker answers to a job: the values, or the parts of the error. */
export type WorkerAnswer =
  | { pair: EvaluatedPair }
  | { error: { code: string; message: string; fix?: string; where?: string } };

// One job a message, one answer a message; the main thread keeps the order.
parentPort?.on("message", async (job: EvaluationJob) => {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
  parentPort?.postMessage(await answer(job));
});

async function answer(job: EvaluationJob): Promise<WorkerAnswer> {
  try {
    return { pair: await evaluatePair(job, workerData as EvaluationSettings) };
  } catch (error) {
    // An error that is not ours goes up as an `error` event of the worker, with its stack.
    if (!(error instanceof SinterError)) throw error;
    const { code, message, fix, where } = error;
    return { error: { code, message, ...(fix === undefined ? {} : { fix }), ...(where === undefined ? {} : { where }) } };
  }
}
