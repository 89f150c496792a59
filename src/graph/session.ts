import { SinterError } from "../errors.ts";
import { float16ToFloat32Bits, Float16Writer } from "../float16.ts";
import type { Constant } from "../kernels/kernel.ts";
import { elementBytes, formatShape, rowBytes, storageBytes, type TensorView, vectors } from "../kernels/tensor.ts";
import type { Device } from "../runtime/device.ts";
import { type PipelineCache, pipelineKey, type PipelineRequest } from "../runtime/pipelines.ts";
import { writeUniforms } from "../runtime/shader.ts";
import { type Plan, type PlannedDispatch, type PlannedTensor, UNIFORM_STRIDE } from "./plan.ts";

/** Constants that are written before the GPU is given time to take them. */
const UPLOAD_BYTES = 64 * 2 ** 20;

/** Constants of one model on one device, uploaded when a session first needs them and shared by all its sessions. */
export class ConstantStore {
  readonly #device: Device;
  readonly #buffers = new Map<string, GPUBuffer>();

  constructor(device: Device) {
    this.#device = device;
  }

  /**
   * Uploads those that are not there yet, in portions: until the GPU has taken what was written, drivers hold it a second time.
   *
   * @returns what the device says where its memory does not hold them
   */
  async upload(constants: readonly Constant[]): Promise<GPUError | null> {
    const { gpu, wait } = this.#device;
    const waiting = constants.filter(({ key }) => !this.#buffers.has(key));
    let outOfMemory: GPUError | null = null;
    while (waiting.length > 0 && !outOfMemory) {
      gpu.pushErrorScope("out-of-memory");
      for (let bytes = 0; bytes < UPLOAD_BYTES; ) {
        const constant = waiting.shift();
        if (!constant) break;
        bytes += this.get(constant).size;
      }
      const scope = gpu.popErrorScope();
      // Of a device that is lost meanwhile the compiler tells.
      if (waiting.length > 0) await wait(gpu.queue.onSubmittedWorkDone()).catch(() => undefined);
      outOfMemory = await scope;
    }
    return outOfMemory;
  }

  get({ key, elementType, length, pack }: Constant): GPUBuffer {
    const known = this.#buffers.get(key);
    if (known) return known;
    const size = length * 4 * elementBytes(elementType);
    const buffer = this.#device.gpu.createBuffer({ label: key, size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.UNIFORM, mappedAtCreation: true });
    const memory = buffer.getMappedRange();
    pack(elementType === "f16" ? new Float16Writer(new Uint16Array(memory)) : new Float32Array(memory));
    buffer.unmap();
    this.#buffers.set(key, buffer);
    return buffer;
  }

  dispose(): void {
    for (const buffer of this.#buffers.values()) buffer.destroy();
    this.#buffers.clear();
  }
}

function toFloat16(values: Float32Array): Uint16Array {
  const halves = new Uint16Array(values.length);
  new Float16Writer(halves).set(values);
  return halves;
}

function pipelineRequest({ kernel, code, shader, constants }: PlannedDispatch): PipelineRequest {
  return { label: kernel.name, code, shader, constants };
}

/** Starts to compile what sessions of the plan will need; `Session.create` reports what goes wrong. */
export function startCompiling({ dispatches }: Plan, pipelines: PipelineCache): void {
  for (const dispatch of dispatches) pipelines.get(pipelineRequest(dispatch)).catch(() => undefined);
}

/** GPU time of one dispatch. */
export interface DispatchTime {
  readonly dispatch: PlannedDispatch;
  readonly nanoseconds: number;
}

/** An operator whose output is not finite. */
export interface NotFinite {
  /** The last of those that made the output. */
  readonly dispatch: PlannedDispatch;
  /** How many values of the output are NaN or infinite, and how many there are. */
  readonly notFinite: number;
  readonly values: number;
}

interface Step {
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly workgroups: readonly [number, number, number];
}

/** A plan with its memory, pipelines and bind groups on a device: nothing is compiled or allocated by a run. */
export class Session {
  readonly plan: Plan;
  readonly #device: Device;
  readonly #buffers: readonly GPUBuffer[];
  readonly #uniforms: GPUBuffer;
  readonly #steps: readonly Step[];

  private constructor(plan: Plan, device: Device, buffers: readonly GPUBuffer[], uniforms: GPUBuffer, steps: readonly Step[]) {
    this.plan = plan;
    this.#device = device;
    this.#buffers = buffers;
    this.#uniforms = uniforms;
    this.#steps = steps;
  }

  /**
   * Allocates and compiles; pipelines compile in parallel.
   *
   * @param onCompile called with the number of pipelines compiled so far and in all
   * @throws SinterError `OUT_OF_MEMORY` when the device cannot allocate the plan, `SHADER_COMPILE` when a kernel does not compile.
   */
  static async create(
    plan: Plan,
    device: Device,
    pipelines: PipelineCache,
    constants: ConstantStore,
    onCompile?: (done: number, total: number) => void,
  ): Promise<Session> {
    const { gpu } = device;
    const distinct = new Map(plan.dispatches.map(pipelineRequest).map((request) => [pipelineKey(request), request]));
    let done = 0;
    const compiled = Promise.all(
      [...distinct.values()].map(async (request) => {
        await pipelines.get(request);
        onCompile?.(++done, distinct.size);
      }),
    );

    gpu.pushErrorScope("out-of-memory");
    const buffers = plan.buffers.map((size, i) =>
      gpu.createBuffer({ label: `tensors ${i}`, size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST }),
    );
    const uniforms = gpu.createBuffer({
      label: "uniforms",
      size: Math.max(1, plan.dispatches.length) * UNIFORM_STRIDE,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    const allocated = gpu.popErrorScope();
    const release = (): void => [...buffers, uniforms].forEach((buffer) => buffer.destroy());
    try {
      const [tensorsFail, constantsFail] = await Promise.all([allocated, constants.upload(plan.constants), compiled]);
      const outOfMemory = tensorsFail ?? constantsFail;
      if (outOfMemory) {
        throw new SinterError("OUT_OF_MEMORY", `The device could not allocate ${plan.peakBytes} bytes: ${outOfMemory.message}`, {
          fix: "Fuse a smaller picture, or use --precision f16.",
        });
      }
    } catch (error) {
      release();
      throw error;
    }

    const uniformData = new DataView(new ArrayBuffer(Math.max(1, plan.dispatches.length) * UNIFORM_STRIDE));
    const steps = await Promise.all(
      plan.dispatches.map(async (dispatch, i): Promise<Step> => {
        const { pipeline, layout } = await pipelines.get(pipelineRequest(dispatch));
        const entries = dispatch.shader.bindings.map(({ name, binding, members, size }): GPUBindGroupEntry => {
          if (members.length > 0) {
            writeUniforms(uniformData, i * UNIFORM_STRIDE, members, dispatch.uniforms, dispatch.kernel.name);
            return { binding, resource: { buffer: uniforms, offset: i * UNIFORM_STRIDE, size: Math.ceil(size / 16) * 16 } };
          }
          const place = dispatch.places[name];
          if (!place) throw new SinterError("SHADER_INTERFACE", `${dispatch.kernel.name}: nothing is bound to ${name}`, { where: dispatch.label });
          if ("constant" in place) return { binding, resource: { buffer: constants.get(place.constant) } };
          const buffer = buffers[place.buffer];
          if (!buffer) throw new SinterError("GRAPH", `${dispatch.label}: no buffer ${place.buffer}`);
          return { binding, resource: { buffer, offset: place.offset, size: place.size } };
        });
        return { pipeline, group: gpu.createBindGroup({ label: dispatch.label, layout, entries }), workgroups: dispatch.workgroups };
      }),
    );
    gpu.queue.writeBuffer(uniforms, 0, uniformData.buffer);
    return new Session(plan, device, buffers, uniforms, steps);
  }

  /**
   * Uploads an input.
   *
   * @param data batch × height × width × channels, without padding
   */
  write(name: string, data: Float32Array): void {
    const input = this.plan.inputs.find(({ tensor }) => tensor.name === name);
    const buffer = input && this.#buffers[input.buffer];
    if (!input || !buffer) throw new SinterError("GRAPH", `the plan has no input "${name}"`);
    const { batch, height, width, channels } = input.tensor.shape;
    const pixels = batch * height * width;
    if (data.length !== pixels * channels) {
      throw new SinterError("SHAPE", `${name}: expected ${pixels * channels} values, found ${data.length}`, { where: name });
    }
    const stride = vectors(channels) * 4;
    const padded = new Float32Array(pixels * stride);
    for (let p = 0, from = 0; p < pixels; p++) {
      for (let c = 0; c < channels; c++) padded[p * stride + c] = data[from++] ?? 0;
    }
    const bytes = input.tensor.elementType === "f16" ? toFloat16(padded) : padded;
    this.#device.gpu.queue.writeBuffer(buffer, input.offset, bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Runs the plan once on what was written last, in one compute pass; outputs are read with `read`. */
  run(): void {
    const { gpu } = this.#device;
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const step of this.#steps) encode(pass, step);
    pass.end();
    gpu.queue.submit([encoder.finish()]);
  }

  /**
   * Runs the plan operator by operator and reads every output back, until one is not finite.
   *
   * @returns the first operator whose output is not finite
   */
  async runChecked(): Promise<NotFinite | undefined> {
    const { gpu } = this.#device;
    for (const [i, step] of this.#steps.entries()) {
      const encoder = gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      encode(pass, step);
      pass.end();
      gpu.queue.submit([encoder.finish()]);
      const dispatch = this.plan.dispatches[i];
      if (!dispatch || this.plan.dispatches[i + 1]?.label === dispatch.label) continue;
      for (const { name, type } of dispatch.shader.bindings) {
        const [binding, place] = [dispatch.bindings[name], dispatch.places[name]];
        const buffer = place && "buffer" in place ? this.#buffers[place.buffer] : undefined;
        if (type !== "storage" || !binding || !("view" in binding) || !place || !("buffer" in place) || !buffer) continue;
        // All bands of the operator have run, so the whole tensor is there.
        const start = place.offset - binding.firstRow * rowBytes(binding.view);
        const bytes = await this.#copyToHost(gpu.createCommandEncoder(), buffer, start, storageBytes(binding.view.storage));
        const found = countNotFinite(binding.view, bytes);
        if (found.notFinite > 0) return { dispatch, ...found };
      }
    }
    return undefined;
  }

  /**
   * Runs the plan with a compute pass for each dispatch and returns the GPU time of each.
   *
   * @throws SinterError `NO_TIMESTAMPS` when the device cannot take them.
   */
  async profile(): Promise<DispatchTime[]> {
    const { gpu, traits } = this.#device;
    if (!traits.timestamps) throw new SinterError("NO_TIMESTAMPS", "The device has no timestamp queries");
    const count = this.#steps.length;
    const querySet = gpu.createQuerySet({ type: "timestamp", count: count * 2 });
    const resolved = gpu.createBuffer({ size: count * 16, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
    const encoder = gpu.createCommandEncoder();
    this.#steps.forEach((step, i) => {
      const pass = encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 } });
      encode(pass, step);
      pass.end();
    });
    encoder.resolveQuerySet(querySet, 0, count * 2, resolved, 0);
    const times = new BigUint64Array(await this.#copyToHost(encoder, resolved, 0, count * 16));
    querySet.destroy();
    resolved.destroy();
    return this.plan.dispatches.map((dispatch, i) => ({ dispatch, nanoseconds: Number((times[2 * i + 1] ?? 0n) - (times[2 * i] ?? 0n)) }));
  }

  /** Reads an output of the last run: batch × height × width × channels, without padding. */
  async read(name: string): Promise<Float32Array> {
    const output = this.plan.outputs.find(({ tensor }) => tensor.name === name);
    const buffer = output && this.#buffers[output.buffer];
    if (!output || !buffer) throw new SinterError("GRAPH", `the plan has no output "${name}"`);
    const bytes = await this.#copyToHost(this.#device.gpu.createCommandEncoder(), buffer, output.offset, storageBytes(output.storage));
    return unpad(output, bytes);
  }

  /**
   * Copies outputs of the last run to inputs of a session on the same device, another or this one, without leaving the GPU.
   *
   * @param names the input for each output
   * @throws SinterError `GRAPH` when an output and its input are not stored alike
   */
  copyTo(target: Session, names: Readonly<Record<string, string>>): void {
    const { gpu } = this.#device;
    const encoder = gpu.createCommandEncoder();
    const temporary: GPUBuffer[] = [];
    for (const [outputName, inputName] of Object.entries(names)) {
      const output = this.plan.outputs.find(({ tensor }) => tensor.name === outputName);
      const input = target.plan.inputs.find(({ tensor }) => tensor.name === inputName);
      const [source, destination] = [output && this.#buffers[output.buffer], input && target.#buffers[input.buffer]];
      if (!output || !input || !source || !destination || !storedAlike(output, input)) {
        throw new SinterError("GRAPH", `cannot copy output "${outputName}" to input "${inputName}"`, { where: inputName });
      }
      const size = storageBytes(output.storage);
      if (source !== destination) {
        encoder.copyBufferToBuffer(source, output.offset, destination, input.offset, size);
        continue;
      }
      // WebGPU copies nothing from a buffer to itself.
      const between = gpu.createBuffer({ size, usage: GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
      temporary.push(between);
      encoder.copyBufferToBuffer(source, output.offset, between, 0, size);
      encoder.copyBufferToBuffer(between, 0, destination, input.offset, size);
    }
    gpu.queue.submit([encoder.finish()]);
    for (const buffer of temporary) buffer.destroy();
  }

  /** Resolves when everything submitted so far has run. */
  async finished(): Promise<void> {
    await this.#device.wait(this.#device.gpu.queue.onSubmittedWorkDone());
  }

  async #copyToHost(encoder: GPUCommandEncoder, source: GPUBuffer, offset: number, size: number): Promise<ArrayBuffer> {
    const { gpu } = this.#device;
    const staging = gpu.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    encoder.copyBufferToBuffer(source, offset, staging, 0, size);
    gpu.queue.submit([encoder.finish()]);
    try {
      await this.#device.wait(staging.mapAsync(GPUMapMode.READ));
      return staging.getMappedRange().slice(0);
    } catch (cause) {
      throw new SinterError("DEVICE_LOST", "The GPU was lost while the result was read back", { cause, fix: "Run again; if it happens again, fuse a smaller picture." });
    } finally {
      staging.destroy();
    }
  }

  dispose(): void {
    for (const buffer of [...this.#buffers, this.#uniforms]) buffer.destroy();
  }
}

function encode(pass: GPUComputePassEncoder, { pipeline, group, workgroups }: Step): void {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(...workgroups);
}

/** How many values of a tensor, its padding left out, are NaN or infinite: those whose exponent has all bits set. */
function countNotFinite({ storage, shape, firstVector }: TensorView, bytes: ArrayBuffer): { notFinite: number; values: number } {
  const [bits, exponent] = storage.elementType === "f16" ? [new Uint16Array(bytes), 0x7c00] : [new Uint32Array(bytes), 0x7f800000];
  const stride = vectors(storage.shape.channels) * 4;
  const pixels = shape.batch * shape.height * shape.width;
  let notFinite = 0;
  for (let p = 0; p < pixels; p++) {
    const first = p * stride + firstVector * 4;
    for (let c = 0; c < shape.channels; c++) if (((bits[first + c] ?? 0) & exponent) === exponent) notFinite++;
  }
  return { notFinite, values: pixels * shape.channels };
}

function storedAlike(a: PlannedTensor, b: PlannedTensor): boolean {
  const whole = a.firstVector === 0 && b.firstVector === 0;
  return whole && a.storage.elementType === b.storage.elementType && formatShape(a.storage.shape) === formatShape(b.storage.shape);
}

/** The values of a tensor from the bytes of its storage. */
function unpad({ tensor, storage, firstVector }: PlannedTensor, bytes: ArrayBuffer): Float32Array {
  const { batch, height, width, channels } = tensor.shape;
  const pixels = batch * height * width;
  const stride = vectors(storage.shape.channels) * 4;
  const values = new Float32Array(pixels * channels);
  if (storage.elementType === "f16") {
    const halves = new Uint16Array(bytes);
    const bits = new Uint32Array(values.buffer);
    for (let p = 0, to = 0; p < pixels; p++) {
      for (let c = 0; c < channels; c++) bits[to++] = float16ToFloat32Bits(halves[p * stride + firstVector * 4 + c] ?? 0);
    }
  } else {
    const floats = new Float32Array(bytes);
    for (let p = 0, to = 0; p < pixels; p++) {
      for (let c = 0; c < channels; c++) values[to++] = floats[p * stride + firstVector * 4 + c] ?? 0;
    }
  }
  return values;
}
