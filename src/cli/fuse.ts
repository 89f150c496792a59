import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import { readSafetensors, writeSafetensors } from "../checkpoints/safetensors.ts";
import { fromFloat32, type StoredTensor } from "../checkpoints/tensor.ts";
import { SinterError } from "../errors.ts";
import type { FusedPicture, FuseOptions, Model, Preview, Progress } from "../fusion/model.ts";
import type { Picture } from "../fusion/picture.ts";
import { isColoured } from "../fusion/prepare.ts";
import { type Sampler, SAMPLERS } from "../fusion/sampling.ts";
import { shippedWeights } from "../fusion/shipped.ts";
import { TASKS, type Task } from "../fusion/tasks.ts";
import { SMALLEST_TILE } from "../fusion/tiles.ts";
import type { Plan } from "../graph/plan.ts";
import { Engine } from "../node.ts";
import { checkOutput, type FilePair, isFolder, pairFolders, readError, writeFileAtomically } from "../platform/files.ts";
import { type DecodedImage, formatOf, readImage, writeImage } from "../platform/images.ts";
import { createOutput, formatBytes, formatSeconds, type Output } from "./output.ts";

interface FuseFlags {
  readonly output: string;
  readonly model?: string;
  readonly weights?: string;
  readonly task: Task;
  readonly precision: "f32" | "f16";
  readonly device?: string;
  readonly reference?: boolean;
  readonly steps?: number;
  readonly sampler?: Sampler;
  readonly eta?: number;
  readonly seed?: number;
  readonly noise?: string;
  readonly tile?: number;
  readonly outputs?: "raw";
  readonly previewEvery?: number;
  readonly debug?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly overwrite?: boolean;
}

/** One fusion to do: the two files and where the picture goes. */
interface Job extends FilePair {
  readonly output: string;
}

/** Adds `sinter fuse FIRST SECOND -o OUT` to the program. */
export function registerFuse(program: Command): void {
  program
    .command("fuse")
    .description("fuse two pictures of one scene, or two folders of equally named pictures")
    .argument("<first>", "infrared, functional (PET, SPECT, CT), under-exposed, near-focus, near-infrared or polarization side")
    .argument("<second>", "visible, MRI, over-exposed, far-focus or intensity side")
    .requiredOption("-o, --output <out>", "the fused picture (.png, .tif, .jpg, .webp), or the folder for them")
    .option("--model <name>", "a shipped model or a baseline (default: refusion)")
    .option("--weights <file>", "a checkpoint of your own: safetensors or PyTorch")
    .addOption(new Option("--task <task>", "what the pictures are").choices(TASKS).default("infrared-visible"))
    .addOption(new Option("--precision <type>", "how tensors are stored on the GPU").choices(["f32", "f16"]).default("f32"))
    .option("--device <name>", "a part of the name of the GPU to use")
    .option("--reference", "the published pipeline to the letter, for comparing with papers")
    .option("--steps <n>", "steps of a diffusion model's sampler", parseNumber(1, true))
    .addOption(new Option("--sampler <name>", "sampler of a diffusion model").choices(SAMPLERS))
    .option("--eta <x>", "share of fresh noise in DDIM, 0 to 1", parseNumber(0))
    .option("--seed <n>", "seed of a diffusion model's noise (default: 1)", parseNumber(0, true))
    .option("--noise <file>", "noise for a diffusion model, to compare exactly: safetensors noise.0, noise.1, …")
    .option("--tile <pixels>", "work in overlapping tiles, no side longer than this, to save memory (default: only where the whole does not fit)", parseNumber(SMALLEST_TILE, true))
    .addOption(new Option("--outputs <list>", "further outputs to write beside the picture").choices(["raw"]))
    .option("--preview-every <n>", "write what a diffusion model sees in the noise after every n steps: OUT-step-n.png, … beside OUT", parseNumber(1, true))
    .option("--debug", "check every operator's output, and name the one that makes NaN or infinity (slow)")
    .option("--dry-run", "print what would run and how much memory it needs, and fuse nothing")
    .option("--json", "print one JSON object")
    .option("--quiet", "no notes and no progress")
    .option("--overwrite", "replace existing pictures")
    .action(fuse);
}

/** Reads the value of an option: a number from `smallest`. */
const parseNumber =
  (smallest: number, whole = false) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value) || value < smallest || (whole && !Number.isSafeInteger(value))) {
      throw new InvalidArgumentError(`expected a ${whole ? "whole " : ""}number from ${smallest}.`);
    }
    return value;
  };

