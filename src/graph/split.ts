import { type Graph, storedTensor, type Tensor } from "./graph.ts";

/** A graph in two: what can be computed before, and what is left. */
export interface SplitGraph {
  /** Its outputs are those of the whole graph that it makes, and everything that `step` reads of it. */
  readonly once: Graph;
  /** Its inputs are the changing ones, and the tensors it reads of `once`, by their names; those are kept from run to run. */
  readonly step: Graph;
  /** Names of the tensors that `step` reads of `once`. */
  readonly shared: readonly string[];
}

/**
 * Splits a graph whose inputs do not all change from run to run: work that depends on none of the changing inputs is done once.
 *
 * @param changing names of the inputs that change
 */
export function splitGraph(graph: Graph, changing: readonly string[]): SplitGraph {
  const inputs = graph.inputs.filter(({ name }) => changing.includes(name));
  const changes = new Set(inputs.map(({ id }) => id));
  const isStep = (tensor: Tensor): boolean => changes.has(storedTensor(tensor).id);
  for (const node of graph.nodes) if (node.inputs.some(isStep)) changes.add(node.output.id);
  const stepNodes = graph.nodes.filter(({ output }) => isStep(output));
  const shared = [...new Set(stepNodes.flatMap((node) => node.inputs).map(storedTensor))].filter((tensor) => !isStep(tensor));
  const onceOutputs = graph.outputs.filter((tensor) => !isStep(tensor) && !shared.includes(tensor));
  return {
    once: { inputs: graph.inputs.filter((tensor) => !isStep(tensor)), nodes: graph.nodes.filter(({ output }) => !isStep(output)), outputs: [...onceOutputs, ...shared] },
    step: { inputs: [...inputs, ...shared], nodes: stepNodes, outputs: graph.outputs.filter(isStep), kept: shared },
    shared: shared.map(({ name }) => name),
  };
}
