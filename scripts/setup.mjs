#!/usr/bin/env node
// Brings what Sinter needs on this machine: the npm packages and a WebGPU adapter, if need be Mesa's software one.
//   node scripts/setup.mjs [--chromium]     --chromium: also a Chromium for the browser test
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { installedMatches, mesaPlan, nodeIsEnough, parseOsRelease, parseSources } from "./setup-lib.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const cacheFile = join(root, "node_modules/.cache/sinter-setup.json");
const aptSources = "/etc/apt/sources.list.d/sinter-backports.list";
const linux = process.platform === "linux";

checkNode();
const key = stateKey();
const known = readJson(cacheFile);
if (known?.key === key && existsSync(join(root, "node_modules/webgpu"))) {
  console.log(`Set-up: all is there; WebGPU adapter: ${known.adapter}`);
} else {
  installPackages();
  const adapter = findAdapter() ?? installMesa();
  mkdirSync(dirname(cacheFile), { recursive: true });
  writeFileSync(cacheFile, JSON.stringify({ key: stateKey(), adapter }));
  console.log(`Set-up: done; WebGPU adapter: ${adapter}`);
}
if (process.argv.includes("--chromium")) installChromium();

function checkNode() {
  if (nodeIsEnough(process.version, [20, 19])) return;
  stop(`Sinter needs Node 20.19 or later, and this is ${process.version}.`, ["Install a newer Node, for example from https://nodejs.org."]);
}

/** Changes when a check that was good before has to be made again: other packages, other Node, other Vulkan drivers. */
function stateKey() {
  const hash = createHash("sha256").update(readFileSync(join(root, "package-lock.json")));
  hash.update(`${process.version} ${process.platform} ${process.arch}`);
  for (const folder of ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"]) {
    hash.update(`${existsSync(folder) ? statSync(folder).mtimeMs : "none"}`);
  }
  for (const name of ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"]) hash.update(`${process.env[name]}`);
  return hash.digest("hex");
}

function installPackages() {
  const lock = readJson(join(root, "package-lock.json"));
  const installed = readJson(join(root, "node_modules/.package-lock.json"));
  if (installed && installedMatches(lock, installed)) return;
  console.log("Set-up: installing the npm packages (npm ci) …");
  const npm = process.env.npm_execpath ?? "";
  const args = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
  const options = { cwd: root, stdio: ["ignore", "inherit", "inherit"] };
  const result = basename(npm).startsWith("npm")
    ? spawnSync(process.execPath, [npm, ...args], options)
    : spawnSync("npm", args, { ...options, shell: process.platform === "win32" });
  if (result.status !== 0) {
    stop("npm ci did not succeed.", ["Check the network and npm's registry (see the lines above), then run this again."]);
  }
}

/** The adapter's name, or undefined when none answers. In a process of its own, because a bad driver can crash it. */
function findAdapter() {
  const code = `
    const { create } = await import("webgpu");
    globalThis.gpu = create(${linux ? '["backend=vulkan"]' : "[]"});
    const adapter = await globalThis.gpu.requestAdapter();
    const device = await adapter?.requestDevice();
    console.log(device ? adapter.info.description || adapter.info.device : "");`;
  const env = { ...process.env, XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? tmpdir() };
  const options = { cwd: root, env, encoding: "utf8", timeout: 60_000, stdio: ["ignore", "pipe", "pipe"] };
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], options);
  if (status !== 0 && /ERR_DLOPEN_FAILED|Cannot find (module|package)/.test(stderr)) {
    const reason = stderr.split("\n").find((line) => line.includes("Error")) ?? "";
    stop(`The package webgpu does not load on ${process.platform}-${process.arch}.`, [reason.trim()]);
  }
  return status === 0 && stdout.trim() !== "" ? stdout.trim() : undefined;
}

