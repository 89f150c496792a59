export { evaluatePictures, type MetricValues, type PictureTriple } from "./evaluate.ts";
export { METRICS, METRIC_NAMES, type MetricName } from "./metrics.ts";
export { PROFILES, PROFILE_NAMES, type Profile, type ProfileName } from "./profiles.ts";
export { describeOptions, explainMetrics, profilesWith, type ExplainedMetric } from "./explain.ts";
export { hasColour } from "./grey.ts";
