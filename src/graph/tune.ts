import { SinterError } from "../errors.ts";
import type { ElementType, Shape } from "../kernels/tensor.ts";
import { type Device, PORTABLE_TRAITS } from "../runtime/device.ts";
import type { PipelineCache } from "../runtime/pipelines.ts";
import { type Graph, GraphBuilder, type Node } from "./graph.ts";
import { compile } from "./plan.ts";
import { ConstantStore, Session } from "./session.ts";
import { type TunedVariants, variantJob, variantKey } from "./variants.ts";

/** How one variant did. */
export interface Candidate {
  readonly variant: string;
  /** GPU time of the node, the mean of the middle half of several runs; absent where it was rejected. */
  readonly seconds?: number;
  /** Largest difference from the portable variant over the largest value. */
  readonly error?: number;
  /** Why it cannot be used on this device. */
  readonly rejected?: string;
}

/** The candidates of all nodes that share a key. */
export interface TunedNode {
  readonly key: string;
  readonly operator: string;
  /** Name of the first of these nodes, and how many there are. */
  readonly label: string;
  readonly count: number;
  readonly candidates: readonly Candidate[];
  /** What the device's class would take. */
  readonly standard: string;
  readonly best: string;
}

/** Both variants may differ from the exact result by what the tests allow, 10⁻⁵ and 2 × 10⁻³. */
const TOLERANCE: Readonly<Record<ElementType, number>> = { f32: 2e-5, f16: 4e-3 };
/** A clock that ticks every 65 µs tells this time to half a percent. */
const MEASURED_SECONDS = 0.02;
const LEAST_RUNS = 3;
/** A variant must win by more than the noise to displace the default. */
const LEAST_GAIN = 1.03;

/**
 * Measures the variants of every operator of some graphs on a device, each node by itself on random numbers, and rejects those that
 * do not compile or whose results differ from the portable variant's.
 *
 * @param onProgress called with the nodes done so far and in all
 * @throws SinterError `NO_TIMESTAMPS` when the device cannot time its kernels; the signal's reason between two candidates
 */
export async function tuneGraphs(
  graphs: readonly Graph[],
  device: Device,
  pipelines: PipelineCache,
  { onProgress, signal }: { readonly onProgress?: (done: number, total: number) => void; readonly signal?: AbortSignal } = {},
): Promise<TunedNode[]> {
  if (!device.traits.timestamps) throw new SinterError("NO_TIMESTAMPS", "The device has no timestamp queries, so variants cannot be timed.");
  const groups = new Map<string, { node: Node; count: number }>();
  for (const node of graphs.flatMap(({ nodes }) => nodes)) {
    const job = variantJob(node, device.traits);
    if ((node.operator.variants?.(job).length ?? 0) < 2) continue;
    const key = variantKey(node.operator, job);
    groups.set(key, { node: groups.get(key)?.node ?? node, count: (groups.get(key)?.count ?? 0) + 1 });
  }
  const tuned: TunedNode[] = [];
  for (const [key, { node, count }] of groups) {
    onProgress?.(tuned.length, groups.size);
    const variants = node.operator.variants?.(variantJob(node, device.traits)) ?? [];
    const [portable = ""] = node.operator.variants?.(variantJob(node, PORTABLE_TRAITS)) ?? [];
    const alone = isolate(node);
    const inputs = alone.inputs.map(({ name, shape }, i) => ({ name, data: randomNumbers(shape, i + 1) }));
    const expected = (await runVariant(alone, key, portable, inputs, device, pipelines)).output;
    const candidates: Candidate[] = [];
    for (const variant of variants) {
      signal?.throwIfAborted();
      candidates.push(await measure(variant, () => runVariant(alone, key, variant, inputs, device, pipelines), expected, TOLERANCE[node.output.elementType]));
    }
    const [standard = ""] = variants;
    tuned.push({ key, operator: node.operator.name, label: node.output.name, count, candidates, standard, best: fastest(candidates, standard) });
  }
  onProgress?.(tuned.length, groups.size);
  return tuned;
}

