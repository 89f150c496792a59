import { elementCount } from "../../src/checkpoints/tensor.ts";
import type { Checkpoint, StoredTensor } from "../../src/checkpoints/tensor.ts";

/** A checkpoint with tensors of the given shapes; the values count up, so that no two tensors are alike. */
export function syntheticCheckpoint(shapes: ReadonlyMap<string, readonly number[]>): Checkpoint {
  let next = 0;
  const tensors = new Map<string, StoredTensor>();
  for (const [name, shape] of shapes) {
    const values = Float32Array.from({ length: elementCount(shape) }, () => next++ / 65536);
    tensors.set(name, { elementType: "F32", shape, bytes: new Uint8Array(values.buffer) });
  }
  return { tensors, metadata: {} };
}

/** Adds the second name of every convolution, as official ReFusion checkpoints have it. */
export function withConvolutionAliases({ tensors, metadata }: Checkpoint): Checkpoint {
  const both = [...tensors].flatMap(([name, tensor]): [string, StoredTensor][] =>
    tensor.shape.length === 4 ? [[name, tensor], [name.replace(/weight$/, "conv.weight"), tensor]] : [[name, tensor]],
  );
  return { tensors: new Map(both), metadata };
}