function installMesa() {
  const missing = "No WebGPU adapter answers on this machine.";
  if (!linux) stop(missing, ["Update the graphics driver; WebGPU needs Metal on macOS and Direct3D 12 on Windows."]);
  const plan = mesaPlan(parseOsRelease(readText("/etc/os-release")), parseSources(readAptSources()));
  if (plan.problem !== undefined) stop(missing, [plan.problem]);

  const from = plan.suite === undefined ? [] : ["-t", plan.suite];
  const install = ["install", "-y", "--no-install-recommends", ...from, ...plan.packages];
  if (!canBeRoot()) {
    const addSource = plan.sourceLine === undefined ? [] : [`echo '${plan.sourceLine}' | sudo tee ${aptSources}`];
    stop(`${missing} Mesa's software adapter can be installed by root only; run:`, [
      ...addSource,
      "sudo apt-get update",
      `sudo apt-get ${install.join(" ")}`,
    ]);
  }
  const suite = plan.suite === undefined ? "" : ` from ${plan.suite}`;
  console.log(`Set-up: ${missing} Installing Mesa's software adapter${suite}; this takes a minute.`);
  if (plan.sourceLine !== undefined) {
    console.log(`Set-up: adding to ${aptSources}: ${plan.sourceLine}`);
    asRoot("tee", [aptSources], `${plan.sourceLine}\n`);
  }
  apt(["update"], false);
  apt(install, true);
  const adapter = findAdapter();
  if (adapter === undefined) {
    stop(`${plan.packages.join(" and ")} are installed, and still no WebGPU adapter answers.`, [
      "Dawn needs Mesa 24 or later, or a GPU with a current Vulkan driver; `vulkaninfo --summary` shows what the drivers say.",
    ]);
  }
  return adapter;
}

function installChromium() {
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  const folders = (process.env.PATH ?? "").split(delimiter);
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name))).find((path) => existsSync(path));
  if (found !== undefined) {
    console.log(`Set-up: Chromium: ${found}`);
    return;
  }
  const help = ["The browser test is left out without one; every other test runs."];
  const isDebian = linux && parseOsRelease(readText("/etc/os-release")).ID === "debian";
  if (!isDebian) stop("There is no Chromium, and only on Debian can this script install it.", ["Install Chromium or Chrome.", ...help]);
  if (!canBeRoot()) stop("There is no Chromium, and only root can install it; run:", ["sudo apt-get install -y chromium", ...help]);
  console.log("Set-up: installing Chromium for the browser test; this takes a minute.");
  apt(["update"], false);
  apt(["install", "-y", "--no-install-recommends", "chromium"], true);
}

/** Runs apt-get as root. An update that fails for one of many sources is no reason to stop; the installation shows it. */
function apt(args, mustSucceed) {
  const result = asRoot("apt-get", ["-qq", "-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::Retries=3", ...args]);
  if (result.status === 0) return;
  console.error(`${result.stdout}${result.stderr}`.trim().split("\n").slice(-15).join("\n"));
  if (mustSucceed) stop(`apt-get ${args.join(" ")} did not succeed.`, ["The lines above say why."]);
}

function asRoot(command, args, input = "") {
  const env = "DEBIAN_FRONTEND=noninteractive";
  const [program, ...rest] = isRoot() ? ["env", env, command, ...args] : ["sudo", "-n", "env", env, command, ...args];
  return spawnSync(program, rest, { encoding: "utf8", input, maxBuffer: 64 << 20 });
}

function isRoot() {
  return process.getuid?.() === 0;
}

function canBeRoot() {
  return isRoot() || spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0;
}

function readAptSources() {
  const folder = "/etc/apt/sources.list.d";
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => /\.(list|sources)$/.test(name)) : [];
  return ["/etc/apt/sources.list", ...names.map((name) => join(folder, name))].map((name) => ({ name, text: readText(name) }));
}

function readText(file) {
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

function stop(problem, lines) {
  console.error(`Set-up: ${problem}`);
  for (const line of lines) console.error(`  ${line}`);
  process.exit(1);
}
