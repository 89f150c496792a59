import { type Graph, type Node, nodeOf } from "../src/graph/graph.ts";
import type { Plan, PlannedDispatch } from "../src/graph/plan.ts";
import { applyMatrix } from "../src/kernels/apply-matrix/apply-matrix.ts";
import { attention } from "../src/kernels/attention/attention.ts";
import { channelAttentionWeights } from "../src/kernels/channel-attention/channel-attention.ts";
import { conv2d } from "../src/kernels/conv2d/conv2d.ts";
import { depthwiseConv2d } from "../src/kernels/depthwise-conv2d/depthwise-conv2d.ts";
import { elementwise } from "../src/kernels/elementwise/elementwise.ts";
import { groupNorm } from "../src/kernels/group-norm/group-norm.ts";
import { elementBytes, type Shape } from "../src/kernels/tensor.ts";
import { dispatchKey, type DispatchTimer } from "./dispatch-timer.ts";
import type { Peaks } from "./peaks.ts";

/** Time taken, and what the adapter's peaks allow at least. */
export interface Work {
  readonly milliseconds: number;
  /** Floating-point operations that the operators need. */
  readonly operations: number;
  /** Bytes read and written, each bound byte once, weights included. */
  readonly bytes: number;
  readonly leastMilliseconds: number;
}

/** All nodes of a graph that do the same work: one operator on equal shapes. */
export interface KernelGroup extends Work {
  /** Operator, channels and scale, such as `conv2d 1×1 16→48, layer norm`. */
  readonly name: string;
  readonly kernels: readonly string[];
  /** Nodes of the graph, and the dispatches they need. */
  readonly nodes: number;
  readonly dispatches: number;
  /** Of the time of all kernels. */
  readonly shareOfRun: number;
  readonly gigaflopsPerSecond: number;
  readonly gigabytesPerSecond: number;
  /** Operations a byte. */
  readonly intensity: number;
  /** `leastMilliseconds` over `milliseconds`. */
  readonly shareOfPeak: number;
  readonly bound: "arithmetic" | "bandwidth";
}

/** One node of the graph. */
export interface Layer extends Work {
  /** The tensor it makes. */
  readonly name: string;
  /** Name of its group. */
  readonly group: string;
}

/** All kernels of a plan. */
export interface Profile {
  /** Of the part of a workload: `fusion`, `once` or `step`. */
  readonly part: string;
  readonly milliseconds: number;
  readonly groups: readonly KernelGroup[];
  /** In the order in which they run. */
  readonly layers: readonly Layer[];
  /** Dispatches that were not measured because the time was up. */
  readonly notMeasured: number;
}

/**
 * What a node does, in words that are equal for equal work.
 *
 * @param full the largest height and width in the graph
 */
export function describeNode(node: Node, full: Pick<Shape, "height" | "width">): string {
  return `${describeOperator(node)}${describeScale(node.output.shape, full)}`;
}

export function fullSize({ inputs, nodes }: Graph): Pick<Shape, "height" | "width"> {
  const shapes = [...inputs, ...nodes.map(({ output }) => output)].map(({ shape }) => shape);
  return shapes.reduce((most, shape) => (shape.height * shape.width > most.height * most.width ? shape : most), { height: 1, width: 1 });
}

function describeScale({ height, width }: Shape, full: Pick<Shape, "height" | "width">): string {
  if (height === 1 && width === 1) return " of one pixel";
  // A matrix of one image is a tensor of height 1: tiny beside a picture.
  if (height === 1 && full.height > 1) return " of a matrix";
  const scale = Math.round(full.height / height);
  return scale > 1 ? ` at 1/${scale}` : "";
}

function describeOperator(node: Node): string {
  const [input] = node.inputs;
  const channels = `${input?.shape.channels ?? 0}→${node.output.shape.channels}`;
  const convolution = nodeOf(node, conv2d)?.attributes;
  if (convolution) {
    const { weight, normalise, activation, residual, stride } = convolution;
    const extras = [stride > 1 && `stride ${stride}`, normalise && "layer norm", activation?.kind, residual && "residual"].filter(Boolean);
    return [`conv2d ${weight.shape[2]}×${weight.shape[3]} ${channels}`, ...extras].join(", ");
  }
  const depthwise = nodeOf(node, depthwiseConv2d)?.attributes;
  if (depthwise) {
    const { weight, gated, activation } = depthwise;
    const size = `${weight.shape[2]}×${weight.shape[3]}`;
    const count = input?.shape.channels ?? 0;
    return [`depthwiseConv2d ${size} ${gated ? `2·${count}→${count}, gated GELU` : count}`, ...(activation ? [activation.kind] : [])].join(", ");
  }
  const applied = nodeOf(node, applyMatrix)?.attributes;
  if (applied) return [`applyMatrix ${channels}`, ...(applied.residual ? ["residual"] : [])].join(", ");
  const channelAttention = nodeOf(node, channelAttentionWeights)?.attributes;
  if (channelAttention) return `channelAttentionWeights ${input?.shape.channels ?? 0}, ${channelAttention.heads} heads`;
  const attended = nodeOf(node, attention)?.attributes;
  if (attended) {
    const keys = node.inputs[1]?.shape;
    return `attention ${channels}, ${attended.heads} ${attended.heads === 1 ? "head" : "heads"}, ${keys ? keys.height * keys.width : 0} keys`;
  }
  const norm = nodeOf(node, groupNorm)?.attributes;
  if (norm) return [`groupNorm ${node.output.shape.channels}`, ...(norm.activation ? [norm.activation.kind] : [])].join(", ");
  const simple = nodeOf(node, elementwise)?.attributes;
  if (simple) return `elementwise ${simple.operation} ${node.output.shape.channels}`;
  return `${node.operator.name} ${channels}`;
}

