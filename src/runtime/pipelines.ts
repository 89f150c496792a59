import { SinterError } from "../errors.ts";
import type { Device } from "./device.ts";
import type { ShaderInterface } from "./shader.ts";

/** Everything that decides the machine code of a kernel variant. */
export interface PipelineRequest {
  readonly label: string;
  /** WGSL without `#` directives. */
  readonly code: string;
  readonly shader: ShaderInterface;
  /** Values of the `override` constants. */
  readonly constants: Readonly<Record<string, number>>;
}

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Two requests with the same key compile to the same pipeline. */
export function pipelineKey({ code, constants }: PipelineRequest): string {
  return `${JSON.stringify(Object.entries(constants).toSorted(([a], [b]) => (a < b ? -1 : 1)))}\n${code}`;
}

/** Compiles each kernel variant once, without blocking, and keeps it for the life of the device. */
export class PipelineCache {
  readonly #device: Device;
  readonly #pipelines = new Map<string, Promise<Pipeline>>();

  constructor(device: Device) {
    this.#device = device;
  }

  /** @throws SinterError `SHADER_COMPILE` with the compiler's message and the numbered source line. */
  get(request: PipelineRequest): Promise<Pipeline> {
    const key = pipelineKey(request);
    let pipeline = this.#pipelines.get(key);
    if (!pipeline) {
      pipeline = this.#compile(request);
      this.#pipelines.set(key, pipeline);
    }
    return pipeline;
  }

  async #compile({ label, code, shader, constants }: PipelineRequest): Promise<Pipeline> {
    const { gpu } = this.#device;
    const declared = new Set(shader.overrides.map(({ name }) => name));
    const unknown = Object.keys(constants).filter((name) => !declared.has(name));
    const missing = shader.overrides.filter(({ name, required }) => required && !(name in constants)).map(({ name }) => name);
    if (unknown.length > 0 || missing.length > 0) {
      throw new SinterError(
        "SHADER_INTERFACE",
        `${label}: overrides missing: ${missing.join(", ") || "none"}; not declared: ${unknown.join(", ") || "none"}`,
        { where: label },
      );
    }
    gpu.pushErrorScope("validation");
    const module = gpu.createShaderModule({ label, code });
    const layout = gpu.createBindGroupLayout({
      label,
      entries: shader.bindings.map(({ binding, type }) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } })),
    });
    const compiled = gpu.createComputePipelineAsync({
      label,
      layout: gpu.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: shader.entryPoint, constants },
    });
    const scope = gpu.popErrorScope();
    try {
      const pipeline = await this.#device.wait(compiled);
      return { pipeline, layout };
    } catch (cause) {
      const validation = await scope;
      throw new SinterError("SHADER_COMPILE", `${label}: ${validation?.message ?? String(cause)}`, { where: label, cause });
    }
  }
}
