import { beforeAll, describe, expect, it } from "vitest";
import { PipelineCache, pipelineKey, type PipelineRequest } from "../../src/runtime/pipelines.ts";
import { reflectShader } from "../../src/runtime/shader.ts";
import { openNullGpu, type TestGpu } from "../gpu.ts";

const request = (code: string, constants: Record<string, number> = {}): PipelineRequest => ({ label: "test/kernel", code, shader: reflectShader(code, "test/kernel"), constants });

const kernel = (expression: string): string => `override SCALE: f32;
override LANES: u32 = 4;
@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@compute @workgroup_size(LANES)
fn fill(@builtin(global_invocation_id) id: vec3<u32>) {
  output[id.x] = ${expression};
}`;

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openNullGpu();
});

describe("PipelineCache", () => {
  it("compiles a variant once", async () => {
    const cache = new PipelineCache(gpu.device);
    const first = await cache.get(request(kernel("SCALE"), { SCALE: 2, LANES: 8 }));
    expect(await cache.get(request(kernel("SCALE"), { LANES: 8, SCALE: 2 }))).toBe(first);
    expect(await cache.get(request(kernel("SCALE"), { SCALE: 3, LANES: 8 }))).not.toBe(first);
  });

  it("has a key of the text and the constants, whatever their order", () => {
    const code = kernel("SCALE");
    expect(pipelineKey(request(code, { SCALE: 2, LANES: 8 }))).toBe(pipelineKey(request(code, { LANES: 8, SCALE: 2 })));
    expect(pipelineKey(request(code, { SCALE: 2 }))).not.toBe(pipelineKey(request(code, { SCALE: 3 })));
    expect(pipelineKey(request(code, { SCALE: 2 }))).not.toBe(pipelineKey(request(kernel("2.0"), { SCALE: 2 })));
  });

  it("says which line does not compile, and why", async () => {
    const error: unknown = await gpu.pipelines.get(request(kernel("SCALE + 1u"), { SCALE: 2 })).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "SHADER_COMPILE", where: "test/kernel" });
    expect((error as Error).message).toMatch(/^test\/kernel: [^]*:6:\d+ error: no matching overload[^]*output\[id\.x\] = SCALE \+ 1u/);
  });

  it("says which overrides are missing or not declared", async () => {
    await expect(gpu.pipelines.get(request(kernel("SCALE"), { LANE: 4 }))).rejects.toMatchObject({
      code: "SHADER_INTERFACE",
      where: "test/kernel",
      message: "test/kernel: overrides missing: SCALE; not declared: LANE",
    });
  });
});
