// One engine of onnxruntime in a process of its own. The benchmark starts it and sends one message at a time; each is answered with
// { ok } or { error }.
//   { type: "load", engine, file, inputs: { name: { data, dims } }, profile }
//   { type: "run" }                 → { milliseconds, processorMilliseconds }, from inputs in memory to the output in memory
//   { type: "output" }              → { data, dims } of the last run
//   { type: "release" }             → { kernels: { name: microseconds } } of one run, where `profile` was asked for
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const loadPackage = (name) => async () => (await import(name)).default;

const ENGINES = {
  "onnxruntime-node WebGPU": { load: loadPackage("onnxruntime-node"), provider: "webgpu" },
  "onnxruntime-node CPU": { load: loadPackage("onnxruntime-node"), provider: "cpu" },
  "onnxruntime-web wasm": { load: loadPackage("onnxruntime-web"), provider: "wasm" },
  "onnxruntime-web WebGPU": { load: loadWebGpu, provider: "webgpu" },
};

/** Kept reachable: the webgpu package ends the process when it is collected. */
let gpu;

/** onnxruntime-web's WebGPU build expects a browser: Dawn's globals and `navigator.gpu`. */
async function loadWebGpu() {
  const { create, globals } = await import("webgpu");
  Object.assign(globalThis, globals);
  gpu = create(process.platform === "linux" ? ["backend=vulkan"] : []);
  Object.defineProperty(globalThis, "navigator", { value: { gpu, hardwareConcurrency: 2, userAgent: "node" }, configurable: true });
  // Dawn takes no shared memory, which is what onnxruntime's threads have.
  const { writeBuffer } = GPUQueue.prototype;
  GPUQueue.prototype.writeBuffer = function (buffer, offset, data, start = 0, size) {
    const isShared = (data.buffer ?? data) instanceof SharedArrayBuffer;
    if (!isShared) return writeBuffer.call(this, buffer, offset, data, start, ...(size === undefined ? [] : [size]));
    // For a typed array, start and size count its elements.
    const end = size === undefined ? undefined : start + size;
    const copy = ArrayBuffer.isView(data) ? data.slice(start, end) : new Uint8Array(data).slice(start, end);
    return writeBuffer.call(this, buffer, offset, copy);
  };
  return (await import("onnxruntime-web/webgpu")).default;
}

let loaded;

async function load({ engine, file, inputs, profile }) {
  const { load: loadEngine, provider } = ENGINES[engine];
  const ort = await loadEngine();
  const folder = profile ? mkdtempSync(join(tmpdir(), "sinter-bench-")) : undefined;
  const options = { executionProviders: [provider], logSeverityLevel: 3 };
  if (folder) Object.assign(options, { enableProfiling: true, profileFilePrefix: join(folder, "profile") });
  const session = await ort.InferenceSession.create(readFileSync(file), options);
  const feeds = Object.fromEntries(Object.entries(inputs).map(([name, { data, dims }]) => [name, new ort.Tensor("float32", data, dims)]));
  loaded = { session, feeds, provider, folder, runs: 0, output: undefined };
  return {};
}

async function run() {
  const before = process.cpuUsage();
  const started = performance.now();
  const outputs = await loaded.session.run(loaded.feeds);
  // On a WebGPU provider too the output is in ordinary memory here, unless asked for otherwise.
  const milliseconds = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  loaded.output = Object.values(outputs)[0];
  loaded.runs += 1;
  return { milliseconds, processorMilliseconds: (user + system) / 1000 };
}

async function output() {
  const { data, dims } = loaded.output;
  return { data, dims };
}

async function release() {
  const { session, provider, folder, runs } = loaded;
  if (folder) session.endProfiling();
  await session.release();
  if (!folder) return {};
  const [file] = readdirSync(folder);
  const events = JSON.parse(readFileSync(join(folder, file), "utf8"));
  rmSync(folder, { recursive: true });
  return { kernels: kernelTimes(events, provider, runs) };
}

/**
 * Microseconds of each kernel in one run: the shortest of all runs but the first. The WebGPU provider's kernels are timed by GPU
 * timestamps ("Api"), the CPU provider's by the clock.
 */
function kernelTimes(events, provider, runs) {
  const times = new Map();
  for (const { cat, name, dur } of events) {
    const isKernel = provider === "webgpu" ? cat === "Api" : cat === "Node" && name.endsWith("_kernel_time");
    if (!isKernel) continue;
    const known = times.get(name);
    if (known) known.push(dur);
    else times.set(name, [dur]);
  }
  const kernels = {};
  for (const [name, durations] of times) {
    const perRun = Math.floor(durations.length / runs);
    // Fewer than one a run: work of the first run only, such as packing weights.
    if (perRun === 0) continue;
    kernels[name] = Math.min(...durations.slice(-perRun * (runs - 1))) * perRun;
  }
  return kernels;
}

const HANDLERS = { load, run, output, release };

process.on("message", async (message) => {
  // Dawn's promises settle only while the event loop turns.
  const turning = setInterval(() => {}, 1);
  try {
    process.send({ ok: await HANDLERS[message.type](message) });
  } catch (error) {
    process.send({ error: String(error?.message ?? error) });
  } finally {
    clearInterval(turning);
  }
});
process.on("disconnect", () => process.exit());
