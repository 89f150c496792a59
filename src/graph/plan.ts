import { SinterError } from "../errors.ts";
import { concat } from "../kernels/concat/concat.ts";
import { type Binding, type Constant, type Dispatch, kernelVariant } from "../kernels/kernel.ts";
import { elementBytes, type Storage, storageBytes, type TensorView, vectors, wholeView } from "../kernels/tensor.ts";
import type { DeviceTraits } from "../runtime/device.ts";
import type { ShaderInterface } from "../runtime/shader.ts";
import { type Graph, nodeOf, storedTensor, type Tensor } from "./graph.ts";
import { type MemoryRequest, planMemory } from "./memory-plan.ts";
import { chooseVariant, type TunedVariants } from "./variants.ts";

/** Where a binding lies: a range of one of the plan's buffers, or a constant. */
export type PlannedBinding =
  | { readonly buffer: number; readonly offset: number; readonly size: number }
  | { readonly constant: Constant };

export interface PlannedDispatch extends Dispatch {
  /** Name of the tensor it helps to make. */
  readonly label: string;
  readonly operator: string;
  /** Which of the operator's variants it belongs to; empty where there is one. */
  readonly variant: string;
  readonly code: string;
  readonly shader: ShaderInterface;
  readonly places: Readonly<Record<string, PlannedBinding>>;
  /** Bytes it reads and writes, each bound byte once. */
  readonly bytes: number;
}

/** A tensor's place in the plan's buffers. */
export interface PlannedTensor {
  readonly tensor: Tensor;
  readonly storage: Storage;
  readonly firstVector: number;
  readonly buffer: number;
  readonly offset: number;
}

/** A graph compiled for its shapes and for devices of certain traits: known in full before anything is allocated. */
export interface Plan {
  readonly dispatches: readonly PlannedDispatch[];
  readonly inputs: readonly PlannedTensor[];
  readonly outputs: readonly PlannedTensor[];
  /** Bytes of each buffer for tensors. */
  readonly buffers: readonly number[];
  readonly constants: readonly Constant[];
  readonly constantBytes: number;
  /** Bytes of GPU memory in all: tensors, constants, uniforms and what is needed to read the outputs back. */
  readonly peakBytes: number;
  /** Floating-point operations. */
  readonly operations: number;
}

/** Uniform bindings start at multiples of it. */
export const UNIFORM_STRIDE = 256;

interface Placement {
  readonly storage: Storage;
  readonly firstVector: number;
}

const own = ({ name, shape, elementType }: Tensor): Placement => ({ storage: { name, shape, elementType }, firstVector: 0 });

/**
 * Gives every stored tensor its storage. Where it can be, the inputs of a concatenation are slices of its output, so that
 * their producers write there and nothing is copied.
 */
function placeTensors(graph: Graph): { placements: Map<number, Placement>; copied: Set<number> } {
  const placements = new Map<number, Placement>();
  const copied = new Set<number>();
  const joined = new Set<number>();
  const inputs = new Set(graph.inputs.map(({ id }) => id));
  for (const tensor of graph.inputs) placements.set(tensor.id, own(tensor));
  for (const node of graph.nodes.toReversed()) {
    if (!placements.has(node.output.id)) placements.set(node.output.id, own(node.output));
    const placement = placements.get(node.output.id);
    if (!nodeOf(node, concat) || !placement) continue;
    const [first, second] = node.inputs;
    const free = node.inputs.every((input) => !input.slice && !inputs.has(input.id) && !placements.has(input.id));
    // A node must not read a part of the storage it writes, whichever concatenation put it there.
    const inStorage = [...placements].filter(([, { storage }]) => storage === placement.storage).map(([id]) => id);
    const together = new Set([...inStorage, ...node.inputs.map(({ id }) => id)]);
    const apart = graph.nodes.every(
      (other) =>
        other === node || joined.has(other.output.id) || !together.has(other.output.id) || other.inputs.every((read) => !together.has(storedTensor(read).id)),
    );
    if (!first || !second || !free || !apart || first === second || first.shape.channels % 4 !== 0) {
      copied.add(node.output.id);
      continue;
    }
    joined.add(node.output.id);
    placements.set(first.id, placement);
    placements.set(second.id, { ...placement, firstVector: placement.firstVector + first.shape.channels / 4 });
  }
  return { placements, copied };
}

/**
 * Compiles a graph: chooses kernels, places tensors in few buffers, resolves every binding.
 *
 * @param tuned variants that measured best on the device, before the defaults of its class
 * @throws SinterError `OUT_OF_MEMORY` when a tensor is larger than the device's largest buffer.
 */
