// The maintainers' converter; see README.md. Run `npm run build` first.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { detectModel, readCheckpoint, readSafetensors, TASKS } from "../../dist/index.js";

const { values } = parseArgs({ options: { official: { type: "string" }, weights: { type: "string" } } });
const weightsFolder = values.weights ?? fileURLToPath(new URL("../../weights", import.meta.url));
/** The parameter count of the published ReFusion network. */
const officialParameters = 59_856;
/** Models whose weights are for every task, so that their files need not name one. */
const tasksOf = { "mask-difuser": "any" };

try {
  if (values.official !== undefined) checkOfficial(values.official);
  writeRegistry(weightsFolder);
} catch (error) {
  console.error(`${error.code ?? error.name}: ${error.message}`);
  if (error.fix !== undefined) console.error(error.fix);
  process.exitCode = 1;
}

/** Checks that every checkpoint of the folder is a complete ReFusion network of the published size. */
function checkOfficial(folder) {
  const names = readdirSync(folder).filter((name) => [".pth", ".pt", ".ckpt"].includes(extname(name)));
  if (names.length === 0) throw new Error(`${folder} holds no checkpoint (.pth, .pt, .ckpt).`);
  for (const name of names.toSorted()) {
    const { model, tensors, aliases } = detectModel(readCheckpoint(readFileSync(join(folder, name)), name), name);
    const parameters = countParameters(tensors);
    if (model !== "refusion" || parameters !== officialParameters) {
      throw new Error(`${name}: expected refusion with ${officialParameters} parameters, found ${model} with ${parameters}.`);
    }
    console.log(`${name}: ${model}, ${tensors.size} tensors and ${Object.keys(aliases).length} aliases, ${parameters} parameters`);
  }
}

/** Writes registry.json beside the weights, from the files themselves. */
function writeRegistry(folder) {
  const names = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
  const entries = names.toSorted().map((file) => {
    const bytes = readFileSync(join(folder, file));
    const checkpoint = readSafetensors(bytes, file);
    const { model } = detectModel(checkpoint, file);
    const name = basename(file, ".safetensors");
    const card = `${name}.md`;
    const { task = tasksOf[model], licence } = checkpoint.metadata;
    if (task === undefined || licence === undefined) throw new Error(`${file}: its metadata must hold task and licence.`);
    if (task !== "any" && !TASKS.includes(task)) throw new Error(`${file}: its task must be "any" or one of ${TASKS.join(", ")}; it is "${task}".`);
    if (!existsSync(join(folder, card))) throw new Error(`${file}: its model card ${card} is missing.`);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { name, task, model, file, bytes: bytes.length, sha256, licence, card };
  });
  writeFileSync(join(folder, "registry.json"), `${JSON.stringify(entries, null, 2)}\n`);
  console.log(`registry.json: ${entries.length} weights`);
}

function countParameters(tensors) {
  return [...tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
}
