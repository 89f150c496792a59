import { availableParallelism } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { SinterError } from "../errors.ts";
import { packageRoot } from "../platform/files.ts";
import { evaluatePair, type EvaluatedPair, type EvaluationJob, type EvaluationSettings } from "./evaluate-pair.ts";
import type { WorkerAnswer } from "./evaluate-worker.ts";

/**
 * Evaluates all jobs, in worker threads where there is more than one job; a thread holds the pictures of one job at a
 * time, so memory does not grow with the number of jobs. The first error ends all threads.
 *
 * @param threads how many at most; default: one for each processor
 * @param onDone called after each job with the number done
 * @returns the pairs in the order of the jobs
 */
export async function evaluateAll(
  jobs: readonly EvaluationJob[],
  settings: EvaluationSettings,
  onDone: (done: number, name: string) => void,
  threads = availableParallelism(),
): Promise<EvaluatedPair[]> {
  const count = Math.min(threads, jobs.length);
  // A worker thread needs the built file; from the sources (in tests) everything runs in this thread.
  if (count < 2 || import.meta.url.endsWith(".ts")) {
    const pairs: EvaluatedPair[] = [];
    for (const job of jobs) {
      pairs.push(await evaluatePair(job, settings));
      onDone(pairs.length, job.name);
    }
    return pairs;
  }
  return runWorkers(jobs, settings, onDone, count);
}

function runWorkers(
  jobs: readonly EvaluationJob[],
  settings: EvaluationSettings,
  onDone: (done: number, name: string) => void,
  count: number,
): Promise<EvaluatedPair[]> {
  const file = join(packageRoot(), "dist", "evaluate-worker.js");
  const workers = Array.from({ length: count }, () => new Worker(file, { workerData: settings }));
  const pairs: EvaluatedPair[] = Array.from({ length: jobs.length });
  let next = 0;
  let done = 0;
  const finished = new Promise<EvaluatedPair[]>((resolve, reject) => {
    for (const worker of workers) {
      let current = 0;
      const giveJob = (): void => {
        current = next++;
        const job = jobs[current];
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread, not a window
        if (job !== undefined) worker.postMessage(job);
      };
      worker.on("error", reject);
      worker.on("message", (answer: WorkerAnswer) => {
        if ("error" in answer) {
          const { code, message, ...details } = answer.error;
          reject(new SinterError(code, message, details));
          return;
        }
        pairs[current] = answer.pair;
        done += 1;
        onDone(done, answer.pair.name);
        if (done === jobs.length) resolve(pairs);
        else giveJob();
      });
      giveJob();
    }
  });
  return finished.finally(() => Promise.all(workers.map((worker) => worker.terminate())));
}
