import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readSafetensors } from "../../src/checkpoints/safetensors.ts";
import type { Picture } from "../../src/fusion/picture.ts";
import { shippedWeights } from "../../src/fusion/shipped.ts";
import { readImage, writeImage } from "../../src/platform/images.ts";
import { wideProfile } from "../platform/icc.ts";
import { type BinaryRun, runBinary } from "./binary.ts";

// The built command, as a user runs it. Where the model does not matter, a classical method is used: its kernels compile fast.
const repository = process.cwd();
const shipped = shippedWeights("refusion", "infrared-visible");
const SHIPPED = join(repository, "weights", shipped.file);
/** A diffusion model small enough to run here. */
const SMALL = join(repository, "test/fixtures/mask-difuser-small.safetensors");
const [WIDTH, HEIGHT] = [40, 30];

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sinter-fuse-"));
  await writeImage(join(folder, "ir.png"), grey(WIDTH, HEIGHT));
  await writeImage(join(folder, "vis.png"), coloured(WIDTH, HEIGHT));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});

const sinter = (...args: string[]): Promise<BinaryRun> => runBinary(args, { cwd: folder });
const file = (name: string): string => join(folder, name);

function grey(width: number, height: number): Picture {
  const data = Uint8Array.from({ length: width * height }, (_, i) => (i * 7 + (i >> 4)) & 255);
  return { width, height, channels: 1, data };
}

function coloured(width: number, height: number): Picture {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => [170, 110, 80 + (i % 90)][i % 3] ?? 0);
  return { width, height, channels: 3, data };
}

/** Folders of `names`, each pair the same two pictures. */
async function makeFolders(name: string, names: readonly string[]): Promise<void> {
  for (const [side, source] of [["first", "ir.png"], ["second", "vis.png"]] as const) {
    await mkdir(file(`${name}/${side}`), { recursive: true });
    for (const picture of names) await cp(file(source), file(`${name}/${side}/${picture}`));
  }
}

/** One error on stderr, told as message, place and fix without a stack trace; the code from `--json`. */
function expectError(run: BinaryRun, exitCode: number): string {
  expect(run.exitCode, run.stderr).toBe(exitCode);
  const lines = run.stderr.split("\n").slice(run.stderr.split("\n").findIndex((line) => line.startsWith("sinter: ")));
  expect(lines[0]).toMatch(/^sinter: \S/);
  expect(lines.length, run.stderr).toBeLessThanOrEqual(3);
  expect(run.stderr).not.toMatch(/\n\s+at |node:internal|\.js:\d|unexpected error/);
  return (JSON.parse(run.stdout) as { error: { code: string } }).error.code;
}

