import type { PlannedDispatch } from "../src/graph/plan.ts";
import type { ConstantStore } from "../src/graph/session.ts";
import { float32BitsToFloat16 } from "../src/float16.ts";
import type { ElementType } from "../src/kernels/tensor.ts";
import type { Device } from "../src/runtime/device.ts";
import { type PipelineCache, pipelineKey } from "../src/runtime/pipelines.ts";
import { writeUniforms } from "../src/runtime/shader.ts";
import { median, scatteredValues } from "./statistics.ts";

/** How long one dispatch takes by itself. */
export interface DispatchMeasurement {
  /** Median of the samples. */
  readonly milliseconds: number;
  readonly samples: number;
  /** Dispatches of one sample. */
  readonly repeats: number;
}

/** A sample spans at least this, so that neither a coarse clock nor the start of a pass matters. */
const SPAN_MILLISECONDS = 20;
const MOST_SAMPLES = 15;
const LEAST_SAMPLES = 3;
const ENOUGH_MILLISECONDS = 200;
/** Inputs that are read in turn are together larger than any GPU's cache. */
const ROTATED_BYTES = 128 << 20;
const MOST_SETS = 64;
const RANDOM_BYTES = 16 << 20;

/** About how long `measure` takes for a dispatch that takes `milliseconds`, with inputs to be copied at so many GB/s. */
export function measuringMilliseconds(milliseconds: number, copyGigabytesPerSecond: number): number {
  const copies = (2 * ROTATED_BYTES) / copyGigabytesPerSecond / 1e6;
  return copies + Math.max((2 + LEAST_SAMPLES) * milliseconds, ENOUGH_MILLISECONDS + 2 * SPAN_MILLISECONDS);
}

/** Dispatches that do the same work have the same key. */
export function dispatchKey(dispatch: PlannedDispatch): string {
  const { code, constants, workgroups, uniforms, kernel, shader } = dispatch;
  const sizes = Object.entries(dispatch.places).map(([name, place]) => [name, "constant" in place ? place.constant.length : place.size]);
  return `${pipelineKey({ label: kernel.name, code, shader, constants })} ${JSON.stringify([workgroups, sizes, withoutPlaces(uniforms)])}`;
}

/** Where in a larger tensor a band or a slice lies does not change its work. */
function withoutPlaces(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const places = new Set(["first_row", "first_vector", "first_batch", "first_chunk"]);
  return Object.entries(value).flatMap(([key, inner]) => (places.has(key) ? [] : [[key, withoutPlaces(inner)]]));
}

/**
 * Times single dispatches of plans: each by itself many times in one compute pass, on random data. Inputs are read in turn from so many
 * copies that no cache holds them; the output is the same each time, so that one dispatch waits for the other as in a network.
 */
export class DispatchTimer {
  readonly #device: Device;
  readonly #pipelines: PipelineCache;
  readonly #constants: ConstantStore;
  readonly #random = new Map<ElementType, GPUBuffer>();

  constructor(device: Device, pipelines: PipelineCache, constants: ConstantStore) {
    this.#device = device;
    this.#pipelines = pipelines;
    this.#constants = constants;
  }

