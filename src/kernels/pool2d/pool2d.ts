import { defineKernel, type Operator, perPixelDispatches, shapeError } from "../kernel.ts";
import type { TensorView } from "../tensor.ts";
import code from "./pool2d.wgsl";

/**
 * Mean or maximum of a square window, as `torch.nn.AvgPool2d` and `torch.nn.MaxPool2d` by default: padding counts as zeros in the mean
 * and its divisor, and never is the maximum; a window that does not fit at the bottom or on the right is left out.
 */
export interface Pool2dAttributes {
  readonly operation: "mean" | "maximum";
  readonly kernelSize: number;
  readonly stride: number;
  /** At most half of the kernel size. */
  readonly padding: number;
}

const kernel = defineKernel("pool2d", code);

export const pool2d: Operator<Pool2dAttributes> = {
  name: "pool2d",

  outputShape(inputs, { kernelSize, stride, padding }) {
    const [input] = inputs;
    if (!input || inputs.length !== 1) return shapeError("pool2d", "expected one input", inputs);
    if (2 * padding > kernelSize) return shapeError("pool2d", `padding ${padding} is more than half of the kernel size ${kernelSize}`, inputs);
    const size = (length: number): number => Math.floor((length + 2 * padding - kernelSize) / stride) + 1;
    const output = { ...input, height: size(input.height), width: size(input.width) };
    if (output.height < 1 || output.width < 1) return shapeError("pool2d", `the ${kernelSize}×${kernelSize} window does not fit`, inputs);
    return output;
  },

  dispatches({ inputs, output, attributes, traits }) {
    const [input] = inputs as [TensorView];
    const { operation, kernelSize, stride, padding } = attributes;
    const { channels } = output.shape;
    return perPixelDispatches({
      kernel,
      constants: { MAXIMUM: operation === "maximum" ? 1 : 0 },
      inputs: { input: { view: input, rowsRead: (rows) => (rows - 1) * stride + kernelSize, firstRowRead: (row) => row * stride - padding } },
      output,
      uniforms: { input_height: input.shape.height, channels, kernel_size: kernelSize, stride, padding },
      operationsPerPixel: kernelSize ** 2 * channels,
      traits,
    });
  },
};