/** What `compile` takes: the best variant of each node where it is not the default anyway. */
export const tunedVariants = (nodes: readonly TunedNode[]): TunedVariants =>
  new Map(nodes.filter(({ best, standard }) => best !== standard).map(({ key, best }) => [key, best]));

function fastest(candidates: readonly Candidate[], standard: string): string {
  const usable = candidates.filter((candidate): candidate is Candidate & { seconds: number } => candidate.seconds !== undefined);
  const best = usable.toSorted((a, b) => a.seconds - b.seconds)[0];
  const current = usable.find(({ variant }) => variant === standard);
  if (!best) return standard;
  return current && current.seconds < best.seconds * LEAST_GAIN ? standard : best.variant;
}

interface VariantRun {
  readonly output: Float32Array;
  readonly seconds: number;
}

async function measure(variant: string, run: () => Promise<VariantRun>, expected: Float32Array, tolerance: number): Promise<Candidate> {
  let result: VariantRun;
  try {
    result = await run();
  } catch (error) {
    if (!(error instanceof SinterError && error.code === "SHADER_COMPILE")) throw error;
    return { variant, rejected: error.message };
  }
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const error = result.output.reduce((most, value, i) => Math.max(most, finiteDifference(value, expected[i] ?? 0)), 0) / Math.max(largest, 1e-30);
  return error <= tolerance ? { variant, seconds: result.seconds, error } : { variant, error, rejected: `wrong by ${error.toExponential(1)} of the largest value` };
}

/** Not a number counts as infinitely wrong, which a maximum would hide. */
function finiteDifference(a: number, b: number): number {
  const difference = Math.abs(a - b);
  return Number.isFinite(difference) ? difference : Number.POSITIVE_INFINITY;
}

async function runVariant(
  graph: Graph,
  key: string,
  variant: string,
  inputs: readonly { readonly name: string; readonly data: Float32Array }[],
  device: Device,
  pipelines: PipelineCache,
): Promise<VariantRun> {
  const constants = new ConstantStore(device);
  const session = await Session.create(compile(graph, device.traits, new Map([[key, variant]])), device, pipelines, constants);
  try {
    for (const { name, data } of inputs) session.write(name, data);
    // The first run is for the driver, which may compile or page in.
    session.run();
    const output = await session.read("output");
    const times: number[] = [];
    for (let spent = 0; spent < MEASURED_SECONDS || times.length < LEAST_RUNS; ) {
      const seconds = (await session.profile()).reduce((sum, { nanoseconds }) => sum + nanoseconds, 0) / 1e9;
      times.push(seconds);
      // A clock too coarse for one run may say 0.
      spent += Math.max(seconds, MEASURED_SECONDS / 100);
    }
    const quarter = Math.floor(times.length / 4);
    const middle = times.toSorted((a, b) => a - b).slice(quarter, times.length - quarter);
    return { output, seconds: middle.reduce((a, b) => a + b, 0) / middle.length };
  } finally {
    session.dispose();
    constants.dispose();
  }
}

/** A node as a graph of its own, with inputs of the same shapes. */
function isolate(node: Node): Graph {
  const builder = new GraphBuilder();
  const known = new Map(node.inputs.map((tensor, i) => [tensor.id, builder.input(`input ${i}`, tensor.shape, tensor.elementType)]));
  builder.output(builder.add("output", node.operator, node.inputs.map((tensor) => known.get(tensor.id) ?? tensor), node.attributes));
  return builder.build();
}

/** Numbers in −1..1 by a linear congruential generator: only that they differ matters. */
function randomNumbers({ batch, height, width, channels }: Shape, seed: number): Float32Array {
  let state = seed;
  return Float32Array.from({ length: batch * height * width * channels }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
