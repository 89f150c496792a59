import { evaluatePictures, type PictureTriple } from "./evaluate.ts";
import { METRICS, METRIC_NAMES, type MetricName } from "./metrics.ts";
import { PROFILES, PROFILE_NAMES, type ProfileName } from "./profiles.ts";

/** What one profile computes for one metric, and the value where pictures were given. */
export interface ExplainedVariant {
  profile: ProfileName;
  /** null where it is not defined. */
  value: number | null;
  options: Record<string, string>;
  note?: string;
}

export interface ExplainedMetric {
  metric: MetricName;
  title: string;
  better: "higher" | "lower";
  variants: ExplainedVariant[];
  /** The options in which the profiles differ. */
  parts: string[];
}

/** A profile's options for a metric as words: `dataRange: 255` becomes `data range: 255`. */
export function describeOptions(profile: ProfileName, metric: MetricName): Record<string, string> {
  const described: Record<string, string> = {};
  for (const [key, value] of Object.entries(PROFILES[profile].metrics[metric] ?? {})) {
    const words = key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    described[words] = Array.isArray(value) ? value.join(" ") : String(value);
  }
  return described;
}

/** Profiles that have a metric, in the order of the table. */
export function profilesWith(metric: MetricName): ProfileName[] {
  return PROFILE_NAMES.filter((name) => PROFILES[name].metrics[metric] !== undefined);
}

/**
 * Every asked metric in every profile that has it, with the options in which they part.
 *
 * @param metrics default: all
 * @throws SinterError SIZE_MISMATCH
 */
export function explainMetrics(
  pictures: PictureTriple,
  metrics: readonly MetricName[] = METRIC_NAMES,
): ExplainedMetric[] {
  return metrics.map((metric) => {
    const variants = profilesWith(metric).map((profile): ExplainedVariant => {
      const note = PROFILES[profile].notes[metric];
      const value = evaluatePictures(pictures, profile, [metric])[metric] ?? null;
      const variant = { profile, value, options: describeOptions(profile, metric) };
      return note === undefined ? variant : { ...variant, note };
    });
    const keys = [...new Set(variants.flatMap((variant) => Object.keys(variant.options)))];
    const parts = keys.filter((key) => new Set(variants.map((variant) => variant.options[key])).size > 1);
    return { metric, title: METRICS[metric].title, better: METRICS[metric].better, variants, parts };
  });
}
