import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { describeOptions, METRIC_NAMES, METRICS, PROFILE_NAMES, PROFILES, profilesWith } from "../../src/metrics/index.ts";
import type { MetricName } from "../../src/metrics/index.ts";

/** The variants of a metric, a line for each group of profiles that compute the same. */
function variantLines(metric: MetricName): string[] {
  const groups = new Map<string, string[]>();
  for (const profile of profilesWith(metric)) {
    const options = Object.entries(describeOptions(profile, metric)).map(([key, text]) => `${key} ${text}`);
    const words = options.length === 0 ? "as defined" : options.join("; ");
    groups.set(words, [...(groups.get(words) ?? []), profile]);
  }
  return [...groups].map(([words, profiles]) => `  - ${profiles.join(", ")}: ${words}`);
}

function variantSection(): string {
  return METRIC_NAMES.flatMap((metric) => [
    `- **${metric}**, ${METRICS[metric].title} (${METRICS[metric].better} is better)`,
    ...variantLines(metric),
  ]).join("\n");
}

function profileSection(): string {
  return PROFILE_NAMES.map((name) => {
    const { title, source, checked, grey, colour } = PROFILES[name];
    const notes = Object.entries(PROFILES[name].notes).map(([metric, note]) => `  - ${metric}: ${note}.`);
    const head = [`- **${name}**: ${title} (${source}).`, `  Grey: ${grey}. Colour: ${colour}.`, `  Checked: ${checked}.`];
    return [head.join("\n"), ...notes].join("\n");
  }).join("\n");
}

describe("docs/metrics.md", () => {
  it("says what the table of profiles says", () => {
    const text = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8");
    expect(text).toContain(profileSection());
    expect(text).toContain(variantSection());
  });
});