/** Bytes of all bindings, weights included. */
export function movedBytes(dispatch: PlannedDispatch): number {
  const constants = Object.values(dispatch.bindings).map((binding) => ("constant" in binding ? binding.constant.length * 4 * elementBytes(binding.constant.elementType) : 0));
  return constants.reduce((sum, bytes) => sum + bytes, dispatch.bytes);
}

/** Peak of the arithmetic units that a kernel uses, in GFLOP/s. Sums are in f32 everywhere, so f16 storage has no peak of its own. */
function arithmeticPeak({ code }: PlannedDispatch, { f32GigaflopsPerSecond, matrix }: Peaks): number {
  if (!code.includes("subgroupMatrixMultiplyAccumulate")) return f32GigaflopsPerSecond;
  return Math.max(f32GigaflopsPerSecond, ...matrix.map(({ gigaflopsPerSecond }) => gigaflopsPerSecond));
}

const NOTHING: Work = { milliseconds: 0, operations: 0, bytes: 0, leastMilliseconds: 0 };

const sum = (a: Work, b: Work): Work => ({
  milliseconds: a.milliseconds + b.milliseconds,
  operations: a.operations + b.operations,
  bytes: a.bytes + b.bytes,
  leastMilliseconds: a.leastMilliseconds + b.leastMilliseconds,
});

/** Least time that the peaks allow, in milliseconds. */
const leastTime = (dispatch: PlannedDispatch, peaks: Peaks): number =>
  Math.max(dispatch.operations / arithmeticPeak(dispatch, peaks), movedBytes(dispatch) / peaks.copyGigabytesPerSecond) / 1e6;

/** Milliseconds by `dispatchKey`; what weighs most in a run comes first, in case the time does not suffice for all. */
async function measureDistinct(dispatches: readonly PlannedDispatch[], timer: DispatchTimer, peaks: Peaks, until: number): Promise<Map<string, number>> {
  const distinct = new Map<string, { dispatch: PlannedDispatch; least: number }>();
  for (const dispatch of dispatches) {
    const key = dispatchKey(dispatch);
    distinct.set(key, { dispatch, least: (distinct.get(key)?.least ?? 0) + leastTime(dispatch, peaks) });
  }
  const measured = new Map<string, number>();
  for (const [key, { dispatch }] of [...distinct].toSorted(([, a], [, b]) => b.least - a.least)) {
    if (performance.now() > until) break;
    measured.set(key, (await timer.measure(dispatch)).milliseconds);
  }
  return measured;
}

/**
 * Times every distinct dispatch of a plan and adds them up by node and by group.
 *
 * @param graph what was compiled, after rewrites
 * @param until time by the clock after which nothing more is measured
 */
export async function profileKernels(part: string, graph: Graph, plan: Plan, timer: DispatchTimer, peaks: Peaks, until: number): Promise<Profile> {
  const full = fullSize(graph);
  const names = new Map(graph.nodes.map((node) => [node.output.name, describeNode(node, full)]));
  const measured = await measureDistinct(plan.dispatches, timer, peaks, until);
  const groups = new Map<string, { nodes: Set<string>; kernels: Set<string>; dispatches: number; arithmeticMilliseconds: number; work: Work }>();
  const layers = new Map<string, { group: string; work: Work }>();
  let notMeasured = 0;
  for (const dispatch of plan.dispatches) {
    const milliseconds = measured.get(dispatchKey(dispatch));
    if (milliseconds === undefined) {
      notMeasured += 1;
      continue;
    }
    const name = names.get(dispatch.label) ?? dispatch.operator;
    const bytes = movedBytes(dispatch);
    const arithmeticMilliseconds = dispatch.operations / arithmeticPeak(dispatch, peaks) / 1e6;
    const leastMilliseconds = leastTime(dispatch, peaks);
    const work: Work = { milliseconds, operations: dispatch.operations, bytes, leastMilliseconds };
    const group = groups.get(name) ?? { nodes: new Set(), kernels: new Set(), dispatches: 0, arithmeticMilliseconds: 0, work: NOTHING };
    group.nodes.add(dispatch.label);
    group.kernels.add(dispatch.kernel.name);
    group.dispatches += 1;
    group.arithmeticMilliseconds += arithmeticMilliseconds;
    group.work = sum(group.work, work);
    groups.set(name, group);
    layers.set(dispatch.label, { group: name, work: sum(layers.get(dispatch.label)?.work ?? NOTHING, work) });
  }
  const total = [...groups.values()].reduce((milliseconds, { work }) => milliseconds + work.milliseconds, 0);
  const finished = [...groups].map(
    ([name, { nodes, kernels, dispatches, arithmeticMilliseconds, work }]): KernelGroup => ({
      name,
      kernels: [...kernels],
      nodes: nodes.size,
      dispatches,
      ...work,
      shareOfRun: work.milliseconds / total,
      gigaflopsPerSecond: work.operations / work.milliseconds / 1e6,
      gigabytesPerSecond: work.bytes / work.milliseconds / 1e6,
      intensity: work.operations / work.bytes,
      shareOfPeak: work.leastMilliseconds / work.milliseconds,
      bound: arithmeticMilliseconds * peaks.copyGigabytesPerSecond * 1e6 >= work.bytes ? "arithmetic" : "bandwidth",
    }),
  );
  return {
    part,
    milliseconds: total,
    groups: finished.toSorted((a, b) => b.milliseconds - a.milliseconds),
    layers: [...layers].map(([name, { group, work }]) => ({ name, group, ...work })),
    notMeasured,
  };
}
