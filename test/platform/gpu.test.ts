import { afterEach, describe, expect, it } from "vitest";
import { findGpu } from "../../src/platform/gpu.ts";

const drivers = process.env.VK_DRIVER_FILES;
afterEach(() => {
  if (drivers === undefined) delete process.env.VK_DRIVER_FILES;
  else process.env.VK_DRIVER_FILES = drivers;
});

function importFailure(message: string, code: string): () => Promise<never> {
  return () => Promise.reject(Object.assign(new Error(message), { code }));
}

describe("findGpu", () => {
  it("finds an adapter that gives a device, and installs Dawn's globals", async () => {
    const gpu = await findGpu();
    const adapter = await gpu.requestAdapter();
    const device = await adapter?.requestDevice();
    expect(device?.limits.maxStorageBufferBindingSize).toBeGreaterThanOrEqual(134217728);
    expect(GPUBufferUsage.STORAGE).toBe(0x80);
    device?.destroy();
  });

  it("gives one GPU object for the same options", async () => {
    expect(await findGpu({ backend: "null" })).toBe(await findGpu({ backend: "null" }));
    expect(await findGpu({ backend: "null" })).not.toBe(await findGpu());
  });

  it("asks Dawn for what it hides, and passes flags on", async () => {
    const usual = await (await findGpu({ backend: "null" })).requestAdapter();
    const safe = await (await findGpu({ backend: "null", flags: ["disable-dawn-features=allow_unsafe_apis"] })).requestAdapter();
    const feature = "chromium-experimental-subgroup-matrix";
    expect([usual?.features.has(feature), safe?.features.has(feature)]).toEqual([true, false]);
  });

  it("chooses an adapter by a part of its name, and lists the names when there is none", async () => {
    const gpu = await findGpu({ backend: "null", device: "no such adapter" });
    const named = { code: "UNKNOWN_DEVICE", message: expect.stringContaining("Null backend") as unknown };
    await expect(gpu.requestAdapter()).rejects.toMatchObject(named);
    const found = await (await findGpu({ backend: "null", device: "Null" })).requestAdapter();
    expect(found?.info.device).toBe("null-backend");
  });

  it("says that the package is missing, or does not load", async () => {
    const missing = importFailure("Cannot find package 'webgpu' imported from /a/b.js", "ERR_MODULE_NOT_FOUND");
    const flags = ["disable-dawn-features=lazy_clear_resource_on_first_use"];
    await expect(findGpu({ flags }, missing)).rejects.toMatchObject({
      code: "NO_WEBGPU_PACKAGE",
      message: expect.stringContaining("not installed") as unknown,
      fix: expect.stringContaining("npm install webgpu") as unknown,
    });
    const broken = importFailure("libm.so.6: version `GLIBC_2.38' not found\nRequire stack", "ERR_DLOPEN_FAILED");
    await expect(findGpu({ flags }, broken)).rejects.toMatchObject({
      code: "NO_WEBGPU_PACKAGE",
      message: expect.stringMatching(/does not load on .*GLIBC_2\.38' not found$/) as unknown,
    });
  });

  it.runIf(process.platform === "linux")("says that no adapter answers, and what to do", async () => {
    process.env.VK_DRIVER_FILES = "/nonexistent.json";
    // A flag of its own, because a GPU that was found once is kept.
    const gpu = await findGpu({ flags: ["disable-dawn-features=timestamp_quantization"] });
    await expect(gpu.requestAdapter()).rejects.toMatchObject({
      code: "NO_ADAPTER",
      fix: expect.stringContaining("npm run setup") as unknown,
    });
  });
});
