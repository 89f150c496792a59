import { SinterError } from "../errors.ts";
import type { Picture } from "../fusion/picture.ts";
import { evaluatePictures, hasColour, type MetricName, type MetricValues, type ProfileName } from "../metrics/index.ts";
import { readImage } from "../platform/images.ts";

/** One pair of sources with the pictures fused from it. */
export interface EvaluationJob {
  name: string;
  first: string;
  second: string;
  fused: { label: string; path: string }[];
}

export interface EvaluationSettings {
  profile: ProfileName;
  metrics: MetricName[];
}

export interface EvaluatedPair {
  name: string;
  fused: { label: string; metrics: MetricValues }[];
  warnings: string[];
}

/**
 * Reads the pictures of a job, with the numbers as they are in the files, and computes the metrics of each fused one.
 *
 * @throws SinterError what `readImage` throws; SIZE_MISMATCH with the files and sizes
 */
export async function evaluatePair(job: EvaluationJob, settings: EvaluationSettings): Promise<EvaluatedPair> {
  const warnings: string[] = [];
  const [first, second] = [await readPicture(job.first), await readPicture(job.second)];
  checkSize(job.first, first, job.second, second);
  const fused = [];
  for (const { label, path } of job.fused) {
    const picture = await readPicture(path);
    checkSize(job.first, first, path, picture);
    if (hasColour(picture) && !hasColour(first) && !hasColour(second)) {
      warnings.push(`${path} is coloured, but both sources are grey.`);
    }
    const metrics = evaluatePictures({ first, second, fused: picture }, settings.profile, settings.metrics);
    fused.push({ label, metrics });
  }
  return { name: job.name, fused, warnings };
}

/** A picture with the numbers of its file, whatever its colour profile, as the toolkits read it. */
export function readPicture(path: string): Promise<Picture> {
  return readImage(path, { ignoreProfile: true });
}

function checkSize(firstPath: string, first: Picture, path: string, picture: Picture): void {
  if (picture.width === first.width && picture.height === first.height) return;
  const found = `${firstPath} is ${first.width}×${first.height}, ${path} is ${picture.width}×${picture.height}`;
  throw new SinterError("SIZE_MISMATCH", `The pictures of a pair must have the same size, but ${found}.`, {
    where: path,
    fix: "Evaluate at the size of the sources; metrics of resized pictures do not compare with published ones.",
  });
}