export function compile(graph: Graph, traits: DeviceTraits, tuned: TunedVariants = new Map()): Plan {
  const { placements, copied } = placeTensors(graph);
  const view = (tensor: Tensor): TensorView => {
    const placement = placements.get(storedTensor(tensor).id);
    if (!placement) throw new SinterError("GRAPH", `${tensor.name} is read before it is written`, { where: tensor.name });
    return { storage: placement.storage, shape: tensor.shape, firstVector: placement.firstVector + (tensor.slice?.firstChannel ?? 0) / 4 };
  };

  const lifetimes = new Map<Storage, { first: number; last: number; apartFrom: Set<Storage> }>();
  const touch = (storage: Storage, step: number): void => {
    const life = lifetimes.get(storage);
    if (life) life.last = Math.max(life.last, step);
    else lifetimes.set(storage, { first: step, last: step, apartFrom: new Set() });
  };
  for (const tensor of graph.inputs) touch(view(tensor).storage, -1);

  const made: { dispatch: Dispatch; label: string; operator: string; variant: string }[] = [];
  graph.nodes.forEach((node, step) => {
    const inputs = node.inputs.map(view);
    const output = view(node.output);
    if (nodeOf(node, concat) && !copied.has(node.output.id)) {
      touch(output.storage, step);
      return;
    }
    const scratches: Storage[] = [];
    const scratch = (name: string, shape: Storage["shape"]): TensorView => {
      const storage: Storage = { name: `${node.output.name}: ${name}`, shape, elementType: "f32" };
      scratches.push(storage);
      return wholeView(storage);
    };
    const job = { inputs, output, attributes: node.attributes, traits };
    const variant = chooseVariant(node.operator, job, tuned);
    const dispatches = node.operator.dispatches({ ...job, variant, scratch });
    const touched = [...inputs.map(({ storage }) => storage), output.storage, ...scratches];
    for (const storage of touched) touch(storage, step);
    const written = [output.storage, ...scratches];
    for (const storage of written) {
      for (const other of touched) {
        if (other === storage) continue;
        lifetimes.get(storage)?.apartFrom.add(other);
        lifetimes.get(other)?.apartFrom.add(storage);
      }
    }
    made.push(...dispatches.map((dispatch) => ({ dispatch, label: node.output.name, operator: node.operator.name, variant })));
  });
  for (const tensor of [...graph.outputs, ...(graph.kept ?? [])]) touch(view(tensor).storage, graph.nodes.length);

  const ordered = [...lifetimes].toSorted(([, a], [, b]) => a.first - b.first);
  const requests = new Map<Storage, MemoryRequest & { apartFrom: MemoryRequest[] }>(
    ordered.map(([storage, { first, last }]) => [storage, { bytes: storageBytes(storage), first, last, apartFrom: [] }]),
  );
  for (const [storage, { apartFrom }] of ordered) {
    for (const other of apartFrom) {
      const request = requests.get(other);
      if (request) requests.get(storage)?.apartFrom.push(request);
    }
  }
  const tooLarge = ordered.find(([storage]) => storageBytes(storage) > traits.maxBufferSize);
  if (tooLarge) {
    throw new SinterError(
      "OUT_OF_MEMORY",
      `${tooLarge[0].name} needs ${storageBytes(tooLarge[0])} bytes; the device's largest buffer has ${traits.maxBufferSize}`,
      { where: tooLarge[0].name, fix: "Fuse a smaller picture, or use --precision f16." },
    );
  }
  const memory = planMemory([...requests.values()], traits.maxBufferSize);
  const places = new Map(ordered.map(([storage], i) => [storage, memory.places[i] ?? { buffer: 0, offset: 0 }]));
  const placeOf = (storage: Storage): { buffer: number; offset: number } => places.get(storage) ?? { buffer: 0, offset: 0 };

  const constants = new Map<string, Constant>();
  const resolve = (binding: Binding): PlannedBinding => {
    if ("constant" in binding) {
      const known = constants.get(binding.constant.key);
      if (!known) constants.set(binding.constant.key, binding.constant);
      return { constant: known ?? binding.constant };
    }
    const { storage } = binding.view;
    const { buffer, offset } = placeOf(storage);
    const rowSize = storage.shape.width * vectors(storage.shape.channels) * 4 * elementBytes(storage.elementType);
    return { buffer, offset: offset + binding.firstRow * rowSize, size: binding.rowCount * rowSize };
  };
  const dispatches = made.map(({ dispatch, label, operator, variant }): PlannedDispatch => {
    const { code, shader } = kernelVariant(dispatch.kernel, dispatch.defines);
    return {
      ...dispatch,
      label,
      operator,
      variant,
      code,
      shader,
      places: Object.fromEntries(Object.entries(dispatch.bindings).map(([name, binding]) => [name, resolve(binding)])),
      bytes: Object.values(dispatch.bindings).reduce((sum, binding) => sum + bindingBytes(binding), 0),
    };
  });

  const planned = (tensor: Tensor): PlannedTensor => {
    const { storage, firstVector } = view(tensor);
    return { tensor, storage, firstVector, ...placeOf(storage) };
  };
  const constantBytes = [...constants.values()].reduce((sum, { length, elementType }) => sum + length * 4 * elementBytes(elementType), 0);
  const outputs = graph.outputs.map(planned);
  const readBackBytes = outputs.reduce((sum, { storage }) => sum + storageBytes(storage), 0);
  return {
    dispatches,
    inputs: graph.inputs.map(planned),
    outputs,
    buffers: memory.buffers,
    constants: [...constants.values()],
    constantBytes,
    peakBytes: memory.buffers.reduce((a, b) => a + b, 0) + constantBytes + dispatches.length * UNIFORM_STRIDE + readBackBytes,
    operations: dispatches.reduce((sum, { operations }) => sum + operations, 0),
  };
}

/** Bytes that a binding moves: of a slice only its channels. */
function bindingBytes(binding: Binding): number {
  if ("constant" in binding) return 0;
  const { storage, shape } = binding.view;
  return binding.rowCount * storage.shape.width * vectors(shape.channels) * 4 * elementBytes(storage.elementType);
}
