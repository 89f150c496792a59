import { edgePreservation, fusionArtifacts } from "./edge-preservation.ts";
import type { EdgePreservationOptions, FusionArtifactsOptions } from "./edge-preservation.ts";
import { exposureSimilarity, type ExposureSimilarityOptions } from "./exposure-similarity.ts";
import { featureInformation, type FeatureInformationOptions } from "./feature-information.ts";
import { averageGradient, edgeIntensity, spatialFrequency } from "./gradients.ts";
import type { AverageGradientOptions, EdgeIntensityOptions, SpatialFrequencyOptions } from "./gradients.ts";
import { crossEntropy, entropy, mutualInformation } from "./information.ts";
import { nonlinearCorrelation, normalizedMutualInformation } from "./information.ts";
import type { EntropyOptions, MutualInformationOptions, NonlinearCorrelationOptions } from "./information.ts";
import type { NormalizedMutualInformationOptions } from "./information.ts";
import { chenBlumQuality, chenVarshneyQuality, type ChenBlumOptions } from "./perception.ts";
import type { Plane } from "./plane.ts";
import { correlation, correlationOfDifferences, meanSquaredError, peakSignalToNoise } from "./statistics.ts";
import { rootErrorOverPixels, standardDeviation } from "./statistics.ts";
import type { MeanSquaredErrorOptions, PeakSignalToNoiseOptions, StandardDeviationOptions } from "./statistics.ts";
import { multiScaleSimilarity, structuralSimilarity, yangSimilarity } from "./structural-similarity.ts";
import type { MultiScaleSimilarityOptions, StructuralSimilarityOptions } from "./structural-similarity.ts";
import type { YangOptions } from "./structural-similarity.ts";
import { visualInformation, type VisualInformationOptions } from "./visual-information.ts";

/** Options of a metric that has no variants. */
export type NoOptions = Record<string, never>;

/** The metrics by name, with the options that a profile fixes for each. */
export interface MetricOptions {
  EN: EntropyOptions;
  MI: MutualInformationOptions;
  SD: StandardDeviationOptions;
  SF: SpatialFrequencyOptions;
  AG: AverageGradientOptions;
  SCD: NoOptions;
  VIF: VisualInformationOptions;
  Qabf: EdgePreservationOptions;
  CC: NoOptions;
  MSE: MeanSquaredErrorOptions;
  PSNR: PeakSignalToNoiseOptions;
  SSIM: StructuralSimilarityOptions;
  MS_SSIM: MultiScaleSimilarityOptions;
  MEF_SSIM: ExposureSimilarityOptions;
  Nabf: FusionArtifactsOptions;
  FMI_pixel: FeatureInformationOptions;
  FMI_dct: FeatureInformationOptions;
  FMI_w: FeatureInformationOptions;
  NMI: NormalizedMutualInformationOptions;
  NCIE: NonlinearCorrelationOptions;
  CE: NoOptions;
  EI: EdgeIntensityOptions;
  RMSE: NoOptions;
  Q_Y: YangOptions;
  Q_CB: ChenBlumOptions;
  Q_CV: NoOptions;
}

export type MetricName = keyof MetricOptions;

/** The planes that one value is computed from: grey levels 0–255 of the same size. */
export interface PlaneTriple {
  first: Plane;
  second: Plane;
  fused: Plane;
}

export interface Metric<Options> {
  title: string;
  /** Which way is read as better. */
  better: "higher" | "lower";
  /** The value; NaN or infinite where it is not defined. More than one triple: the colour channels. */
  compute: (channels: readonly PlaneTriple[], options: Options) => number;
}

/** A metric computed for each channel and averaged. */
function perChannel<Options>(
  compute: (a: Plane, b: Plane, fused: Plane, options: Options) => number,
): (channels: readonly PlaneTriple[], options: Options) => number {
  return (channels, options) => {
    const values = channels.map(({ first, second, fused }) => compute(first, second, fused, options));
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  };
}

/** As `perChannel`, for a metric that looks at the fused picture alone. */
function ofFused<Options>(
  compute: (fused: Plane, options: Options) => number,
): (channels: readonly PlaneTriple[], options: Options) => number {
  return perChannel((_a, _b, fused, options: Options) => compute(fused, options));
}

/** Every metric: title, direction, computation. The order is that of tables. */
export const METRICS: { readonly [Name in MetricName]: Metric<MetricOptions[Name]> } = {
  EN: { title: "entropy", better: "higher", compute: ofFused(entropy) },
  MI: { title: "mutual information", better: "higher", compute: perChannel(mutualInformation) },
  SD: { title: "standard deviation", better: "higher", compute: ofFused(standardDeviation) },
  SF: {
    title: "spatial frequency",
    better: "higher",
    compute: (channels, options) => {
      const planes = channels.map(({ fused }) => fused);
      if (options.colour === "channels side by side") return spatialFrequency(planes, options);
      return ofFused((fused) => spatialFrequency([fused], options))(channels, options);
    },
  },
  AG: { title: "average gradient", better: "higher", compute: ofFused(averageGradient) },
  SCD: {
    title: "sum of the correlations of differences",
    better: "higher",
    compute: perChannel(correlationOfDifferences),
  },
  VIF: { title: "visual information fidelity", better: "higher", compute: perChannel(visualInformation) },
  Qabf: { title: "edge preservation", better: "higher", compute: perChannel(edgePreservation) },
  CC: { title: "correlation coefficient", better: "higher", compute: perChannel(correlation) },
  MSE: { title: "mean squared error", better: "lower", compute: perChannel(meanSquaredError) },
  PSNR: { title: "peak signal-to-noise ratio", better: "higher", compute: perChannel(peakSignalToNoise) },
  SSIM: { title: "structural similarity", better: "higher", compute: perChannel(structuralSimilarity) },
  MS_SSIM: {
    title: "multi-scale structural similarity",
    better: "higher",
    compute: perChannel(multiScaleSimilarity),
  },
  MEF_SSIM: {
    title: "structural similarity of multi-exposure fusion",
    better: "higher",
    compute: perChannel(exposureSimilarity),
  },
  Nabf: { title: "fusion artifacts", better: "lower", compute: perChannel(fusionArtifacts) },
  FMI_pixel: {
    title: "feature mutual information, edges",
    better: "higher",
    compute: perChannel(featureInformation),
  },
  FMI_dct: {
    title: "feature mutual information, cosine transform",
    better: "higher",
    compute: perChannel(featureInformation),
  },
  FMI_w: { title: "feature mutual information, wavelet", better: "higher", compute: perChannel(featureInformation) },
  NMI: {
    title: "normalised mutual information",
    better: "higher",
    compute: perChannel(normalizedMutualInformation),
  },
  NCIE: {
    title: "nonlinear correlation information entropy",
    better: "higher",
    compute: perChannel(nonlinearCorrelation),
  },
  CE: { title: "cross entropy", better: "lower", compute: perChannel(crossEntropy) },
  EI: { title: "edge intensity", better: "higher", compute: ofFused(edgeIntensity) },
  RMSE: { title: "root of the squared error, by h·w", better: "lower", compute: perChannel(rootErrorOverPixels) },
  Q_Y: { title: "Yang's similarity", better: "higher", compute: perChannel(yangSimilarity) },
  Q_CB: { title: "Chen and Blum's quality", better: "higher", compute: perChannel(chenBlumQuality) },
  Q_CV: { title: "Chen and Varshney's quality", better: "lower", compute: perChannel(chenVarshneyQuality) },
};

export const METRIC_NAMES = Object.keys(METRICS) as MetricName[];
