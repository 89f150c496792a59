import { channelAttentionOfSums, channelAttentionSums, channelAttentionWeights } from "../kernels/channel-attention/channel-attention.ts";
import { globalPool } from "../kernels/global-pool/global-pool.ts";
import { groupNorm, type GroupNormAttributes } from "../kernels/group-norm/group-norm.ts";
import { groupStatistics } from "../kernels/group-statistics/group-statistics.ts";
import type { Operator } from "../kernels/kernel.ts";
import { normalise, type NormaliseAttributes } from "../kernels/normalise/normalise.ts";
import type { Shape } from "../kernels/tensor.ts";
import { gather } from "../kernels/tile/gather.ts";
import { paste } from "../kernels/tile/paste.ts";
import { pool, type PoolAttributes, pooledStatistics } from "../kernels/tile/pool.ts";
import { correctStatistics, regionStatistics } from "../kernels/tile/region-statistics.ts";
import { dropUnused, freshId } from "./editor.ts";
import { type Graph, type Node, nodeOf, storedTensor, type Tensor } from "./graph.ts";

/*
 * Some operators look at all pixels at once: group norm, channel attention, pooling. When a picture is computed in tiles, each needs numbers
 * of the whole picture, collected over all tiles before its output can be right.
 *
 * Where what feeds it is cheap or does not change from run to run, that is done exactly, one level of such operators after the other
 * (`globalLevels`): a pass over all tiles in which the levels before are known finds the next (`collectGraph` with `exact`).
 *
 * A deep network would need too many passes, so there all levels are collected in one pass, from estimates:
 *
 * 1. `estimateGraph` runs on the picture reduced to the size of a tile. What reducing does to fine texture makes its statistics wrong by
 *    themselves. But how a part of a picture differs from the whole is much the same in the reduced picture.
 * 2. `collectGraph` runs on every tile. A group norm takes its tile's own statistics, corrected by the estimated difference between tile and
 *    whole, and not an estimate of the whole's: so its output keeps the scale it is to have, however the layers before it erred, and errors do
 *    not grow with depth. Meanwhile statistics and differences are collected, which are better estimates for another such pass.
 *
 * Then `tileGraph` runs on every tile with what was collected.
 */

/** Inputs of `collectGraph` for a tile beside the network's own. */
export const TILE_INPUTS = {
  /** The part of it that it does not share with others, as `regionStatistics` takes it. */
  region: "tile region",
  /** Its number, 1 × 1 × 1 × 1. */
  part: "tile number",
  /** Its share of the picture, and 1 for the first tile, 1 × 1 × 1 × 4. */
  share: "tile share",
  /** Its number, 0, and 1 for the first tile, 1 × 1 × 1 × 4. */
  place: "tile place",
  /** The number 1, 1 × 1 × 1 × 1, and twice, 1 × 1 × 1 × 2. */
  one: "one",
  ones: "ones",
} as const;

/**
 * Rows or columns of a tensor at 1/`factor` of the picture's resolution that a tile does not share with others, filled up with −1 or with
 * copies of the last.
 */
export const innerRows = (factor: number, fill: "zeros" | "copies"): string => `inner rows 1/${factor}, then ${fill}`;
export const innerColumns = (factor: number, fill: "zeros" | "copies"): string => `inner columns 1/${factor}, then ${fill}`;

/** Input of `estimateGraph`: where the tiles lie in the picture, as `regionStatistics` takes it. */
export const TILE_REGIONS = "tile regions";

/** Names of what one graph gives the next about a tensor: what the whole picture has, and each tile. */
const whole = (name: string): string => `${name}: whole`;
const parts = (name: string): string => `${name}: parts`;

/** An output of `collectGraph` that grows from tile to tile, and the input that takes it for the next tile. */
const growing = (name: string): string => `${name} so far`;
export const grownBefore = (output: string): string | undefined => (output.endsWith(" so far") ? `${output} before` : undefined);

/** A graph that gets more inputs, nodes and outputs. */
class Changed {
  readonly nodes: Node[] = [];
  readonly #inputs: Tensor[];
  #nextId: number;

