import { SinterError } from "../errors.ts";
import type { NoiseSchedule } from "./noise-schedules.ts";

/** One step of a sampler: from the noise of `alphaBar` to that of `nextAlphaBar`. */
export interface SamplingPoint {
  /** The timestep that the network is told, 0 … T−1. */
  timestep: number;
  /** ᾱ of the picture that goes in. */
  alphaBar: number;
  /** ᾱ of the picture that comes out; 1 is a picture without noise. */
  nextAlphaBar: number;
}

/**
 * The steps of the published Mask-DiFuser program, to the letter. With stride = ⌊T / `ddimStep`⌋ the timesteps are
 * 0, stride, 2·stride … below T, taken from the last to the first, so:
 *
 * - where `ddimStep` does not divide T, more steps run than asked for (7 gives 8 at T = 1000);
 * - ᾱ is read at index t + 1, one later than the timestep the network is told, and rounded to float32;
 * - the last step goes to ᾱ at index 0, not to 1: the result keeps a little noise (ᾱ = 0.9999);
 * - where T − 1 is among the timesteps, index T would be read and the program fails; here that is an error. At T = 1000
 *   it happens for 3, 9, 27, 36, 37, 101–111, 251–333 and 501–1000.
 *
 * @throws SinterError INVALID_STEPS if the program would fail for this `ddimStep`.
 */
export function maskDifuserTimesteps(schedule: NoiseSchedule, ddimStep: number): SamplingPoint[] {
  checkStepCount(schedule, ddimStep);
  const total = schedule.steps;
  if (hasLastTimestep(total, ddimStep)) {
    const usable = nearestUsable(total, ddimStep);
    throw new SinterError(
      "INVALID_STEPS",
      `the published step choice cannot run ${ddimStep} steps: its stride ${Math.trunc(total / ddimStep)} reaches timestep ` +
        `${total - 1}, whose alpha-bar it would read after the end of the table`,
      { fix: `Use ${usable.join(" or ")} steps, or leave out the reference mode.`, where: "steps" },
    );
  }
  const stride = Math.trunc(total / ddimStep);
  const points: SamplingPoint[] = [];
  for (let t = Math.floor((total - 1) / stride) * stride; t >= 0; t -= stride) {
    points.push({
      timestep: t,
      alphaBar: Math.fround(alphaBarAt(schedule, t + 1)),
      nextAlphaBar: Math.fround(alphaBarAt(schedule, Math.max(t - stride, -1) + 1)),
    });
  }
  return points;
}

/**
 * Exactly `steps` steps, evenly spaced from the last timestep down, each with its own ᾱ, ending at a picture without
 * noise ("trailing" spacing of Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed", table 2).
 *
 * @throws SinterError INVALID_STEPS if `steps` is no whole number from 1 to T.
 */
export function trailingTimesteps(schedule: NoiseSchedule, steps: number): SamplingPoint[] {
  checkStepCount(schedule, steps);
  const timesteps = Array.from({ length: steps }, (_, k) => Math.round((schedule.steps * (steps - k)) / steps) - 1);
  return timesteps.map((timestep, k) => {
    const next = timesteps[k + 1];
    return {
      timestep,
      alphaBar: alphaBarAt(schedule, timestep),
      nextAlphaBar: next === undefined ? 1 : alphaBarAt(schedule, next),
    };
  });
}

/**
 * The steps of the SR3 family (SGDFuse): every timestep of the schedule, from T − 1 to 0, ending at a picture without
 * noise. Fewer steps mean a schedule with a smaller T.
 */
export function sr3Timesteps(schedule: NoiseSchedule): SamplingPoint[] {
  return trailingTimesteps(schedule, schedule.steps);
}

function checkStepCount(schedule: NoiseSchedule, steps: number): void {
  if (Number.isInteger(steps) && steps >= 1 && steps <= schedule.steps) return;
  throw new SinterError("INVALID_STEPS", `the number of steps must be a whole number from 1 to ${schedule.steps}, not ${steps}`, {
    where: "steps",
  });
}

function hasLastTimestep(total: number, ddimStep: number): boolean {
  return (total - 1) % Math.trunc(total / ddimStep) === 0;
}

/** The closest usable step counts below and above; 1 step works for every T above 1. */
function nearestUsable(total: number, ddimStep: number): number[] {
  const counts = Array.from({ length: total }, (_, i) => i + 1).filter((n) => !hasLastTimestep(total, n));
  const below = counts.filter((n) => n < ddimStep).at(-1);
  const above = counts.find((n) => n > ddimStep);
  return [below, above].filter((n) => n !== undefined);
}

function alphaBarAt(schedule: NoiseSchedule, index: number): number {
  const value = schedule.alphasBar[index];
  if (value === undefined) throw new RangeError(`alpha-bar index ${index} of ${schedule.steps}`);
  return value;
}
