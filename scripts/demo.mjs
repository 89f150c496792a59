#!/usr/bin/env node
// Fuses the shipped pair of a night street, from a fresh clone on: set-up, build where the build is missing or old, fusion.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const pair = join(root, "examples/pairs/night-street");
const output = join(root, "examples/fused/night-street.png");

run(process.execPath, [join(root, "scripts/setup.mjs")]);
if (buildIsOld()) {
  console.log("Demo: building Sinter …");
  run("npm", ["run", "--silent", "build"], process.platform === "win32");
}
console.log("Demo: fusing a night street, infrared and visible …");
const begin = performance.now();
mkdirSync(dirname(output), { recursive: true });
const files = [join(pair, "infrared.png"), join(pair, "visible.png")];
run(process.execPath, [join(root, "bin/sinter.mjs"), "fuse", ...files, "-o", output, "--overwrite"]);
console.log(`Demo: done in ${((performance.now() - begin) / 1000).toFixed(1)} s. The fused picture is ${output}`);

/** True when a source changed after the build; the times of folders show files that were added or deleted. */
function buildIsOld() {
  const built = join(root, "dist/cli.js");
  if (!existsSync(built)) return true;
  const src = join(root, "src");
  const sources = ["package.json", "vite.config.ts", "wgsl-plugin.ts"].map((name) => join(root, name));
  const all = [src, ...readdirSync(src, { recursive: true }).map((name) => join(src, name)), ...sources];
  return Math.max(...all.map((path) => statSync(path).mtimeMs)) > statSync(built).mtimeMs;
}

function run(program, args, shell = false) {
  const { status } = spawnSync(program, args, { cwd: root, stdio: ["ignore", "inherit", "inherit"], shell });
  if (status !== 0) process.exit(status ?? 1);
}
