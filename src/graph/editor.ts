import { SinterError } from "../errors.ts";
import type { Operator } from "../kernels/kernel.ts";
import { countUses, type Graph, type Node, nodeOf, replaceNode, storedTensor, type Tensor } from "./graph.ts";

/** The node that makes each tensor, by the tensor's id. */
export const producers = (graph: Graph): Map<number, Node> => new Map(graph.nodes.map((node) => [node.output.id, node]));

/** Removes nodes that nothing reads any more. */
export function dropUnused(graph: Graph): Graph {
  let current = graph;
  for (;;) {
    const uses = countUses(current);
    const nodes = current.nodes.filter(({ output }) => uses.has(output.id));
    if (nodes.length === current.nodes.length) return current;
    current = { ...current, nodes };
  }
}

/** An id that no tensor of the graph has. */
export function freshId({ inputs, nodes }: Graph): number {
  return 1 + Math.max(0, ...[...inputs, ...nodes.flatMap((node) => [...node.inputs, node.output])].map(({ id }) => id));
}

/** Changes a graph: looks nodes up as they were, replaces some, adds others, and puts all in an order in which they can run. */
export class GraphEditor {
  readonly #graph: Graph;
  readonly #before: ReadonlyMap<number, Node>;
  readonly #after: Map<number, Node>;
  readonly #uses: ReadonlyMap<number, number>;
  /** By name, so that what several nodes need is added once. */
  readonly #tensors: Map<string, Tensor>;
  #nextId: number;

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#before = producers(graph);
    this.#after = producers(graph);
    this.#uses = countUses(graph);
    this.#tensors = new Map(graph.nodes.map(({ output }) => [output.name, output]));
    this.#nextId = freshId(graph);
  }

  /** The node that made a tensor in the graph as it was, if that is a whole tensor and the node's operator this one. */
  producer<Attributes>(tensor: Tensor | undefined, operator: Operator<Attributes>): (Node & { readonly attributes: Attributes }) | undefined {
    return tensor && nodeOf(this.#before.get(tensor.id), operator);
  }

  /** How often a tensor was read in the graph as it was. */
  uses(tensor: Tensor): number {
    return this.#uses.get(storedTensor(tensor).id) ?? 0;
  }

  /** Adds a node, or gives the tensor of this name that is there already: equal names must stand for equal nodes. */
  add<Attributes>(name: string, operator: Operator<Attributes>, inputs: readonly Tensor[], attributes: Attributes): Tensor {
    const known = this.#tensors.get(name);
    if (known) return known;
    const types = inputs.map(({ elementType }) => elementType);
    const shape = operator.outputShape(inputs.map((input) => input.shape), attributes);
    const output: Tensor = { id: this.#nextId++, name, shape, elementType: operator.outputType?.(types, attributes) ?? types[0] ?? "f32" };
    this.#after.set(output.id, { operator: operator as Operator<unknown>, attributes, inputs, output });
    this.#tensors.set(name, output);
    return output;
  }

  /** A slice of a tensor's channels, as `GraphBuilder.slice` makes it. */
  slice(of: Tensor, firstChannel: number, channels: number): Tensor {
    if (of.slice || firstChannel % 4 !== 0 || firstChannel + channels > of.shape.channels) {
      throw new SinterError("GRAPH", `cannot take channels ${firstChannel}–${firstChannel + channels} of ${of.name}`, { where: of.name });
    }
    const name = `${of.name}[${firstChannel}:${firstChannel + channels}]`;
    const known = this.#tensors.get(name);
    if (known) return known;
    const slice: Tensor = { id: this.#nextId++, name, shape: { ...of.shape, channels }, elementType: of.elementType, slice: { of, firstChannel } };
    this.#tensors.set(name, slice);
    return slice;
  }

  /** Makes a tensor of the graph in another way. */
  replace<Attributes>(tensor: Tensor, operator: Operator<Attributes>, inputs: readonly Tensor[], attributes: Attributes): void {
    const node = this.#before.get(tensor.id);
    if (!node) throw new SinterError("GRAPH", `no node makes ${tensor.name}`, { where: tensor.name });
    this.#after.set(tensor.id, replaceNode(node, operator, inputs, attributes));
  }

  /** The changed graph without what nothing reads; an added node stands before the first that needs it. */
  finish(): Graph {
    const nodes: Node[] = [];
    const placed = new Set<number>();
    const place = ({ id }: Tensor): void => {
      const node = this.#after.get(id);
      if (!node || placed.has(id)) return;
      placed.add(id);
      for (const input of node.inputs) place(storedTensor(input));
      nodes.push(node);
    };
    for (const { output } of this.#graph.nodes) place(output);
    return dropUnused({ ...this.#graph, nodes });
  }
}