  constructor(graph: Graph) {
    this.#inputs = [...graph.inputs];
    this.#nextId = freshId(graph);
  }

  /** The input of this name, added where it is not there yet. */
  input(name: string, shape: Shape, elementType: Tensor["elementType"] = "f32"): Tensor {
    const known = this.#inputs.find((input) => input.name === name);
    if (known) return known;
    const tensor = { id: this.#nextId++, name, shape, elementType };
    this.#inputs.push(tensor);
    return tensor;
  }

  /** Adds a node that makes a new tensor, or the one given. */
  add<Attributes>(output: string | Tensor, operator: Operator<Attributes>, inputs: readonly Tensor[], attributes: Attributes): Tensor {
    const types = inputs.map(({ elementType }) => elementType);
    const shape = operator.outputShape(inputs.map((input) => input.shape), attributes);
    const elementType = operator.outputType?.(types, attributes) ?? types[0] ?? "f32";
    const tensor = typeof output === "string" ? { id: this.#nextId++, name: output, shape, elementType } : output;
    this.nodes.push({ operator: operator as Operator<unknown>, attributes, inputs, output: tensor });
    return tensor;
  }

  /** Lets a tensor that a node made come from outside, under another name. */
  become(tensor: Tensor): void {
    this.#inputs.push(tensor);
  }

  /** With these outputs, without nodes and inputs that nothing reads. All inputs but `changing` keep what was written to them. */
  finish(outputs: readonly Tensor[], changing: readonly string[]): Graph {
    const { nodes } = dropUnused({ inputs: this.#inputs, nodes: this.nodes, outputs });
    const read = new Set([...nodes.flatMap((node) => node.inputs.map((input) => storedTensor(input).id)), ...outputs.map(({ id }) => id)]);
    const inputs = this.#inputs.filter(({ id }) => read.has(id));
    return { inputs, nodes, outputs, kept: inputs.filter(({ name }) => !changing.includes(name)) };
  }
}

const row = (channels: number): Shape => ({ batch: 1, height: 1, width: 1, channels });

/** What `change` is given of a node whose output depends on all pixels. */
interface GlobalNode {
  readonly node: Node;
  readonly changed: Changed;
  /** How much smaller than the picture its input is. */
  readonly factor: number;
}

const ATTENDS: readonly unknown[] = [channelAttentionWeights, globalPool, groupStatistics];

const looksAtAll = ({ operator }: Node): boolean => ATTENDS.includes(operator) || (operator as unknown) === groupNorm;

/** Group norm's output has the pixels of its input, others' only numbers of the whole. */
const isLocal = (node: Node): boolean => !ATTENDS.includes(node.operator);

/**
 * Goes through a graph and lets `change` put something in the place of each operator that looks at all pixels of a tensor that depends on one of
 * the `pictures`, inputs of the graph.
 */
function changeGlobal(graph: Graph, pictures: readonly string[], change: (global: GlobalNode) => void): Changed {
  const changed = new Changed(graph);
  const inputs = graph.inputs.filter(({ name }) => pictures.includes(name));
  const local = new Set(inputs.map(({ id }) => id));
  const size = inputs[0]?.shape.height ?? 1;
  for (const node of graph.nodes) {
    const [input] = node.inputs;
    const ofPicture = node.inputs.some((tensor) => local.has(storedTensor(tensor).id));
    if (ofPicture && isLocal(node)) local.add(node.output.id);
    if (ofPicture && input && looksAtAll(node)) change({ node, changed, factor: size / input.shape.height });
    else changed.nodes.push(node);
  }
  return changed;
}

/**
 * The outputs of a graph's operators that look at all pixels, by name: first those that depend on no other, then those that depend on these
 * alone, and so on; last, unordered, those that depend on one of the `changing` pictures.
 */
export function globalLevels(graph: Graph, pictures: readonly string[], changing: readonly string[]): { readonly levels: readonly (readonly string[])[]; readonly rest: readonly string[] } {
  const levels: string[][] = [];
  const rest: string[] = [];
  const globals = new Set<Node>();
  changeGlobal(graph, pictures, ({ node }) => globals.add(node));
  const depths = new Map(graph.inputs.map(({ id, name }) => [id, changing.includes(name) ? Number.POSITIVE_INFINITY : 0]));
  for (const node of graph.nodes) {
    const depth = node.inputs.reduce((deepest, input) => Math.max(deepest, depths.get(storedTensor(input).id) ?? 0), 0);
    const isGlobal = globals.has(node);
    depths.set(node.output.id, depth + (isGlobal ? 1 : 0));
    if (!isGlobal) continue;
    if (depth === Number.POSITIVE_INFINITY) rest.push(node.output.name);
    else (levels[depth] ??= []).push(node.output.name);
  }
  return { levels, rest };
}

/** The reduced picture: what it says of the whole and of each of so many tiles, for the outputs called `wanted`. */
export function estimateGraph(graph: Graph, pictures: readonly string[], tiles: number, wanted: readonly string[]): Graph {
  const outputs: Tensor[] = [];
  const estimating = changeGlobal(graph, pictures, ({ node, changed }) => {
    changed.nodes.push(node);
    const { name } = node.output;
    if (!wanted.includes(name)) return;
    const norm = nodeOf(node, groupNorm) ?? nodeOf(node, groupStatistics);
    const [x] = node.inputs;
    if (!norm || !x) {
      // A tensor of its own: the node's may lie inside another.
      outputs.push(changed.add(whole(name), node.operator, node.inputs, node.attributes));
      return;
    }
    const { groups, epsilon } = norm.attributes;
    const regions = changed.input(TILE_REGIONS, { batch: 1, height: 1, width: tiles, channels: 4 });
    outputs.push(changed.add(whole(name), groupStatistics, [x], { groups, epsilon }));
    outputs.push(changed.add(parts(name), regionStatistics, [x, regions], { groups, epsilon }));
  });
  return estimating.finish(outputs, pictures);
}

/** Which tiles there are: their number, the picture's size, and the most rows and columns that one does not share with others. */
export interface TileSizes {
  readonly count: number;
  readonly picture: { readonly height: number; readonly width: number };
  readonly inner: { readonly height: number; readonly width: number };
}

/**
 * A tile, which adds its statistics to those of the tiles before. Inputs beside the network's own: what is known or estimated, by the names of
 * the outputs of `estimateGraph` and of this graph; `TILE_INPUTS`; `innerRows` and `innerColumns`; and for each output with a `grownBefore`
 * that input. The other outputs are right once all tiles have run.
 *
 * @param wanted what is collected
 * @param exact what is known; estimates of the others are corrected
 */
export function collectGraph(graph: Graph, pictures: readonly string[], { count, inner, picture }: TileSizes, wanted: readonly string[], exact: readonly string[]): Graph {
  const outputs: Tensor[] = [];
  const collecting = changeGlobal(graph, pictures, ({ node, changed, factor }) => {
    const { name } = node.output;
    const isExact = exact.includes(name);
    const norm = nodeOf(node, groupNorm);
    const statistics = norm ?? nodeOf(node, groupStatistics);
    const attention = nodeOf(node, channelAttentionWeights);
    const pooling = nodeOf(node, globalPool);
    if (isExact || !statistics) takeWhole(node, changed);
    if (isExact) return;

    const grow = (part: Tensor, attributes: PoolAttributes): Tensor => {
      const sums = growing(name);
      const before = changed.input(`${sums} before`, part.shape, part.elementType);
      const sum = changed.add(sums, pool, [before, part, changed.input(TILE_INPUTS.share, row(4))], attributes);
      if (wanted.includes(name)) outputs.push(sum);
      return sum;
    };
    const finish = (tensor: Tensor): void => {
      if (wanted.includes(name)) outputs.push(tensor);
    };
    /** The part of a tensor that the tile does not share, filled up with zeros or with copies of its last row and column. */
    const own = (i: number, input: Tensor, fill: "zeros" | "copies"): Tensor => {
      const size = (pixels: number): Shape => row(Math.max(1, Math.floor(pixels / factor)));
      const tables = [changed.input(innerRows(factor, fill), size(inner.height)), changed.input(innerColumns(factor, fill), size(inner.width))];
      return changed.add(`${name}: own ${i}`, gather, [input, ...tables], {});
    };
    const [x, ...others] = node.inputs;
    const [y] = others;
    if (statistics && x) {
      const { groups, epsilon } = statistics.attributes;
      const region = changed.input(TILE_INPUTS.region, { batch: 1, height: 1, width: 1, channels: 4 });
      const found = changed.add(`${name}: own`, regionStatistics, [x, region], { groups, epsilon });
      const each = { ...found.shape, height: count };
      const estimates = [changed.input(whole(name), found.shape), changed.input(parts(name), each), changed.input(TILE_INPUTS.part, row(1))];
      const corrected = changed.add(norm ? `${name}: corrected` : node.output, correctStatistics, [found, ...estimates], {});
      if (norm) changed.add(node.output, normalise, [x, corrected, ...others], normaliseAttributes(norm.attributes));
      finish(changed.add(pooledName(name), pooledStatistics, [grow(found, { kind: "groupStatistics", epsilon })], { epsilon }));
      const place = [changed.input(TILE_INPUTS.place, row(4)), changed.input(TILE_INPUTS.one, row(1)), changed.input(TILE_INPUTS.ones, row(2))];
      const partsSoFar = growing(parts(name));
      finish(changed.add(partsSoFar, paste, [changed.input(`${partsSoFar} before`, each), found, ...place], {}));
    } else if (attention && x && y) {
      const { attributes } = attention;
      const sums = grow(changed.add(`${name}: sums`, channelAttentionSums, [own(0, x, "zeros"), own(1, y, "zeros")], attributes), { kind: "sum", factor: 1 });
      finish(changed.add(pooledName(name), channelAttentionOfSums, [sums], { ...attributes, channels: x.shape.channels }));
    } else if (pooling?.attributes.operation === "mean" && x) {
      const mean = changed.add(`${name}: pooled`, globalPool, [own(0, x, "zeros")], pooling.attributes);
      grow(mean, { kind: "sum", factor: (inner.height * inner.width) / (picture.height * picture.width) });
    } else if (pooling && x) {
      grow(changed.add(`${name}: pooled`, globalPool, [own(0, x, "copies")], pooling.attributes), { kind: "maximum" });
    }
  });
  return collecting.finish(outputs, pictures);
}

/** What `collectGraph` calls a result that is an input of the same graph: `collectedAs` says what it becomes. */
const pooledName = (name: string): string => `${name}: collected`;

/** Which input of the next graph an output of `collectGraph` becomes once all tiles have run. */
export function collectedAs(output: string, outputs: readonly string[]): string | undefined {
  if (output.endsWith(": collected")) return `${output.slice(0, -": collected".length)}: whole`;
  const name = output.slice(0, -" so far".length);
  if (name.endsWith(": parts")) return name;
  // What needs no more than to be added up.
  return outputs.includes(pooledName(name)) ? undefined : whole(name);
}

const normaliseAttributes = ({ weight, bias, activation, residual }: GroupNormAttributes): NormaliseAttributes => ({
  weight,
  bias,
  ...(activation && { activation }),
  ...(residual && { residual }),
});

/** Lets what is known of the whole picture take the place of an operator. */
function takeWhole(node: Node, changed: Changed): void {
  const { output } = node;
  const norm = nodeOf(node, groupNorm);
  const [input, ...residual] = node.inputs;
  if (!norm || !input) {
    changed.become({ ...output, name: whole(output.name) });
    return;
  }
  const statistics = changed.input(whole(output.name), { batch: input.shape.batch, height: 1, width: 2, channels: input.shape.channels });
  changed.add(output, normalise, [input, statistics, ...residual], normaliseAttributes(norm.attributes));
}

/** A tile of the whole picture. Inputs beside the network's own: what is known of the whole, by its names. Outputs: the network's. */
export function tileGraph(graph: Graph, pictures: readonly string[]): Graph {
  return changeGlobal(graph, pictures, ({ node, changed }) => takeWhole(node, changed)).finish(graph.outputs, pictures);
}
