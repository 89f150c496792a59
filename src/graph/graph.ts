import { SinterError } from "../errors.ts";
import type { Operator } from "../kernels/kernel.ts";
import { type ElementType, formatShape, type Shape } from "../kernels/tensor.ts";

/** A symbolic value: the output of a node, an input of the graph, or a slice of another tensor's channels. */
export interface Tensor {
  readonly id: number;
  /** Unique; for tensors a model names, the module path of the published network. */
  readonly name: string;
  readonly shape: Shape;
  readonly elementType: ElementType;
  /** For a slice: the tensor whose channels it shows, from `firstChannel` on. */
  readonly slice?: { readonly of: Tensor; readonly firstChannel: number };
}

/** One operator applied to tensors. */
export interface Node {
  readonly operator: Operator<unknown>;
  readonly attributes: unknown;
  readonly inputs: readonly Tensor[];
  readonly output: Tensor;
}

/** What a network computes. Nodes stand in an order in which they can run. */
export interface Graph {
  readonly inputs: readonly Tensor[];
  readonly nodes: readonly Node[];
  readonly outputs: readonly Tensor[];
  /** Inputs that keep what was written to them from one run to the next: their memory is not used for anything else. */
  readonly kept?: readonly Tensor[];
}

/** Calls of one operator, typed; rewrites use it to look into a node. */
export function nodeOf<Attributes>(node: Node | undefined, operator: Operator<Attributes>): (Node & { readonly attributes: Attributes }) | undefined {
  return node && (node.operator as unknown) === operator ? (node as Node & { readonly attributes: Attributes }) : undefined;
}

/** Builds a graph node by node; every method returns the tensor it adds. */
export class GraphBuilder {
  readonly #inputs: Tensor[] = [];
  readonly #nodes: Node[] = [];
  readonly #outputs: Tensor[] = [];
  readonly #names = new Set<string>();
  #nextId = 0;

  #tensor(name: string, shape: Shape, elementType: ElementType, slice?: Tensor["slice"]): Tensor {
    if (this.#names.has(name)) throw new SinterError("GRAPH", `two tensors are called "${name}"`, { where: name });
    this.#names.add(name);
    return { id: this.#nextId++, name, shape, elementType, ...(slice && { slice }) };
  }

  input(name: string, shape: Shape, elementType: ElementType = "f32"): Tensor {
    const tensor = this.#tensor(name, shape, elementType);
    this.#inputs.push(tensor);
    return tensor;
  }

  /**
   * Adds a node.
   *
   * @throws SinterError `SHAPE` when the operator does not take these inputs.
   */
  add<Attributes>(name: string, operator: Operator<Attributes>, inputs: readonly Tensor[], attributes: Attributes): Tensor {
    const node = makeNode((shape, type) => this.#tensor(name, shape, type), operator, inputs, attributes);
    this.#nodes.push(node);
    return node.output;
  }

  /**
   * A slice of a tensor's channels: no work, no copy.
   *
   * @param firstChannel a multiple of four, because channels are stored in vectors of four
   * @param channels a multiple of four or all that remain, because what fills up the last vector must be zero
   */
  slice(name: string, of: Tensor, firstChannel: number, channels: number): Tensor {
    const rest = of.shape.channels - firstChannel;
    if (of.slice || firstChannel % 4 !== 0 || channels > rest || (channels % 4 !== 0 && channels !== rest)) {
      throw new SinterError("GRAPH", `cannot take channels ${firstChannel}–${firstChannel + channels} of ${of.name}, ${formatShape(of.shape)}`, { where: name });
    }
    return this.#tensor(name, { ...of.shape, channels }, of.elementType, { of, firstChannel });
  }

  output(tensor: Tensor): void {
    this.#outputs.push(tensor);
  }

  build(): Graph {
    return { inputs: this.#inputs, nodes: this.#nodes, outputs: this.#outputs };
  }
}

function makeNode<Attributes>(
  tensor: (shape: Shape, type: ElementType) => Tensor,
  operator: Operator<Attributes>,
  inputs: readonly Tensor[],
  attributes: Attributes,
): Node {
  const shape = operator.outputShape(inputs.map((input) => input.shape), attributes);
  const types = inputs.map((input) => input.elementType);
  const type = operator.outputType?.(types, attributes) ?? types[0] ?? "f32";
  return { operator: operator as Operator<unknown>, attributes, inputs, output: tensor(shape, type) };
}

/** A node like `node` with the same output tensor but another operator, inputs or attributes; the shape is checked again. */
export function replaceNode<Attributes>(node: Node, operator: Operator<Attributes>, inputs: readonly Tensor[], attributes: Attributes): Node {
  return makeNode(
    (shape) => {
      if (formatShape(shape) !== formatShape(node.output.shape)) {
        throw new SinterError("GRAPH", `rewriting ${node.output.name} changed its shape to ${formatShape(shape)}`, { where: node.output.name });
      }
      return node.output;
    },
    operator,
    inputs,
    attributes,
  );
}

/** The tensor that is stored: for a slice the tensor it shows. */
export const storedTensor = (tensor: Tensor): Tensor => tensor.slice?.of ?? tensor;

/** How often each stored tensor is read, by nodes or as an output of the graph. */
export function countUses({ nodes, outputs }: Graph): Map<number, number> {
  const uses = new Map<number, number>();
  const use = (tensor: Tensor): void => {
    const { id } = storedTensor(tensor);
    uses.set(id, (uses.get(id) ?? 0) + 1);
  };
  for (const node of nodes) node.inputs.forEach(use);
  outputs.forEach(use);
  return uses;
}

/** A graph as text, one node a line: what tests of rewrites and `--dry-run` show. */
export function formatGraph({ nodes }: Graph): string {
  return nodes
    .map(({ operator, inputs, output, attributes }) => {
      const flags = Object.entries(attributes as Record<string, unknown>)
        .filter(([key, value]) => value !== undefined && value !== false && !["weight", "bias", "stride", "padding", "dilation", "temperature"].includes(key))
        .map(([key, value]) => (typeof value === "object" && value !== null ? `${key}(${Object.values(value).filter((v) => typeof v !== "object").join(" ")})` : value === true ? key : `${key}=${String(value)}`));
      return `${output.name} ${formatShape(output.shape)} = ${operator.name}(${inputs.map(({ name }) => name).join(", ")})${flags.length > 0 ? ` ${flags.join(" ")}` : ""}`;
    })
    .join("\n");
}