async function fuse(first: string, second: string, flags: FuseFlags): Promise<void> {
  const out = createOutput(flags);
  const jobs = await listJobs(first, second, flags, out);
  const engine = await Engine.open({ ...(flags.device !== undefined && { device: flags.device }) });
  const stop = new AbortController();
  const onSignal = (): void => stop.abort(new SinterError("STOPPED", "Stopped. Finished pictures are kept; run the same command again to go on."));
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  try {
    const { model, weights } = await loadModel(engine, flags, out);
    const { device } = engine.context;
    const head = { model: model.name, task: flags.task, weights, adapter: device.adapter.description || device.adapter.device };
    out.note(`Fusing with ${model.name} for ${flags.task} on ${head.adapter}.`);
    if (flags.outputs && !model.hasWeights) {
      throw new SinterError("NO_RAW_OUTPUT", `${model.name} is a formula; it has no network whose output could be written.`, { where: "--outputs", fix: "Leave out --outputs." });
    }
    const options = { ...(await fuseOptions(flags)), signal: stop.signal };
    if (flags.dryRun) return await dryRun(jobs, model, flags, options, head, out);
    out.result({ ...head, files: await fuseAll(jobs, model, flags, options, out) });
  } finally {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
    engine.dispose();
  }
}

async function fuseAll(jobs: readonly Job[], model: Model, flags: FuseFlags, options: FuseOptions, out: Output): Promise<object[]> {
  const files: object[] = [];
  const bar = out.progress("fusing", jobs.length);
  try {
    for (const [i, job] of jobs.entries()) {
      bar.update(i, job.name);
      let began = performance.now();
      const onProgress = ({ phase, done, total }: Progress): void => {
        if (phase !== "run" || total === 1) return;
        if (done === 0) began = performance.now();
        const left = done === 0 ? "" : `, about ${formatSeconds(((performance.now() - began) / 1000 / done) * (total - done))} left`;
        bar.update(i, `${job.name}, step ${Math.min(done + 1, total)} of ${total}${left}`);
      };
      files.push(await fuseFiles(job, model, flags, { ...options, onProgress }, out));
    }
    bar.update(jobs.length);
  } finally {
    // Its timer would keep Node from ending.
    bar.stop();
  }
  return files;
}

async function listJobs(first: string, second: string, flags: FuseFlags, out: Output): Promise<Job[]> {
  const { output, overwrite } = flags;
  const [firstIsFolder, secondIsFolder] = [await isFolder(first), await isFolder(second)];
  if (firstIsFolder !== secondIsFolder) {
    const [folder, file] = firstIsFolder ? [first, second] : [second, first];
    await stat(file).catch((cause: unknown) => {
      throw readError(file, cause);
    });
    throw new SinterError("FILE_AND_FOLDER", `${folder} is a folder and ${file} is a file.`, { fix: "Give two pictures, or two folders of equally named pictures." });
  }
  if (!firstIsFolder) {
    formatOf(output);
    if (!flags.dryRun) {
      await checkOutput(output, { overwrite });
      if (flags.outputs) await checkOutput(rawPath(output), { overwrite });
      if (flags.previewEvery !== undefined && !overwrite) await checkPreviews(output);
    }
    return [{ name: basename(output), first, second, output }];
  }
  if (flags.previewEvery !== undefined) {
    // They would stand among the fused pictures, whose names a later comparison takes for pairs.
    throw new SinterError("PREVIEW_OF_FOLDER", "--preview-every takes one pair, not two folders.", { where: "--preview-every", fix: "Give two pictures, or leave out --preview-every." });
  }
  const jobs = (await pairFolders(first, second)).map((pair) => ({ ...pair, output: join(output, `${basename(pair.first, extname(pair.first))}.png`) }));
  if (flags.dryRun) return jobs;
  await makeFolder(output);
  const exist = await Promise.all(jobs.map(({ output: path }) => stat(path).then(() => true, () => false)));
  const left = jobs.filter((_, i) => overwrite || !exist[i]);
  if (left.length < jobs.length) out.note(`${jobs.length - left.length} of ${jobs.length} pictures are in ${output} already and stay (--overwrite replaces them).`);
  return left;
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new SinterError("UNWRITABLE_OUTPUT", `The folder ${folder} cannot be made: ${(cause as Error).message}`, { where: folder, cause });
  }
}

