import { type Graph, type Node, nodeOf } from "../src/graph/graph.ts";
import type { PlannedDispatch } from "../src/graph/plan.ts";
import type { DispatchTime, Session } from "../src/graph/session.ts";
import { applyMatrix } from "../src/kernels/apply-matrix/apply-matrix.ts";
import { channelAttentionWeights } from "../src/kernels/channel-attention/channel-attention.ts";
import { conv2d } from "../src/kernels/conv2d/conv2d.ts";
import { depthwiseConv2d } from "../src/kernels/depthwise-conv2d/depthwise-conv2d.ts";
import { elementwise } from "../src/kernels/elementwise/elementwise.ts";
import type { Peaks } from "./peaks.ts";
import { median } from "./statistics.ts";

/** All dispatches of a run that do the same work: one operator on equal shapes. */
export interface KernelGroup {
  /** Operator and channels, such as `conv2d 1×1 16→48, layer norm`. */
  readonly name: string;
  readonly kernels: readonly string[];
  /** Operators of the graph, and the dispatches they need. */
  readonly operators: number;
  readonly dispatches: number;
  readonly milliseconds: number;
  /** Of the time of all kernels. */
  readonly shareOfRun: number;
  readonly gigaflopsPerSecond: number;
  readonly gigabytesPerSecond: number;
  /** Least time that the adapter's peaks allow over the time taken. */
  readonly shareOfPeak: number;
  readonly bound: "arithmetic" | "bandwidth";
}

export interface Profile {
  readonly milliseconds: number;
  readonly profiles: number;
  readonly groups: readonly KernelGroup[];
}

/** What a node does, in words that are equal for equal work. */
export function describeNode(node: Node): string {
  const [input] = node.inputs;
  const channels = `${input?.shape.channels ?? 0}→${node.output.shape.channels}`;
  const convolution = nodeOf(node, conv2d)?.attributes;
  if (convolution) {
    const { weight, normalise, activation, residual } = convolution;
    const extras = [normalise && "layer norm", activation?.kind, residual && "residual"].filter(Boolean);
    // A matrix of one image is a tensor of height 1: tiny beside a picture.
    const matrix = input?.shape.height === 1 && node.output.shape.height === 1 ? " of a matrix" : "";
    return [`conv2d ${weight.shape[2]}×${weight.shape[3]} ${channels}${matrix}`, ...extras].join(", ");
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
  const attention = nodeOf(node, channelAttentionWeights)?.attributes;
  if (attention) return `channelAttentionWeights ${input?.shape.channels ?? 0}, ${attention.heads} heads`;
  const simple = nodeOf(node, elementwise)?.attributes;
  if (simple) return `elementwise ${simple.operation} ${node.output.shape.channels}`;
  return `${node.operator.name} ${channels}`;
}

/**
 * GPU times of a session's kernels, by operator and shape. The first profile is not counted.
 *
 * @param graph the graph that was compiled, after rewrites
 */
export async function profileKernels(session: Session, graph: Graph, peaks: Peaks, milliseconds = 15_000): Promise<Profile> {
  const started = performance.now();
  const profiles: (readonly DispatchTime[])[] = [];
  await session.profile();
  while (profiles.length < 3 || (profiles.length < 9 && performance.now() - started < milliseconds)) profiles.push(await session.profile());

  const nodes = new Map(graph.nodes.map((node) => [node.output.name, node]));
  const groups = new Map<string, { nodes: Set<string>; dispatches: PlannedDispatch[]; milliseconds: number }>();
  session.plan.dispatches.forEach((dispatch, i) => {
    const node = nodes.get(dispatch.label);
    const name = node ? describeNode(node) : dispatch.operator;
    const group = groups.get(name) ?? { nodes: new Set(), dispatches: [], milliseconds: 0 };
    group.nodes.add(dispatch.label);
    group.dispatches.push(dispatch);
    group.milliseconds += median(profiles.map((profile) => (profile[i]?.nanoseconds ?? 0) / 1e6));
    groups.set(name, group);
  });
  const total = [...groups.values()].reduce((sum, group) => sum + group.milliseconds, 0);
  const finished = [...groups].map(([name, group]): KernelGroup => {
    const operations = group.dispatches.reduce((sum, dispatch) => sum + dispatch.operations, 0);
    const bytes = group.dispatches.reduce((sum, dispatch) => sum + dispatch.bytes, 0);
    const gigaflopsPerSecond = operations / group.milliseconds / 1e6;
    const gigabytesPerSecond = bytes / group.milliseconds / 1e6;
    const arithmeticShare = gigaflopsPerSecond / peaks.f32GigaflopsPerSecond;
    const bandwidthShare = gigabytesPerSecond / peaks.copyGigabytesPerSecond;
    return {
      name,
      kernels: [...new Set(group.dispatches.map(({ kernel }) => kernel.name))],
      operators: group.nodes.size,
      dispatches: group.dispatches.length,
      milliseconds: group.milliseconds,
      shareOfRun: group.milliseconds / total,
      gigaflopsPerSecond,
      gigabytesPerSecond,
      shareOfPeak: Math.max(arithmeticShare, bandwidthShare),
      bound: arithmeticShare >= bandwidthShare ? "arithmetic" : "bandwidth",
    };
  });
  return { milliseconds: total, profiles: profiles.length, groups: finished.toSorted((a, b) => b.milliseconds - a.milliseconds) };
}
