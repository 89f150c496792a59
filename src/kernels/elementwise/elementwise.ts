import { type Activation, activationNumber, activationSlope } from "../activation.ts";
import { bandBinding, defineKernel, type Operator, rowBands, shapeError, viewUniform } from "../kernel.ts";
import { formatShape, type Shape, type TensorView, vectors } from "../tensor.ts";
import { packUniform, packVector, type Weight } from "../weights.ts";
import activationCode from "../common/activation.wgsl";
import code from "./elementwise.wgsl";

/**
 * A function of one input, or of two inputs element by element. The second has the first's shape, or for `add` and `multiply` may be
 * batch × 1 × 1 × channels: one number a channel.
 */
export type ElementwiseAttributes =
  | { readonly operation: "activation"; readonly activation: Activation }
  /** x where x > 0, else slope × x, with one slope for all or one a channel. */
  | { readonly operation: "prelu"; readonly slope: Weight }
  | { readonly operation: "add" | "multiply" }
  /** gelu(first) × second. */
  | { readonly operation: "gatedGelu" };

const kernel = defineKernel("elementwise", activationCode, code);

const OPERATIONS = { activation: 0, prelu: 0, add: 1, multiply: 2, gatedGelu: 3 } as const;
const isUnary = ({ operation }: ElementwiseAttributes): boolean => OPERATIONS[operation] === 0;

/** Whether the second operand is one number a channel. */
const isBroadcast = (first: Shape, second: Shape): boolean =>
  formatShape(first) !== formatShape(second) && formatShape({ ...first, height: 1, width: 1 }) === formatShape(second);

export const elementwise: Operator<ElementwiseAttributes> = {
  name: "elementwise",

  outputShape(inputs, attributes) {
    const [first, second] = inputs;
    const expected = isUnary(attributes) ? 1 : 2;
    if (!first || inputs.length !== expected) return shapeError(attributes.operation, `expected ${expected} input${expected > 1 ? "s" : ""}`, inputs);
    if (second && formatShape(first) !== formatShape(second) && !(isBroadcast(first, second) && attributes.operation !== "gatedGelu")) {
      return shapeError(attributes.operation, "expected equal shapes", inputs);
    }
    if (attributes.operation === "prelu" && ![1, first.channels].includes(attributes.slope.data.length)) {
      return shapeError("prelu", `${attributes.slope.name} has ${attributes.slope.data.length} values`, inputs);
    }
    return first;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [first, second] = inputs as [TensorView, TensorView?];
    const { batch, height, width, channels } = output.shape;
    const lanes = 64;
    const activation: Activation | undefined =
      attributes.operation === "activation" ? attributes.activation : attributes.operation === "prelu" ? { kind: "leakyRelu", slope: 0 } : undefined;
    const slope =
      attributes.operation !== "prelu"
        ? packUniform(activationSlope(activation), channels)
        : attributes.slope.data.length === 1
          ? packUniform(attributes.slope.data[0] ?? 0, channels)
          : packVector(attributes.slope, channels);
    const broadcast = second !== undefined && isBroadcast(first.shape, second.shape);
    const reads = [first, ...(second && !broadcast ? [second] : [])].map((view) => ({ view, rowsRead: (rows: number) => rows }));
    return rowBands(output, reads, batch * height * width * channels, traits).map((band) => {
      const bound = bandBinding(band, output, traits);
      const source = bandBinding(band, first, traits);
      const other = second && (broadcast ? { view: second, firstRow: 0, rowCount: batch } : bandBinding(band, second, traits));
      return {
        kernel,
        defines: { F16: output.storage.elementType === "f16" ? 1 : 0, SECOND: second ? 1 : 0 },
        constants: { OPERATION: OPERATIONS[attributes.operation], LANES: lanes, ACTIVATION: activationNumber(activation) },
        uniforms: {
          first: viewUniform(source),
          second: viewUniform(other ?? source),
          output: viewUniform(bound),
          height,
          first_batch: band.firstBatch,
          first_row: band.firstRow,
          channels,
          broadcast: broadcast ? 1 : 0,
        },
        bindings: { first: source, slope: { constant: slope }, output: bound, ...(other && { second: other }) },
        workgroups: [Math.ceil((width * vectors(channels)) / lanes), band.rowCount, band.batchCount],
        operations: band.batchCount * band.rowCount * width * channels,
      };
    });
  },
};
