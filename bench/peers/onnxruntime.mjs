// onnxruntime in a process of its own, so that its Dawn and Sinter's never meet. The benchmark starts it and sends one
// message at a time; each is answered with { ok } or { error }.
//   { type: "load", id, engine, file, inputs: { name: { data, dims } }, profile }
//   { type: "run", id }                 → { milliseconds }, from inputs in memory to the output in memory
//   { type: "output", id }              → { data, dims } of the last run
//   { type: "release", id }             → { kernels: { name: microseconds } } of one run, where `profile` was asked for
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import native from "onnxruntime-node";
import web from "onnxruntime-web";

const ENGINES = {
  "onnxruntime-node WebGPU": { ort: native, provider: "webgpu" },
  "onnxruntime-node CPU": { ort: native, provider: "cpu" },
  "onnxruntime-web wasm": { ort: web, provider: "wasm" },
};

const sessions = new Map();

async function load({ id, engine, file, inputs, profile }) {
  const { ort, provider } = ENGINES[engine];
  const folder = profile ? mkdtempSync(join(tmpdir(), "sinter-bench-")) : undefined;
  const options = { executionProviders: [provider], logSeverityLevel: 3 };
  if (folder) Object.assign(options, { enableProfiling: true, profileFilePrefix: join(folder, "profile") });
  const session = await ort.InferenceSession.create(readFileSync(file), options);
  const feeds = Object.fromEntries(Object.entries(inputs).map(([name, { data, dims }]) => [name, new ort.Tensor("float32", data, dims)]));
  sessions.set(id, { session, feeds, provider, folder, runs: 0, output: undefined });
  return {};
}

async function run({ id }) {
  const entry = sessions.get(id);
  const started = performance.now();
  const outputs = await entry.session.run(entry.feeds);
  entry.output = Object.values(outputs)[0];
  entry.runs += 1;
  // On the WebGPU provider too the output is in ordinary memory here, unless asked for otherwise.
  return { milliseconds: performance.now() - started };
}

async function output({ id }) {
  const { data, dims } = sessions.get(id).output;
  return { data, dims };
}

async function release({ id }) {
  const { session, provider, folder, runs } = sessions.get(id);
  sessions.delete(id);
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
  try {
    process.send({ ok: await HANDLERS[message.type](message) });
  } catch (error) {
    process.send({ error: String(error?.message ?? error) });
  }
});
process.on("disconnect", () => process.exit());
