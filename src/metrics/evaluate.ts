import { SinterError } from "../errors.ts";
import type { Picture } from "../fusion/picture.ts";
import { channel, toGrey } from "./grey.ts";
import { METRICS, type Metric, type MetricName, type PlaneTriple } from "./metrics.ts";
import { PROFILES, type Profile, type ProfileName } from "./profiles.ts";

/** The two sources and one fused picture, all of the same size. */
export interface PictureTriple {
  first: Picture;
  second: Picture;
  fused: Picture;
}

/** Metric values by name; null where the value is not defined (a division by zero, an infinite ratio). */
export type MetricValues = Partial<Record<MetricName, number | null>>;

/**
 * Metrics of one fused picture against its sources, from 8-bit levels as the profile's toolkit computes them.
 *
 * @param pictures any sizes from 1 × 1, equal; 16-bit and float pictures are reduced to 8 bit
 * @param profile whose definitions to use
 * @param metrics which metrics, of those the profile has; default: the profile's own list
 * @throws SinterError SIZE_MISMATCH, UNKNOWN_METRIC
 */
export function evaluatePictures(
  pictures: PictureTriple,
  profile: ProfileName = "tang-matlab",
  metrics: readonly MetricName[] = PROFILES[profile].defaults,
): MetricValues {
  checkPictures(pictures);
  const chosen = PROFILES[profile];
  const channels = planesOf(pictures, chosen);
  const values: MetricValues = {};
  for (const name of metrics) values[name] = computeMetric(name, channels, chosen, profile);
  return values;
}

function computeMetric<Name extends MetricName>(
  name: Name,
  channels: readonly PlaneTriple[],
  profile: Profile,
  profileName: ProfileName,
): number | null {
  const options = profile.metrics[name];
  if (options === undefined) {
    throw new SinterError("UNKNOWN_METRIC", `Profile ${profileName} has no metric ${name}.`, {
      fix: `Choose from: ${Object.keys(profile.metrics).join(", ")}; or another profile.`,
      where: name,
    });
  }
  const metric = METRICS[name] as unknown as Metric<typeof options>;
  const value = metric.compute(channels, options);
  return Number.isFinite(value) ? value : null;
}

function size(picture: Picture): string {
  return `${picture.width}×${picture.height}`;
}

function checkPictures({ first, second, fused }: PictureTriple): void {
  if (size(first) !== size(second) || size(first) !== size(fused)) {
    const found = `first ${size(first)}, second ${size(second)}, fused ${size(fused)}`;
    throw new SinterError("SIZE_MISMATCH", `The pictures must have the same size; found ${found}.`);
  }
}

function planesOf({ first, second, fused }: PictureTriple, profile: Profile): PlaneTriple[] {
  if (profile.colour === "grey" || fused.channels === 1) {
    const grey = (picture: Picture) => toGrey(picture, profile.grey);
    return [{ first: grey(first), second: grey(second), fused: grey(fused) }];
  }
  return ([0, 1, 2] as const).map((index) => ({
    first: channel(first, index),
    second: channel(second, index),
    fused: channel(fused, index),
  }));
}