async function loadModel(
  engine: Engine,
  { model: name, weights: path, task, json }: FuseFlags,
  out: Output,
): Promise<{ model: Model; weights: { file: string; sha256?: string } | undefined }> {
  if (path !== undefined) {
    const bytes = await readFile(path).catch((cause: unknown) => {
      throw readError(path, cause);
    });
    const model = await engine.load({ name: path, bytes });
    if (name !== undefined && name !== model.name) {
      throw new SinterError("MODEL_CONTRADICTION", `--model says ${name}, but ${path} holds weights of ${model.name}.`, {
        where: path,
        fix: "Leave out --model, or give weights of that model.",
      });
    }
    // Of a large checkpoint this takes half a second, so it is done only where it is told.
    return { model, weights: { file: path, ...(json && { sha256: createHash("sha256").update(bytes).digest("hex") }) } };
  }
  const model = await engine.load(name ?? "refusion");
  if (!model.hasWeights) return { model, weights: undefined };
  const { file, sha256 } = shippedWeights(name ?? "refusion", task);
  out.note(`Weights: ${file}, shipped with Sinter.`);
  return { model, weights: { file, sha256 } };
}

interface Sides {
  readonly first: DecodedImage;
  readonly second: DecodedImage;
}

async function readPair({ first, second }: Job, { reference = false }: FuseFlags, out: Output): Promise<Sides> {
  const read = async (path: string): Promise<DecodedImage> => {
    const image = await readImage(path, { ignoreProfile: reference });
    image.warnings.forEach(out.warn);
    // OpenCV's imread, which the published programs use, keeps the high byte of 16-bit files.
    if (reference && image.data instanceof Uint16Array) return { ...image, depth: 8, data: Uint8Array.from(image.data, (value) => value >> 8) };
    return image;
  };
  const pair = { first: await read(first), second: await read(second) };
  if (pair.first.width !== pair.second.width || pair.first.height !== pair.second.height) {
    const size = ({ width, height }: DecodedImage): string => `${width}×${height}`;
    throw new SinterError("SIZE_MISMATCH", `The pictures of a pair must have the same size: ${first} is ${size(pair.first)}, ${second} is ${size(pair.second)}.`, {
      where: first,
      fix: "Register the pictures to each other and crop them to their common part.",
    });
  }
  return pair;
}

async function fuseFiles(job: Job, model: Model, flags: FuseFlags, options: FuseOptions, out: Output): Promise<object> {
  options.signal?.throwIfAborted();
  const started = performance.now();
  const pair = await readPair(job, flags, out);
  const decoded = performance.now();
  const previews: string[] = [];
  const onPreview = async ({ step, picture }: Preview): Promise<void> => {
    const path = previewPath(job.output, step);
    await write(path, picture, pair, { ...flags, overwrite: true });
    previews.push(path);
  };
  const fused = await model.fuse(pair, { ...options, ...(flags.previewEvery !== undefined && { onPreview }) });
  const fusedAt = performance.now();
  const { tile } = fused.report;
  if (tile !== undefined && flags.tile === undefined) out.note(`${job.output}: the whole picture did not fit the GPU's memory, so it was fused in tiles of at most ${tile} pixels.`);
  const written = await write(job.output, fused, pair, flags);
  written.warnings.forEach(out.warn);
  const seconds = { decode: (decoded - started) / 1000, ...fused.report.seconds, encode: (performance.now() - fusedAt) / 1000 };
  const total = (performance.now() - started) / 1000;
  out.print(`${job.output}: ${fused.width}×${fused.height}, ${fused.channels === 3 ? "colour" : "grey"}, ${written.depth} bit, ${formatSeconds(total)}`);
  return {
    first: job.first,
    second: job.second,
    output: job.output,
    ...(written.raw !== undefined && { raw: written.raw }),
    ...(flags.previewEvery !== undefined && { previews: [...new Set(previews)] }),
    width: fused.width,
    height: fused.height,
    channels: fused.channels,
    depth: written.depth,
    seconds: { ...seconds, total },
    dispatches: fused.report.dispatches,
    peakBytes: fused.report.peakBytes,
    ...(tile !== undefined && { tile }),
    warnings: [...pair.first.warnings, ...pair.second.warnings, ...written.warnings],
  };
}

