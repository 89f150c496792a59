import { expect } from "vitest";
import { GraphBuilder, type Graph, type Tensor } from "../../src/graph/graph.ts";
import { compile, type Plan } from "../../src/graph/plan.ts";
import { variantJob, variantKey } from "../../src/graph/variants.ts";
import { elementBytes, type ElementType, type Shape, vectors } from "../../src/kernels/tensor.ts";
import type { Operator } from "../../src/kernels/kernel.ts";
import type { Weight } from "../../src/kernels/weights.ts";
import type { DeviceTraits } from "../../src/runtime/device.ts";
import { elementCount, randomValues, type ReferenceShape, type ReferenceTensor, type ReferenceWeight, relativeError } from "../reference/tensor.ts";
import { runPlan, type TestGpu } from "../gpu.ts";

/** Bound on the error of an operator: largest |a − b| over largest |b|, b in float64 from the same stored numbers. */
export const TOLERANCE = { f32: 1e-5, f16: 2e-3 } as const;

/** What an operator is run with. */
export interface OperatorCase<Attributes> {
  readonly operator: Operator<Attributes>;
  readonly attributes: Attributes;
  readonly inputs: readonly ReferenceTensor[];
  /** Element type of each input; one stands for all. */
  readonly elementType?: ElementType | readonly ElementType[];
}

const shapeOf = ([batch, height, width, channels]: ReferenceShape): Shape => ({ batch, height, width, channels });

/** A graph of one operator, whose output is read twice: as `out`, and with the channels of its padding as `padded`. */
export function operatorGraph<Attributes>({ operator, attributes, inputs, elementType = "f32" }: OperatorCase<Attributes>): Graph {
  const builder = new GraphBuilder();
  const tensors = inputs.map(({ shape }, i) => {
    const type = typeof elementType === "string" ? elementType : elementType[i];
    return builder.input(`input${i}`, shapeOf(shape), type);
  });
  const out = builder.add("out", operator, tensors, attributes);
  const padded: Tensor = { ...out, name: "padded", shape: { ...out.shape, channels: vectors(out.shape.channels) * 4 } };
  const graph = builder.build();
  return { ...graph, outputs: [out, padded] };
}

/** The values an operator makes. Fails if a channel of the padding is not zero. */
export async function runOperator<Attributes>(gpu: TestGpu, job: OperatorCase<Attributes>, traits?: DeviceTraits): Promise<Float32Array> {
  return runOperatorPlan(gpu, compile(operatorGraph(job), traits ?? gpu.device.traits), job.inputs);
}

async function runOperatorPlan(gpu: TestGpu, plan: Plan, inputs: readonly ReferenceTensor[]): Promise<Float32Array> {
  const data = Object.fromEntries(inputs.map((input, i) => [`input${i}`, Float32Array.from(input.data)]));
  const { out, padded } = await runPlan(gpu, plan, data);
  if (!out || !padded) throw new Error("the plan has no output");
  const channels = plan.outputs[0]?.tensor.shape.channels ?? 0;
  const stride = vectors(channels) * 4;
  expect(padded.filter((value, i) => i % stride >= channels && value !== 0)).toHaveLength(0);
  return out;
}

/** Runs an operator and compares it with what the reference makes of the same numbers. */
export async function expectOperator<Attributes>(
  gpu: TestGpu,
  job: OperatorCase<Attributes>,
  expected: ReferenceTensor,
  options: { readonly traits?: DeviceTraits; readonly tolerance?: number } = {},
): Promise<void> {
  const actual = await runOperator(gpu, job, options.traits);
  const types = typeof job.elementType === "object" ? job.elementType : [job.elementType ?? "f32"];
  expect(relativeError(actual, expected.data)).toBeLessThanOrEqual(options.tolerance ?? TOLERANCE[types.includes("f16") ? "f16" : "f32"]);
}

/** Compares every variant that the operator has for a job, with the device's limits or portable ones, with the reference; gives their names. */
export async function expectEveryVariant<Attributes>(
  gpu: TestGpu,
  job: OperatorCase<Attributes>,
  expected: ReferenceTensor,
  traits: DeviceTraits = gpu.device.traits,
): Promise<readonly string[]> {
  const graph = operatorGraph(job);
  const [node] = graph.nodes;
  if (!node) throw new Error("the graph is empty");
  const variants = node.operator.variants?.(variantJob(node, traits)) ?? [];
  const key = variantKey(node.operator, variantJob(node, traits));
  for (const variant of variants) {
    const plan = compile(graph, traits, new Map([[key, variant]]));
    expect(plan.dispatches.map((dispatch) => dispatch.variant)).toContain(variant);
    const error = relativeError(await runOperatorPlan(gpu, plan, job.inputs), expected.data);
    expect.soft(error, variant).toBeLessThanOrEqual(TOLERANCE[job.elementType === "f16" ? "f16" : "f32"]);
  }
  return variants;
}

/**
 * Runs an operator whole and again with so small a limit on bindings that it must work in bands, and expects the same bits.
 *
 * @param limit bytes; smaller than the largest tensor
 */
export async function expectBandsEqualWhole<Attributes>(
  gpu: TestGpu,
  job: OperatorCase<Attributes>,
  limit: number,
  traits: DeviceTraits = gpu.device.traits,
): Promise<void> {
  const graph = operatorGraph(job);
  const whole = compile(graph, traits);
  const banded = compile(graph, { ...traits, maxStorageBufferBindingSize: limit });
  expect(banded.dispatches.length).toBeGreaterThan(whole.dispatches.length);
  for (const { places } of banded.dispatches) {
    for (const place of Object.values(places)) if ("size" in place) expect(place.size).toBeLessThanOrEqual(limit);
  }
  const expected = await runOperatorPlan(gpu, whole, job.inputs);
  const actual = await runOperatorPlan(gpu, banded, job.inputs);
  expect(bits(actual)).toEqual(bits(expected));
}

const bits = ({ buffer, byteOffset, length }: Float32Array): Uint32Array => new Uint32Array(buffer, byteOffset, length);

/** Bytes of a tensor as it is stored. */
export const storedBytes = ([batch, height, width, channels]: ReferenceShape, type: ElementType = "f32"): number =>
  batch * height * width * vectors(channels) * 4 * elementBytes(type);

/** Random weights, exact in `precision`, for the operator and for the reference. */
export function randomWeight<Sizes extends readonly number[]>(
  name: string,
  shape: Sizes,
  seed: number,
  precision: ElementType = "f32",
  scale = 1,
): Weight & ReferenceWeight<Sizes> {
  return { name, shape, data: Float32Array.from(randomValues(elementCount(shape), seed, scale, precision)) };
}
