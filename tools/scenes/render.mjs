/** Renders the demo pairs: node tools/scenes/render.mjs [SCENE…] [-o FOLDER] [--seed N] */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { writePng } from "./image.mjs";
import { renderBrainPhantom, renderNearFar, renderNightStreet, renderWindow } from "./index.mjs";

/**
 * Folder name, renderer, and the seed of the shipped pair.
 * @type {Record<string, { render: (options: { seed: number }) => Record<string, unknown>, seed: number }>}
 */
const SCENES = {
  "night-street": { render: renderNightStreet, seed: 1 },
  window: { render: renderWindow, seed: 1 },
  "near-far": { render: renderNearFar, seed: 1 },
  brain: { render: renderBrainPhantom, seed: 1 },
};

const USAGE = `usage: node tools/scenes/render.mjs [SCENE…] [-o FOLDER] [--seed N]
scenes: ${Object.keys(SCENES).join(", ")} (default: all); FOLDER: default examples/pairs`;

/**
 * @returns {{ names: string[], folder: string, seed: number | undefined } | undefined} nothing when the arguments
 *   are wrong
 */
function readArguments() {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: { output: { type: "string", short: "o" }, seed: { type: "string" } },
    });
    const seed = values.seed === undefined ? undefined : Number(values.seed);
    if (positionals.some((name) => !(name in SCENES)) || (seed !== undefined && !Number.isInteger(seed)))
      return undefined;
    const pairs = fileURLToPath(new URL("../../examples/pairs", import.meta.url));
    return { names: positionals.length > 0 ? positionals : Object.keys(SCENES), folder: values.output ?? pairs, seed };
  } catch {
    return undefined;
  }
}

const request = readArguments();
if (request === undefined) {
  console.error(USAGE);
  process.exitCode = 2;
} else {
  for (const name of request.names) {
    const started = performance.now();
    const rendered = SCENES[name].render({ seed: request.seed ?? SCENES[name].seed });
    const folder = join(request.folder, name);
    await mkdir(folder, { recursive: true });
    for (const [side, image] of Object.entries(rendered)) {
      if (!Array.isArray(image))
        await writePng(/** @type {import("./image.mjs").Encoded} */ (image), join(folder, `${side}.png`));
    }
    console.error(`${folder}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
  }
}
