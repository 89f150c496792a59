import { SinterError } from "../errors.ts";

/** What kernels may rely on: a pure description, so that a plan can be made and tested without a GPU. */
export interface DeviceTraits {
  readonly f16: boolean;
  /** Lanes of a subgroup; 0 where the device has no subgroups or their size varies. */
  readonly subgroupSize: number;
  readonly timestamps: boolean;
  readonly maxBufferSize: number;
  readonly maxStorageBufferBindingSize: number;
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupStorageSize: number;
  readonly maxComputeWorkgroupsPerDimension: number;
  readonly maxStorageBuffersPerShaderStage: number;
  /** Both storage and uniform binding offsets must be multiples of it (bytes). */
  readonly bindingAlignment: number;
}

/** WebGPU's default limits and no optional feature: what every conforming adapter has. */
export const PORTABLE_TRAITS: DeviceTraits = {
  f16: false,
  subgroupSize: 0,
  timestamps: false,
  maxBufferSize: 268435456,
  maxStorageBufferBindingSize: 134217728,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupStorageSize: 16384,
  maxComputeWorkgroupsPerDimension: 65535,
  maxStorageBuffersPerShaderStage: 8,
  bindingAlignment: 256,
};

/** A device with what was asked of the adapter it came from. */
export interface Device {
  readonly gpu: GPUDevice;
  readonly traits: DeviceTraits;
  readonly adapter: { readonly vendor: string; readonly architecture: string; readonly device: string; readonly description: string };
}

const FEATURES = ["shader-f16", "subgroups", "timestamp-query"] as const;

const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupStorageSize",
  "maxComputeWorkgroupsPerDimension",
  "maxStorageBuffersPerShaderStage",
] as const;

/** Reads the traits of a device that somebody else opened, whatever features and limits it was given. */
export function deviceTraits(device: GPUDevice): DeviceTraits {
  const { limits, features, adapterInfo } = device;
  const { subgroupMinSize, subgroupMaxSize } = adapterInfo;
  const fixedSize = features.has("subgroups" as GPUFeatureName) && subgroupMinSize === subgroupMaxSize ? subgroupMaxSize : 0;
  return {
    f16: features.has("shader-f16"),
    subgroupSize: fixedSize,
    timestamps: features.has("timestamp-query"),
    maxBufferSize: limits.maxBufferSize,
    maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
    maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
    maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
    maxComputeWorkgroupsPerDimension: limits.maxComputeWorkgroupsPerDimension,
    maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
    bindingAlignment: Math.max(limits.minStorageBufferOffsetAlignment, limits.minUniformBufferOffsetAlignment, 256),
  };
}

/** Wraps a device that the caller opened and keeps. */
export function wrapDevice(gpu: GPUDevice): Device {
  const { vendor, architecture, device, description } = gpu.adapterInfo;
  return { gpu, traits: deviceTraits(gpu), adapter: { vendor, architecture, device, description } };
}

/**
 * Opens the adapter's device with every optional feature and the highest limits that Sinter can use.
 *
 * @throws SinterError `NO_ADAPTER` when WebGPU is there but no GPU answers.
 */
export async function openDevice(gpu: GPU): Promise<Device> {
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new SinterError("NO_ADAPTER", "WebGPU is available, but no GPU answered", {
      fix: "Install a GPU driver, or a software one (in Node: `npm run setup`). `sinter doctor` says what is missing.",
    });
  }
  const device = await adapter.requestDevice({
    requiredFeatures: FEATURES.filter((feature) => adapter.features.has(feature)) as GPUFeatureName[],
    requiredLimits: Object.fromEntries(LIMITS.map((limit) => [limit, adapter.limits[limit]])),
  });
  return wrapDevice(device);
}
