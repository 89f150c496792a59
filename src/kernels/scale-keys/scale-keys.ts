import { SinterError } from "../../errors.ts";
import { bandBinding, defineKernel, type Dispatch, type Operator, rowBands, shapeError, viewUniform, wholeBinding } from "../kernel.ts";
import { formatShape, type TensorView } from "../tensor.ts";
import code from "./scale-keys.wgsl";

const kernel = defineKernel("scale-keys", code);

/**
 * Does to the keys of an attention what group norm would do to its queries: with u and b of a key, and the queries' mean m and 1/deviation
 * r by channel, ((x − m) ⊙ r) · u + b = x · (r ⊙ u) + b − m · (r ⊙ u). Inputs: keys, whose last channel is b, the others u, a multiple of
 * four; statistics as `groupStatistics` gives them, for as many channels as u has. The output has the keys' shape: r ⊙ u, and the new b.
 */
export const scaleKeys: Operator<Record<never, never>> = {
  name: "scaleKeys",

  outputShape(inputs) {
    const [keys, statistics] = inputs;
    if (!keys || !statistics || inputs.length !== 2) return shapeError("scaleKeys", "expected keys and statistics", inputs);
    const channels = keys.channels - 1;
    if (channels % 4 !== 0 || channels === 0) return shapeError("scaleKeys", "expected a multiple of four channels and one more", inputs);
    const expected = { batch: keys.batch, height: 1, width: 2, channels };
    if (formatShape(statistics) !== formatShape(expected)) return shapeError("scaleKeys", `expected statistics of ${formatShape(expected)}`, inputs);
    return keys;
  },

  outputType([keys = "f32", statistics]) {
    if (statistics !== "f32") throw new SinterError("SHAPE", `scaleKeys: the statistics must be f32, not ${statistics}`, { where: "scaleKeys" });
    return keys;
  },

  dispatches({ inputs, output, traits }) {
    const [keys, statistics] = inputs as [TensorView, TensorView];
    const { batch, height, width, channels } = output.shape;
    const operationsPerKey = 3 * (channels - 1);
    return rowBands(output, [{ view: keys, rowsRead: (rows) => rows }], batch * height * width * operationsPerKey, traits).map((band): Dispatch => {
      const bound = bandBinding(band, output, traits);
      const source = bandBinding(band, keys, traits);
      return {
        kernel,
        defines: { F16: output.storage.elementType === "f16" ? 1 : 0 },
        constants: { LANES: 32 },
        uniforms: {
          input: viewUniform(source),
          output: viewUniform(bound),
          height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
          key_vectors: (channels - 1) / 4,
        },
        bindings: { input: source, statistics: wholeBinding(statistics), output: bound },
        workgroups: [width, band.rowCount, band.batchCount],
        operations: band.batchCount * band.rowCount * width * operationsPerKey,
      };
    });
  },
};
