import { describe, expect, it } from "vitest";
import { findGpu } from "../../src/platform/gpu.ts";
import { deviceClass, deviceTraits, openDevice, PORTABLE_TRAITS, wrapDevice } from "../../src/runtime/device.ts";

const MATRIX = { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 };

/** The parts of a device that its traits are read from. */
function fakeDevice(features: readonly string[], [subgroupMinSize, subgroupMaxSize]: readonly [number, number], alignment = 256): GPUDevice {
  const limits = {
    maxBufferSize: 1,
    maxStorageBufferBindingSize: 2,
    maxComputeInvocationsPerWorkgroup: 3,
    maxComputeWorkgroupStorageSize: 4,
    maxComputeWorkgroupsPerDimension: 5,
    maxStorageBuffersPerShaderStage: 6,
    minStorageBufferOffsetAlignment: alignment,
    minUniformBufferOffsetAlignment: 16,
  };
  return { limits, features: new Set(features), adapterInfo: { vendor: "nvidia", subgroupMinSize, subgroupMaxSize, subgroupMatrixConfigs: [MATRIX] } } as unknown as GPUDevice;
}

describe("deviceTraits", () => {
  it("reads features and limits", () => {
    expect(deviceTraits(fakeDevice(["shader-f16", "subgroups", "timestamp-query"], [32, 32]))).toEqual({
      deviceClass: "nvidia",
      f16: true,
      subgroupSize: 32,
      requiredSubgroupSize: 0,
      subgroupMatrices: [],
      timestamps: true,
      maxBufferSize: 1,
      maxStorageBufferBindingSize: 2,
      maxComputeInvocationsPerWorkgroup: 3,
      maxComputeWorkgroupStorageSize: 4,
      maxComputeWorkgroupsPerDimension: 5,
      maxStorageBuffersPerShaderStage: 6,
      bindingAlignment: 256,
    });
  });

  it("has no subgroup size where it varies or the feature is not enabled", () => {
    expect(deviceTraits(fakeDevice(["subgroups"], [4, 32])).subgroupSize).toBe(0);
    expect(deviceTraits(fakeDevice([], [32, 32])).subgroupSize).toBe(0);
  });

  it("requires the least subgroup size where it varies and can be required", () => {
    const sizes = (features: readonly string[], range: readonly [number, number]) => deviceTraits(fakeDevice(["subgroups", ...features], range)).requiredSubgroupSize;
    expect(sizes(["subgroup-size-control"], [32, 64])).toBe(32);
    expect(sizes(["subgroup-size-control"], [32, 32])).toBe(0);
    expect(sizes([], [32, 64])).toBe(0);
  });

  it("lists subgroup matrices only where the feature is enabled", () => {
    expect(deviceTraits(fakeDevice(["chromium-experimental-subgroup-matrix"], [32, 32])).subgroupMatrices).toEqual([MATRIX]);
  });

  it("aligns bindings to 256 bytes at least, so that a plan fits every device", () => {
    expect(deviceTraits(fakeDevice([], [0, 0], 16)).bindingAlignment).toBe(256);
    expect(deviceTraits(fakeDevice([], [0, 0], 512)).bindingAlignment).toBe(512);
  });
});

describe("deviceClass", () => {
  it.each([
    ["nvidia", "hopper", "nvidia-h100", "NVIDIA: 570.1", "nvidia"],
    ["amd", "rdna-3", "", "", "amd"],
    ["intel", "xe-2lpg", "", "", "intel"],
    ["apple", "metal-3", "", "", "apple"],
    ["qualcomm", "adreno-7xx", "", "", "mobile"],
    ["arm", "valhall", "", "", "mobile"],
    ["mesa", "software", "llvmpipe-llvm-15-0-6-256-bits-", "llvmpipe: Mesa 25.0.7", "software"],
    ["google", "swiftshader", "", "SwiftShader driver", "software"],
    ["unheard-of", "", "", "", "other"],
  ] as const)("%s %s %s %s is of class %s", (vendor, architecture, device, description, expected) => {
    expect(deviceClass({ vendor, architecture, device, description })).toBe(expected);
  });
});

describe("openDevice", () => {
  it("asks for the adapter's features and limits", async () => {
    const gpu = await findGpu({ backend: "null" });
    const adapter = await gpu.requestAdapter();
    const { traits } = await openDevice(gpu);
    expect(traits).toMatchObject({ f16: true, timestamps: true, maxBufferSize: adapter?.limits.maxBufferSize });
  });

  it("has a portable description that asks for nothing beyond WebGPU's defaults", async () => {
    const adapter = await (await findGpu({ backend: "null" })).requestAdapter();
    const device = await adapter?.requestDevice();
    if (!device) throw new Error("no device");
    expect(wrapDevice(device).traits).toEqual(PORTABLE_TRAITS);
    device.destroy();
  });

  it("says so when no GPU answers", async () => {
    const gpu = { requestAdapter: async () => null } as unknown as GPU;
    await expect(openDevice(gpu)).rejects.toMatchObject({ code: "NO_ADAPTER" });
  });
});