async function fuseOptions({ task, precision, reference, steps, sampler, eta, seed, noise, tile, previewEvery, debug }: FuseFlags): Promise<FuseOptions> {
  return {
    task,
    precision,
    ...(reference && { reference }),
    ...(steps !== undefined && { steps }),
    ...(sampler && { sampler }),
    ...(eta !== undefined && { eta }),
    ...(seed !== undefined && { seed }),
    ...(noise !== undefined && { noise: await readNoise(noise) }),
    ...(tile !== undefined && { tile }),
    ...(previewEvery !== undefined && { previewEvery }),
    ...(debug && { debug }),
  };
}

async function readNoise(path: string): Promise<ReadonlyMap<string, StoredTensor>> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw readError(path, cause);
  });
  return readSafetensors(bytes, path).tensors;
}

async function write(
  path: string,
  fused: Picture & Pick<FusedPicture, "raw">,
  { first, second }: Sides,
  { overwrite, reference, outputs }: FuseFlags,
): Promise<{ depth: 8 | 16; warnings: readonly string[]; raw?: string }> {
  const colourSide = isColoured(first) && !isColoured(second) ? first : second;
  const { profile, encoding } = colourSide;
  const written = await writeImage(path, fused, { overwrite, encoding, ...(!reference && profile && { profile }) });
  if (outputs === undefined || !fused.raw) return written;
  const raw = rawPath(path);
  const tensors = new Map([["raw", fromFloat32(planar(fused.raw, fused.width * fused.height), [1, fused.raw.length / (fused.width * fused.height), fused.height, fused.width], "F32")]]);
  await writeFileAtomically(raw, writeSafetensors({ tensors, metadata: {} }), { overwrite });
  return { ...written, raw };
}

/** Values with channels last as one plane a channel. */
function planar(values: Float32Array, pixels: number): Float32Array {
  const channels = values.length / pixels;
  return Float32Array.from(values, (_, i) => values[(i % pixels) * channels + Math.floor(i / pixels)] ?? 0);
}

/** Where the preview of a step goes, beside the picture and in its format. */
const previewPath = (picture: string, step: number | string): string => `${stemOf(picture)}-step-${step}${extname(picture)}`;

/** @throws SinterError `OUTPUT_EXISTS` when there is a preview of an earlier run */
async function checkPreviews(output: string): Promise<void> {
  const [before, after] = basename(previewPath(output, "*")).split("*") as [string, string];
  const names = await readdir(dirname(output)).catch(() => []);
  const found = names.find((name) => name.startsWith(before) && name.endsWith(after) && /^\d+$/.test(name.slice(before.length, -after.length)));
  if (found) await checkOutput(join(dirname(output), found), {});
}

const stemOf = (path: string): string => path.slice(0, path.length - extname(path).length);

/** Where the network's own output goes, beside the picture. */
const rawPath = (picture: string): string => `${stemOf(picture)}.raw.safetensors`;

async function dryRun(jobs: readonly Job[], model: Model, flags: FuseFlags, options: FuseOptions, head: object, out: Output): Promise<void> {
  const files: object[] = [];
  for (const job of jobs) {
    const plan = await model.plan(await readPair(job, flags, out), options);
    const { steps } = plan;
    const summary = { ...describePlan(plan), ...(steps !== undefined && { steps }), first: job.first, second: job.second, output: job.output };
    files.push(summary);
    out.print(`${job.first} + ${job.second}: ${steps === undefined ? "" : `${steps} step${steps === 1 ? "" : "s"}, `}${summary.dispatches} dispatches, ${(plan.operations / 1e9).toFixed(1)} GFLOP, ${formatBytes(plan.peakBytes)} of GPU memory`);
    for (const { label, kernel, workgroups, operations, bytes } of plan.dispatches) {
      out.print(`  ${label.padEnd(32)} ${kernel.name.padEnd(28)} ${workgroups.join("×").padEnd(12)} ${(operations / 1e6).toFixed(1).padStart(9)} MFLOP ${formatBytes(bytes).padStart(8)}`);
    }
  }
  out.result({ ...head, files });
}

function describePlan(plan: Plan): { dispatches: number; peakBytes: number; operations: number; buffers: readonly number[]; largestBinding: number } {
  const largestBinding = Math.max(...plan.dispatches.flatMap(({ places }) => Object.values(places).map((place) => ("size" in place ? place.size : 0))));
  return { dispatches: plan.dispatches.length, peakBytes: plan.peakBytes, operations: plan.operations, buffers: plan.buffers, largestBinding };
}
