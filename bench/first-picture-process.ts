import { readFile } from "node:fs/promises";
import type { Picture } from "../src/fusion/picture.ts";
import { Engine } from "../src/node.ts";
import type { FirstPictureJob, FirstPictureMarks } from "./first-picture.ts";
import { randomPicture } from "./workload.ts";

/*
 * The process whose start `timeFirstPictures` measures: it opens the GPU, loads weights and fuses one pair twice, as a program that uses the
 * library would, and prints when it had come how far.
 */

const { weights, width, height, precision, device } = JSON.parse(process.argv[2] ?? "{}") as FirstPictureJob;
const engine = await Engine.open(device === undefined ? {} : { device });
const opened = performance.now();
const model = await engine.load({ name: weights, bytes: await readFile(weights) });
const loaded = performance.now();
const picture = (seed: number): Picture => ({ width, height, channels: 1, data: Uint8Array.from(randomPicture(width * height, seed), (value) => value * 255) });
const pair = { first: picture(1), second: picture(2) };
let compiled = 0;
const started = performance.now();
await model.fuse(pair, {
  precision,
  onProgress: ({ phase, done }) => {
    if (phase === "run" && done === 0) compiled = performance.now();
  },
});
const first = performance.now();
await model.fuse(pair, { precision });
const second = performance.now();
// Making the random pictures is no part of it.
const made = started - loaded;
const marks: FirstPictureMarks = { opened, loaded, compiled: compiled - made, first: first - made, second: second - made };
process.stdout.write(JSON.stringify(marks));
engine.dispose();
