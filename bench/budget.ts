import type { Plan } from "../src/graph/plan.ts";
import type { Peaks } from "./peaks.ts";

/** Of what the peaks allow, reached by a kernel that nobody has measured yet: low, so that a first guess is too long rather than too short. */
const FIRST_GUESS = 0.05;

type Work = Pick<Plan["dispatches"][number], "operations" | "bytes">;

/** Least time that the peaks allow for some work, in milliseconds. */
export function leastMilliseconds({ operations, bytes }: Work, { f32GigaflopsPerSecond, copyGigabytesPerSecond }: Pick<Peaks, "f32GigaflopsPerSecond" | "copyGigabytesPerSecond">): number {
  return Math.max(operations / f32GigaflopsPerSecond, bytes / copyGigabytesPerSecond) / 1e6;
}

/** Foretells how long plans take from the peaks and from what was measured so far. */
export class Forecast {
  readonly #peaks: Peaks;
  #share = FIRST_GUESS;

  constructor(peaks: Peaks) {
    this.#peaks = peaks;
  }

  #least(dispatches: readonly Work[]): number {
    const latency = dispatches.length * (this.#peaks.dispatchMicroseconds / 1000);
    return dispatches.reduce((sum, dispatch) => sum + leastMilliseconds(dispatch, this.#peaks), latency);
  }

  /** Milliseconds that the dispatches will take. */
  milliseconds(dispatches: readonly Work[]): number {
    return this.#least(dispatches) / this.#share;
  }

  /** Learns from a plan that took `milliseconds`. */
  learn(dispatches: readonly Work[], milliseconds: number): void {
    this.#share = Math.min(1, this.#least(dispatches) / milliseconds);
  }
}

/** Shares out the time of a run: each section gets its weight's part of what is left, so that what one leaves the next ones have. */
export class Budget {
  readonly #now: () => number;
  readonly #end: number;
  #weights: number;

  /**
   * @param milliseconds of all sections together
   * @param weights sum of the weights that `section` will be asked for
   * @param now a clock in milliseconds
   */
  constructor(milliseconds: number, weights: number, now: () => number = () => performance.now()) {
    this.#now = now;
    this.#end = now() + milliseconds;
    this.#weights = weights;
  }

  /** The time by the clock until which a section may run. */
  section(weight: number): number {
    const now = this.#now();
    const left = Math.max(0, this.#end - now);
    const part = this.#weights <= 0 ? 1 : Math.min(1, weight / this.#weights);
    this.#weights -= weight;
    return now + left * part;
  }
}

/**
 * The most rows of a picture, a multiple of `step`, for which the work takes no longer than `milliseconds`; `step` if none does.
 *
 * @param cost milliseconds for so many rows, growing with them
 */
export function affordableRows(rows: number, step: number, milliseconds: number, cost: (rows: number) => number): number {
  if (cost(rows) <= milliseconds) return rows;
  let [fits, tooMany] = [1, Math.ceil(rows / step)];
  while (tooMany - fits > 1) {
    const middle = Math.floor((fits + tooMany) / 2);
    if (cost(middle * step) <= milliseconds) fits = middle;
    else tooMany = middle;
  }
  return fits * step;
}
