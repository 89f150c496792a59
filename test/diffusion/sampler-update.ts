import type { SamplerStep } from "../../src/diffusion/samplers.ts";

/** What one step reads. */
export interface SamplerInputs {
  sample: ArrayLike<number>;
  output: ArrayLike<number>;
  noise?: ArrayLike<number> | undefined;
  previousX0?: ArrayLike<number> | undefined;
}

/** What one step makes, in float64. */
export interface SamplerResult {
  x0: Float64Array;
  next: Float64Array;
  /** For each value, the rounding errors to expect of float32 arithmetic: four units of the terms' magnitudes. */
  x0Rounding: Float64Array;
  nextRounding: Float64Array;
}

/** The formula of `SamplerStep`, in float64. An operand whose factor is 0 is not read. */
export function samplerUpdate(step: SamplerStep, { sample, output, noise, previousX0 }: SamplerInputs): SamplerResult {
  const result: SamplerResult = {
    x0: new Float64Array(sample.length),
    next: new Float64Array(sample.length),
    x0Rounding: new Float64Array(sample.length),
    nextRounding: new Float64Array(sample.length),
  };
  const unit = 4 * 2 ** -24;
  for (let i = 0; i < sample.length; i++) {
    const product = (factor: number, operand: ArrayLike<number> | undefined): number =>
      factor === 0 ? 0 : factor * (operand?.[i] ?? NaN);
    const x0Terms = [product(step.x0FromSample, sample), product(step.x0FromOutput, output)];
    const x0 = Math.min(Math.max(sum(x0Terms), step.clip[0]), step.clip[1]);
    const terms = [
      step.nextFromX0 * x0,
      product(step.nextFromSample, sample),
      product(step.nextFromOutput, output),
      product(step.nextFromNoise, noise),
      product(step.nextFromPreviousX0, previousX0),
    ];
    const x0Rounding = unit * sum(x0Terms.map(Math.abs));
    result.x0[i] = x0;
    result.next[i] = sum(terms);
    result.x0Rounding[i] = x0Rounding;
    result.nextRounding[i] = Math.abs(step.nextFromX0) * x0Rounding + unit * sum(terms.map(Math.abs));
  }
  return result;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
