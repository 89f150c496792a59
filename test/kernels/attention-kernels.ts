import { attention, type AttentionAttributes } from "../../src/kernels/attention/attention.ts";
import type { AttentionKernel } from "../../src/kernels/attention/tiled.ts";
import { gridOf, type Operator } from "../../src/kernels/kernel.ts";
import { type ElementType, type TensorView, vectors } from "../../src/kernels/tensor.ts";
import type { DeviceTraits } from "../../src/runtime/device.ts";
import { attention as reference } from "../reference/attention.ts";
import { randomTensor, type ReferenceShape, type ReferenceTensor } from "../reference/tensor.ts";
import type { OperatorCase } from "./operators.ts";

/** The operator's own dispatches by another kernel; each dispatch of a band has the rows of the band in its uniforms. */
export const attentionBy = (choose: (valueVectors: number, type: ElementType, traits: DeviceTraits) => AttentionKernel | undefined): Operator<AttentionAttributes> => ({
  ...attention,
  dispatches(job) {
    const [, , value] = job.inputs as [TensorView, TensorView, TensorView];
    const { heads } = job.attributes;
    const chosen = choose(vectors(value.shape.channels) / heads, job.output.storage.elementType, job.traits);
    if (!chosen) throw new Error("the device cannot run this kernel");
    return attention.dispatches({ ...job, variant: "registers" }).map((dispatch) => {
      const rows = Number(dispatch.uniforms["row_count"]);
      const batches = dispatch.workgroups[2] / heads;
      const { F16 = 0, BIAS = 0 } = dispatch.defines;
      return {
        ...dispatch,
        kernel: chosen.kernel,
        defines: { ...chosen.defines, F16, BIAS },
        constants: { LANES: chosen.lanes },
        workgroups: [...gridOf(Math.ceil((rows * job.output.shape.width) / chosen.queries), job.traits), batches * heads],
      };
    });
  },
});

/** An attention to test a kernel with. */
export interface AttentionCase {
  readonly query: ReferenceShape;
  /** Height, width and value channels of the keys. */
  readonly keys: readonly [height: number, width: number, channels: number];
  readonly heads: number;
  readonly scale?: number;
  readonly biased?: boolean;
}

/** The operator with random tensors, and what the reference makes of them. */
export function prepareAttention(operator: Operator<AttentionAttributes>, { query: shape, keys: [height, width, channels], heads, scale = 0.5, biased }: AttentionCase, type: ElementType): { job: OperatorCase<AttentionAttributes>; expected: ReferenceTensor } {
  const [batch, , , queryChannels] = shape;
  const query = randomTensor(shape, 1, 1, type);
  const key = randomTensor([batch, height, width, queryChannels], 2, 1, type);
  const value = randomTensor([batch, height, width, channels], 3, 1, type);
  const bias = biased ? randomTensor([batch, height, width, 1], 4, 1, type) : undefined;
  const inputs = [query, key, value, ...(bias ? [bias] : [])];
  return { job: { operator, attributes: { heads, scale }, inputs, elementType: type }, expected: reference(query, key, value, heads, scale, bias) };
}
