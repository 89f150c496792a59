import type { Operator, VariantJob } from "../kernels/kernel.ts";
import { type TensorView, wholeView } from "../kernels/tensor.ts";
import type { DeviceTraits } from "../runtime/device.ts";
import type { Node, Tensor } from "./graph.ts";

/** The variant that measured best, by `variantKey`. */
export type TunedVariants = ReadonlyMap<string, string>;

/**
 * What the speed of a node depends on: operator, channels, element type, attributes, and the number of pixels to the next power of two,
 * so that what was measured for one picture serves pictures of about its size.
 */
export function variantKey<Attributes>(operator: Operator<Attributes>, { inputs, output, attributes }: VariantJob<Attributes>): string {
  const size = ({ storage, shape: { batch, height, width, channels } }: TensorView): string =>
    `${2 ** Math.ceil(Math.log2(batch * height * width))}×${channels} ${storage.elementType}`;
  return `${operator.name} ${inputs.map(size).join(", ")} → ${size(output)} ${JSON.stringify(attributes, withoutData)}`;
}

/** What the choice of a node's variant depends on. */
export function variantJob(node: Node, traits: DeviceTraits): VariantJob<unknown> {
  const view = ({ name, shape, elementType }: Tensor): TensorView => wholeView({ name, shape, elementType });
  return { inputs: node.inputs.map(view), output: view(node.output), attributes: node.attributes, traits };
}

/** A weight is told by its shape; tables of numbers do not matter. */
function withoutData(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (ArrayBuffer.isView(value)) return undefined;
  return "data" in value && "shape" in value ? value.shape : value;
}

/** The variant for a node: the tuned one where it can do the job, else the default; empty for an operator that has one way only. */
export function chooseVariant<Attributes>(operator: Operator<Attributes>, job: VariantJob<Attributes>, tuned: TunedVariants): string {
  const [standard = "", ...others] = operator.variants?.(job) ?? [];
  if (others.length === 0 || tuned.size === 0) return standard;
  const best = tuned.get(variantKey(operator, job));
  return best !== undefined && others.includes(best) ? best : standard;
}