  async measure(dispatch: PlannedDispatch): Promise<DispatchMeasurement> {
    const { pipeline, layout } = await this.#pipelines.get({ label: dispatch.kernel.name, code: dispatch.code, shader: dispatch.shader, constants: dispatch.constants });
    const owned: GPUBuffer[] = [];
    const groups = this.#bindGroups(dispatch, layout, owned);
    try {
      const run = (repeats: number): Promise<number> =>
        this.#time((pass) => {
          pass.setPipeline(pipeline);
          for (let i = 0; i < repeats; i++) {
            pass.setBindGroup(0, groups[i % groups.length]);
            pass.dispatchWorkgroups(...dispatch.workgroups);
          }
        });
      // The first run may compile.
      await run(1);
      let repeats = 1;
      let span = await run(repeats);
      while (span < SPAN_MILLISECONDS) {
        repeats *= span < SPAN_MILLISECONDS / 8 ? 4 : 2;
        span = await run(repeats);
      }
      const samples = [span];
      let spent = span;
      while (samples.length < LEAST_SAMPLES || (samples.length < MOST_SAMPLES && spent < ENOUGH_MILLISECONDS)) {
        const sample = await run(repeats);
        samples.push(sample);
        spent += sample;
      }
      return { milliseconds: median(samples) / repeats, samples: samples.length, repeats };
    } finally {
      for (const buffer of owned) buffer.destroy();
    }
  }

  dispose(): void {
    for (const buffer of this.#random.values()) buffer.destroy();
    this.#random.clear();
  }

  /** One bind group for each copy of the inputs; their buffers are added to `owned`. */
  #bindGroups(dispatch: PlannedDispatch, layout: GPUBindGroupLayout, owned: GPUBuffer[]): GPUBindGroup[] {
    const { gpu } = this.#device;
    const { shader, places, uniforms, kernel } = dispatch;
    const make = (size: number, usage: number): GPUBuffer => {
      const buffer = gpu.createBuffer({ size, usage });
      owned.push(buffer);
      return buffer;
    };
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    const inputs: { readonly binding: number; readonly size: number; readonly elementType: ElementType }[] = [];
    const fixed: GPUBindGroupEntry[] = [];
    for (const { name, binding, members, size, type } of shader.bindings) {
      const place = places[name];
      if (members.length > 0) {
        const data = new ArrayBuffer(Math.ceil(size / 16) * 16);
        writeUniforms(new DataView(data), 0, members, uniforms, kernel.name);
        const buffer = make(data.byteLength, usage);
        gpu.queue.writeBuffer(buffer, 0, data);
        fixed.push({ binding, resource: { buffer } });
      } else if (place && "constant" in place) {
        fixed.push({ binding, resource: { buffer: this.#constants.get(place.constant) } });
      } else if (place && type === "storage") {
        fixed.push({ binding, resource: { buffer: make(place.size, usage) } });
      } else if (place) {
        const bound = dispatch.bindings[name];
        inputs.push({ binding, size: place.size, elementType: bound && "view" in bound ? bound.view.storage.elementType : "f32" });
      }
    }
    const bytes = inputs.reduce((sum, { size }) => sum + size, 0);
    const sets = bytes === 0 ? 1 : Math.min(MOST_SETS, Math.ceil(ROTATED_BYTES / bytes));
    const encoder = gpu.createCommandEncoder();
    const groups = Array.from({ length: sets }, () => {
      const entries = inputs.map(({ binding, size, elementType }): GPUBindGroupEntry => {
        const buffer = make(size, usage);
        const source = this.#randomNumbers(elementType);
        for (let offset = 0; offset < size; offset += RANDOM_BYTES) encoder.copyBufferToBuffer(source, 0, buffer, offset, Math.min(RANDOM_BYTES, size - offset));
        return { binding, resource: { buffer } };
      });
      return gpu.createBindGroup({ layout, entries: [...fixed, ...entries] });
    });
    gpu.queue.submit([encoder.finish()]);
    return groups;
  }

  #randomNumbers(elementType: ElementType): GPUBuffer {
    const known = this.#random.get(elementType);
    if (known) return known;
    const count = RANDOM_BYTES / (elementType === "f16" ? 2 : 4);
    const values = scatteredValues(count, 5);
    const data = elementType === "f16" ? Uint16Array.from(new Uint32Array(values.buffer), float32BitsToFloat16) : values;
    const buffer = this.#device.gpu.createBuffer({ size: RANDOM_BYTES, usage: GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
    this.#device.gpu.queue.writeBuffer(buffer, 0, data);
    this.#random.set(elementType, buffer);
    return buffer;
  }

  /** Milliseconds of one compute pass, by GPU timestamps, or by the clock where the device has none. */
  async #time(encode: (pass: GPUComputePassEncoder) => void): Promise<number> {
    const { gpu, traits } = this.#device;
    const encoder = gpu.createCommandEncoder();
    if (!traits.timestamps) {
      const pass = encoder.beginComputePass();
      encode(pass);
      pass.end();
      await gpu.queue.onSubmittedWorkDone();
      const started = performance.now();
      gpu.queue.submit([encoder.finish()]);
      await gpu.queue.onSubmittedWorkDone();
      return performance.now() - started;
    }
    const querySet = gpu.createQuerySet({ type: "timestamp", count: 2 });
    const resolved = gpu.createBuffer({ size: 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
    const staging = gpu.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const pass = encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } });
    encode(pass);
    pass.end();
    encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16);
    gpu.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const [begin = 0n, end = 0n] = new BigUint64Array(staging.getMappedRange());
    const milliseconds = Number(end - begin) / 1e6;
    for (const buffer of [resolved, staging]) buffer.destroy();
    querySet.destroy();
    return milliseconds;
  }
}