describe("sinter fuse", () => {
  it("fuses a pair with the shipped weights and says what it did as one JSON object", async () => {
    const run = await sinter("fuse", "ir.png", "vis.png", "-o", "fused.png", "--outputs", "raw", "--json");
    expect(run.exitCode, run.stderr).toBe(0);
    const bytes = await readFile(file("fused.png"));
    const phases = ["decode", "compile", "prepare", "run", "read", "encode", "total"];
    const seconds = Object.fromEntries(phases.map((phase) => [phase, expect.any(Number)]));
    expect(JSON.parse(run.stdout)).toEqual({
      model: "refusion",
      task: "infrared-visible",
      weights: { file: shipped.file, sha256: shipped.sha256 },
      adapter: expect.stringMatching(/\w/),
      files: [
        {
          first: "ir.png",
          second: "vis.png",
          output: "fused.png",
          raw: "fused.raw.safetensors",
          width: WIDTH,
          height: HEIGHT,
          channels: 3,
          depth: 8,
          seconds,
          dispatches: expect.any(Number),
          peakBytes: expect.any(Number),
          warnings: [],
        },
      ],
    });
    // Progress is for terminals.
    for (const text of ["\u001B", "\r", "fusing"]) expect(run.stderr).not.toContain(text);
    expect(run.stderr).toContain("shipped with Sinter");

    expect((await sharp(bytes).metadata()).channels).toBe(3);
    const raw = readSafetensors(await readFile(file("fused.raw.safetensors")), "raw").tensors.get("raw");
    expect(raw).toMatchObject({ elementType: "F32", shape: [1, 1, HEIGHT, WIDTH] });

    // The same with the file of weights, f16 stored as it is, and nothing replaced meanwhile.
    const again = await sinter("fuse", "ir.png", "vis.png", "-o", "again.png", "--weights", SHIPPED, "--quiet");
    expect(again).toMatchObject({ exitCode: 0, stderr: "" });
    expect(again.stdout).toMatch(/^again\.png: 40×30, colour, 8 bit, [\d.]+ m?s\n$/);
    expect(await readFile(file("again.png"))).toEqual(bytes);
  });

  it("works in tiles with --tile, and says so", async () => {
    await writeImage(file("wide-ir.png"), grey(96, 70));
    await writeImage(file("wide-vis.png"), coloured(96, 70));
    const whole = await sinter("fuse", "wide-ir.png", "wide-vis.png", "-o", "whole.png");
    const tiled = await sinter("fuse", "wide-ir.png", "wide-vis.png", "-o", "tiled.png", "--tile", "64", "--json");
    expect([whole.exitCode, tiled.exitCode], tiled.stderr).toEqual([0, 0]);
    expect(JSON.parse(tiled.stdout)).toMatchObject({ files: [{ tile: 64 }] });
    const [a, b] = [await readImage(file("whole.png")), await readImage(file("tiled.png"))];
    expect(a.data.every((value, i) => Math.abs(value - (b.data[i] ?? 0)) <= 1)).toBe(true);
    const small = await sinter("fuse", "ir.png", "vis.png", "-o", "small.png", "--tile", "8");
    expect(small.exitCode).toBe(2);
    expect(small.stderr).toContain("64");
  });

  it("prints the plan with --dry-run, and writes nothing", async () => {
    const run = await sinter("fuse", "ir.png", "vis.png", "-o", "planned.png", "--dry-run");
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stdout).toMatch(/^ir\.png \+ vis\.png: \d+ dispatches, [\d.]+ GFLOP, [\d.]+ MB of GPU memory\n {2}\S/);
    const json = await sinter("fuse", "ir.png", "vis.png", "-o", "planned.png", "--dry-run", "--json");
    const plan = { output: "planned.png", dispatches: expect.any(Number), peakBytes: expect.any(Number) };
    expect(JSON.parse(json.stdout)).toMatchObject({ model: "refusion", files: [plan] });
    await expect(stat(file("planned.png"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("keeps 16 bit and an RGB profile, and says what a format cannot keep", async () => {
    const profile = new Uint8Array(wideProfile());
    const data = Uint16Array.from(coloured(WIDTH, HEIGHT).data, (value, i) => value * 257 + (i % 200));
    await writeImage(file("deep.tif"), { width: WIDTH, height: HEIGHT, channels: 3, data }, { profile, encoding: "profile" });
    // A picture of three equal channels has no colour: the profile is that of the other side.
    const equal = Uint8Array.from({ length: WIDTH * HEIGHT * 3 }, (_, i) => Math.floor(i / 3) & 255);
    await writeImage(file("equal.png"), { width: WIDTH, height: HEIGHT, channels: 3, data: equal });
    const run = await sinter("fuse", "deep.tif", "equal.png", "-o", "deep.png", "--model", "average");
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stdout).toContain("16 bit");
    const fused = await readImage(file("deep.png"));
    expect(fused).toMatchObject({ width: WIDTH, height: HEIGHT, channels: 3, depth: 16, encoding: "profile" });
    expect(Buffer.from(fused.profile ?? [])).toEqual(Buffer.from(profile));
    expect(fused.data.some((value) => value % 257 !== 0)).toBe(true);

    const jpeg = await sinter("fuse", "deep.tif", "equal.png", "-o", "deep.jpg", "--model", "average");
    expect(jpeg.stderr).toContain("warning: deep.jpg: JPEG has no 16 bit, so it was written with 8.");
    expect(await readImage(file("deep.jpg"))).toMatchObject({ channels: 3, depth: 8 });
  });

  it("writes what a diffusion model sees in the noise beside the picture", async () => {
    const args = ["fuse", "ir.png", "vis.png", "-o", "steps.png", "--weights", SMALL, "--steps", "5"];
    const run = await sinter(...args, "--preview-every", "2", "--json");
    expect(run.exitCode, run.stderr).toBe(0);
    const previews = ["steps-step-2.png", "steps-step-4.png"];
    expect(JSON.parse(run.stdout)).toMatchObject({ model: "mask-difuser", weights: { file: SMALL }, files: [{ output: "steps.png", previews }] });
    for (const preview of previews) expect(await readImage(file(preview))).toMatchObject({ width: WIDTH, height: HEIGHT, channels: 3, depth: 8 });
    expect((await readdir(folder)).filter((name) => name.startsWith("steps"))).toEqual([...previews, "steps.png"]);

    // A picture of an earlier run stays, be it the result or a preview.
    await rm(file("steps.png"));
    const again = await sinter(...args, "--preview-every", "3", "--json");
    expect(expectError(again, 1)).toBe("OUTPUT_EXISTS");
    expect(again.stderr).toContain("steps-step-");
    const dry = await sinter(...args, "--dry-run");
    expect(dry.stdout).toMatch(/^ir\.png \+ vis\.png: 5 steps, \d+ dispatches/);
  });

  it("lets existing pictures stay without --overwrite", async () => {
    await writeFile(file("kept.png"), "mine");
    const args = ["fuse", "ir.png", "vis.png", "-o", "kept.png", "--model", "average"];
    expect(expectError(await sinter(...args, "--json"), 1)).toBe("OUTPUT_EXISTS");
    expect(await readFile(file("kept.png"), "utf8")).toBe("mine");
    expect((await sinter(...args, "--overwrite")).exitCode).toBe(0);
    expect(await readImage(file("kept.png"))).toMatchObject({ width: WIDTH });
  });

  it("shows progress on a terminal, and ends when a picture fails", { skip: process.platform !== "linux" }, async () => {
    await makeFolders("terminal", ["a.png", "b.png"]);
    await writeFile(file("terminal/first/b.png"), "no picture");
    const args = ["fuse", "terminal/first", "terminal/second", "-o", "terminal/out", "--model", "average"];
    const command = [process.execPath, join(repository, "bin/sinter.mjs"), ...args].map((word) => `'${word}'`).join(" ");
    // The `script` of util-linux gives the command a terminal.
    const run = spawnSync("script", ["-qec", command, "/dev/null"], { cwd: folder, encoding: "utf8", timeout: 60_000, input: "" });
    expect(run.signal).toBeNull();
    expect(run.status).toBe(1);
    expect(run.stdout).toMatch(/fusing .* 1\/2 b/);
    expect(run.stdout).toMatch(/sinter: terminal\/first\/b\.png is not a picture/);
    expect(await readdir(file("terminal/out"))).toEqual(["a.png"]);
  });
});

describe("folders", () => {
  it("keep FIRST's names, as PNG; what is there already stays", async () => {
    await makeFolders("set", ["one.png", "two.png"]);
    await writeImage(file("set/second/one.jpg"), coloured(WIDTH, HEIGHT));
    await rm(file("set/second/one.png"));
    await mkdir(file("set/out"));
    await writeFile(file("set/out/two.png"), "mine");
    const args = ["fuse", "set/first", "set/second", "-o", "set/out", "--model", "average", "--json"];
    const run = await sinter(...args);
    expect(run.exitCode, run.stderr).toBe(0);
    expect(run.stderr).toContain("1 of 2 pictures are in set/out already and stay (--overwrite replaces them).");
    const fused = { first: "set/first/one.png", second: "set/second/one.jpg", output: "set/out/one.png" };
    expect(JSON.parse(run.stdout)).toMatchObject({ model: "average", files: [fused] });
    expect(await readdir(file("set/out"))).toEqual(["one.png", "two.png"]);
    expect(await readFile(file("set/out/two.png"), "utf8")).toBe("mine");
    expect((await sinter(...args, "--overwrite")).exitCode).toBe(0);
    expect(await readImage(file("set/out/two.png"))).toMatchObject({ width: WIDTH });
  });

  it("resume after an interruption", async () => {
    const names = Array.from({ length: 40 }, (_, i) => `${String(i).padStart(2, "0")}.png`);
    await makeFolders("many", names);
    const args = ["fuse", "many/first", "many/second", "-o", "many/out", "--model", "average"];
    let sent = false;
    const onOutput = (stdout: string, kill: (signal: NodeJS.Signals) => void): void => {
      if (!sent && stdout.includes("\n")) kill("SIGINT");
      sent ||= stdout.includes("\n");
    };
    const stopped = await runBinary(args, { cwd: folder, onOutput });
    expect(stopped.exitCode).toBe(1);
    expect(stopped.stderr).toContain("sinter: Stopped. Finished pictures are kept; run the same command again to go on.");
    const finished = await readdir(file("many/out"));
    expect(finished).toEqual(names.slice(0, finished.length));
    expect(finished.length).toBeGreaterThan(0);
    expect(finished.length).toBeLessThan(names.length);
    for (const name of finished) expect(await readImage(file(`many/out/${name}`))).toMatchObject({ width: WIDTH });

    const before = await stat(file("many/out/00.png"));
    const resumed = await sinter(...args);
    expect(resumed.exitCode, resumed.stderr).toBe(0);
    expect(resumed.stderr).toContain(`${finished.length} of 40 pictures are in many/out already and stay`);
    expect(await readdir(file("many/out"))).toEqual(names);
    expect((await stat(file("many/out/00.png"))).mtimeMs).toBe(before.mtimeMs);
  });
});

/** A safetensors file with this header and these bytes of data. */
function safetensors(header: object, bytes: number): Buffer {
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(bytes)]);
}

describe("bad input", () => {
  let before: string[] = [];
  beforeAll(async () => {
    const checkpoints = join(repository, "test/fixtures/checkpoints");
    await writeImage(file("small.png"), grey(8, 8));
    await writeFile(file("text.png"), "this is no picture");
    await cp(file("vis.png"), file("cut.png"));
    await truncate(file("cut.png"), (await stat(file("vis.png"))).size / 2);
    await makeFolders("unmatched", ["a.png", "b.png"]);
    await rm(file("unmatched/second/b.png"));
    await mkdir(file("empty"));
    await mkdir(file("taken.png"));
    await mkdir(file("sealed"));
    await chmod(file("sealed"), 0o500);
    const tensor = { dtype: "F32", shape: [4], data_offsets: [0, 16] };
    await writeFile(file("overlap.safetensors"), safetensors({ a: tensor, b: { ...tensor, data_offsets: [8, 24] } }, 24));
    await writeFile(file("outside.safetensors"), safetensors({ a: { ...tensor, data_offsets: [0, 1600] } }, 16));
    await writeFile(file("huge.safetensors"), Buffer.concat([Buffer.alloc(8, 0x7f), Buffer.from("{}")]));
    await writeFile(file("short.safetensors"), (await readFile(SHIPPED)).subarray(0, 60_000));
    await writeFile(file("short.pth"), (await readFile(join(checkpoints, "odd_zip.pth"))).subarray(0, 2000));
    for (const name of ["runs_command_zip.pth", "runs_command_legacy.pth", "other_model.pth"]) {
      await cp(join(checkpoints, name), file(name));
    }
    before = (await readdir(folder)).toSorted();
  });

  const PAIR = ["ir.png", "vis.png", "-o", "out.png"];
  it.each([
    ["FILE_NOT_FOUND", "a missing first file", ["nowhere.png", "vis.png", "-o", "out.png"]],
    ["FILE_NOT_FOUND", "a missing second file", ["ir.png", "nowhere.png", "-o", "out.png"]],
    ["FILE_NOT_FOUND", "a missing file beside a folder", ["unmatched/first", "nowhere", "-o", "out"]],
    ["NOT_AN_IMAGE", "a file that is no picture", ["ir.png", "text.png", "-o", "out.png"]],
    ["TRUNCATED_IMAGE", "a truncated PNG", ["ir.png", "cut.png", "-o", "out.png"]],
    ["SIZE_MISMATCH", "sizes that differ", ["small.png", "vis.png", "-o", "out.png"]],
    ["FILE_AND_FOLDER", "a file and a folder", ["ir.png", "unmatched/second", "-o", "out"]],
    ["UNMATCHED_NAMES", "folders with names without a partner", ["unmatched/first", "unmatched/second", "-o", "out"]],
    ["NO_IMAGES", "an empty folder", ["empty", "unmatched/second", "-o", "out"]],
    ["UNWRITABLE_OUTPUT", "an output in a folder that is missing", ["ir.png", "vis.png", "-o", "no/such/out.png"]],
    ["UNWRITABLE_OUTPUT", "an output where a folder is", ["ir.png", "vis.png", "-o", "taken.png"]],
    ["UNWRITABLE_OUTPUT", "a folder where a file is", ["unmatched/second", "unmatched/second", "-o", "ir.png"]],
    ["UNKNOWN_EXTENSION", "an unknown format", ["ir.png", "vis.png", "-o", "out.gif"]],
    ["UNKNOWN_EXTENSION", "no ending", ["ir.png", "vis.png", "-o", "out"]],
    ["FILE_NOT_FOUND", "missing weights", [...PAIR, "--weights", "nowhere.pth"]],
    ["CORRUPT_CHECKPOINT", "weights that overlap", [...PAIR, "--weights", "overlap.safetensors"]],
    ["CORRUPT_CHECKPOINT", "weights outside the file", [...PAIR, "--weights", "outside.safetensors"]],
    ["CORRUPT_CHECKPOINT", "weights with a gigantic header", [...PAIR, "--weights", "huge.safetensors"]],
    ["CORRUPT_CHECKPOINT", "truncated safetensors", [...PAIR, "--weights", "short.safetensors"]],
    ["CORRUPT_CHECKPOINT", "a truncated zip", [...PAIR, "--weights", "short.pth"]],
    ["NOT_A_CHECKPOINT", "a picture as weights", [...PAIR, "--weights", "ir.png"]],
    ["UNSAFE_PICKLE", "a pickle that calls os.system", [...PAIR, "--weights", "runs_command_zip.pth"]],
    ["UNSAFE_PICKLE", "an old pickle that calls os.system", [...PAIR, "--weights", "runs_command_legacy.pth"]],
    ["UNKNOWN_MODEL", "weights of another model", [...PAIR, "--weights", "other_model.pth"]],
    ["MODEL_CONTRADICTION", "--model that contradicts --weights", [...PAIR, "--weights", SHIPPED, "--model", "average"]],
    ["UNKNOWN_MODEL", "a model that is not shipped", [...PAIR, "--model", "nosuch"]],
    ["WEIGHTS_NOT_SHIPPED", "a task for which a model has no weights", [...PAIR, "--model", "refusion", "--task", "near-infrared"]],
    ["NOT_A_DIFFUSION_MODEL", "previews of a model without steps", [...PAIR, "--preview-every", "2"]],
    ["PREVIEW_OF_FOLDER", "previews of a folder", ["unmatched/second", "unmatched/second", "-o", "out", "--preview-every", "2"]],
    ["UNKNOWN_DEVICE", "a GPU that is not there", [...PAIR, "--device", "nosuch"]],
  ])("%s: %s", async (code, _, args) => {
    const model = args.includes("--weights") || args.includes("--model") ? [] : ["--model", "average"];
    expect(expectError(await sinter("fuse", ...args, ...model, "--json"), 1)).toBe(code);
    // Nothing was written, not even a folder or a part of a file.
    expect((await readdir(folder)).toSorted()).toEqual(before);
  });

  it("UNWRITABLE_OUTPUT: a folder without permission", { skip: process.getuid?.() === 0 }, async () => {
    const run = await sinter("fuse", "ir.png", "vis.png", "-o", "sealed/out.png", "--model", "average", "--json");
    expect(expectError(run, 1)).toBe("UNWRITABLE_OUTPUT");
  });

  it.each([
    ["no output", ["ir.png", "vis.png"]],
    ["one picture", ["ir.png", "-o", "out.png"]],
    ["an unknown task", [...PAIR, "--task", "nosuch"]],
    ["an unknown option", [...PAIR, "--nosuch"]],
    ["an unknown precision", [...PAIR, "--precision", "f64"]],
  ])("wrong usage: %s", async (_, args) => {
    const run = await sinter("fuse", ...args, "--json");
    expect(expectError(run, 2)).toBe("WRONG_USAGE");
    expect(run.stderr).toContain("--help");
  });

  it("NO_ADAPTER: no driver", { skip: process.platform !== "linux" }, async () => {
    const env = { VK_DRIVER_FILES: "/dev/null", VK_ICD_FILENAMES: "/dev/null" };
    const run = await runBinary(["fuse", ...PAIR, "--json"], { cwd: folder, env });
    expect(expectError(run, 1)).toBe("NO_ADAPTER");
    expect(run.stderr).toContain("npm run setup");
    const doctor = await runBinary(["doctor", "--json"], { cwd: folder, env });
    expect(doctor.exitCode).toBe(1);
    expect(JSON.parse(doctor.stdout)).toMatchObject({ ok: false, adapter: null, error: { code: "NO_ADAPTER" } });
  });

  it("NO_WEBGPU_PACKAGE: the package webgpu is not installed", async () => {
    const installed = file("installed");
    await mkdir(join(installed, "node_modules"), { recursive: true });
    for (const name of ["bin", "dist", "weights", "package.json"]) {
      await cp(join(repository, name), join(installed, name), { recursive: true });
    }
    const packages = (await readdir("node_modules")).filter((name) => !name.startsWith(".") && name !== "webgpu");
    for (const name of packages) await symlink(join(repository, "node_modules", name), join(installed, "node_modules", name));
    const script = join(installed, "bin/sinter.mjs");
    const run = await runBinary(["fuse", ...PAIR, "--json"], { cwd: folder, script });
    expect(expectError(run, 1)).toBe("NO_WEBGPU_PACKAGE");
    expect(run.stderr).toContain("npm install webgpu");
    // What needs no GPU works all the same.
    expect(await runBinary(["models"], { cwd: folder, script })).toMatchObject({ exitCode: 0 });

    await rm(join(installed, "dist"), { recursive: true });
    const unbuilt = await runBinary(["models"], { cwd: folder, script });
    expect(unbuilt).toMatchObject({ exitCode: 1, stdout: "" });
    expect(unbuilt.stderr).toMatch(/^sinter: Sinter is not built yet\.\n {2}fix: /);
    await rm(installed, { recursive: true });
  });
});

describe("the other commands", () => {
  it("models: what is shipped, and that it is what the registry says", async () => {
    const { stdout, exitCode } = await sinter("models", "--json");
    expect(exitCode).toBe(0);
    const listed = (JSON.parse(stdout) as { shipped: { file: string; bytes: number }[] }).shipped;
    expect(listed).toContainEqual(shipped);
    for (const { file: name, bytes } of listed) expect((await stat(join(repository, "weights", name))).size, name).toBe(bytes);
    expect((await sinter("models")).stdout).toContain(`weights/${shipped.file}`);
  });

  it("doctor: the adapter and a check sum", async () => {
    const { stdout, exitCode } = await sinter("doctor", "--json");
    expect(exitCode).toBe(0);
    const { checkSum, ...report } = JSON.parse(stdout) as { checkSum: { expected: number; found: number } };
    expect(report).toMatchObject({ ok: true, adapter: { features: {}, limits: {} } });
    expect(checkSum.found).toBe(checkSum.expected);
  });

  it("evaluate: folders, in worker threads, with the numbers of one thread", async () => {
    await makeFolders("measure", ["a.png", "b.png", "c.png"]);
    await cp(file("measure/first"), file("measure/fused"), { recursive: true });
    const args = ["evaluate", "measure/first", "measure/second", "measure/fused", "--metrics", "EN,SSIM,VIF", "--json"];
    const threads = await sinter(...args, "--threads", "2");
    expect(threads.exitCode, threads.stderr).toBe(0);
    const result = JSON.parse(threads.stdout) as { pairs: { name: string }[] };
    expect(result.pairs.map(({ name }) => name)).toEqual(["a", "b", "c"]);
    expect(JSON.parse((await sinter(...args, "--threads", "1")).stdout)).toEqual(result);

    await writeFile(file("measure/fused/b.png"), "no picture");
    expect(expectError(await sinter(...args, "--threads", "2"), 1)).toBe("NOT_AN_IMAGE");
  });
});
