import { SinterError } from "../errors.ts";

/** Kinds of devices that differ in what is fast; `mobile` stands for Adreno and Mali, `software` for a GPU that is played by the CPU. */
export const DEVICE_CLASSES = ["nvidia", "amd", "intel", "apple", "mobile", "software", "other"] as const;

export type DeviceClass = (typeof DEVICE_CLASSES)[number];

/** A matrix product that the lanes of a subgroup make together: M × K by K × N, added to M × N. */
export interface SubgroupMatrix {
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** What kernels may rely on: a pure description, so that a plan can be made and tested without a GPU. */
export interface DeviceTraits {
  readonly deviceClass: DeviceClass;
  readonly f16: boolean;
  /** Lanes of a subgroup; 0 where the device has no subgroups or their size varies. */
  readonly subgroupSize: number;
  /**
   * Where their size varies, the lanes that a kernel can require (`@subgroup_size`): the fewest that the device has, as the matrix units of
   * AMD and Intel take them; else 0.
   */
  readonly requiredSubgroupSize: number;
  /** Dawn's `chromium-experimental-subgroup-matrix`; empty where it is missing. */
  readonly subgroupMatrices: readonly SubgroupMatrix[];
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
  deviceClass: "other",
  f16: false,
  subgroupSize: 0,
  requiredSubgroupSize: 0,
  subgroupMatrices: [],
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
  readonly wait: WaitForGpu;
}

/** Waits for work of the GPU; where that is the CPU, a platform may leave it the core meanwhile. */
export type WaitForGpu = <T>(work: Promise<T>) => Promise<T>;

const SUBGROUP_MATRIX = "chromium-experimental-subgroup-matrix";

const SUBGROUP_SIZE_CONTROL = "subgroup-size-control";

const FEATURES = ["shader-f16", "subgroups", SUBGROUP_SIZE_CONTROL, "timestamp-query", SUBGROUP_MATRIX] as const;

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
  const { subgroupMatrixConfigs = [] } = adapterInfo as { readonly subgroupMatrixConfigs?: Iterable<SubgroupMatrix> };
  const varies = subgroupMinSize !== subgroupMaxSize;
  return {
    deviceClass: deviceClass(adapterInfo),
    f16: features.has("shader-f16"),
    subgroupSize: features.has("subgroups" as GPUFeatureName) && !varies ? subgroupMaxSize : 0,
    requiredSubgroupSize: features.has(SUBGROUP_SIZE_CONTROL as GPUFeatureName) && varies ? subgroupMinSize : 0,
    subgroupMatrices: features.has(SUBGROUP_MATRIX as GPUFeatureName)
      ? [...subgroupMatrixConfigs].map(({ componentType, resultComponentType, M, N, K }) => ({ componentType, resultComponentType, M, N, K }))
      : [],
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

const CLASS_OF_VENDOR: Readonly<Record<string, DeviceClass>> = { nvidia: "nvidia", amd: "amd", intel: "intel", apple: "apple", qualcomm: "mobile", arm: "mobile" };

/** Mesa's llvmpipe and SwiftShader, the software adapters that answer through WebGPU, name themselves in the description or the architecture. */
export function deviceClass({ vendor, architecture, device, description }: Pick<GPUAdapterInfo, "vendor" | "architecture" | "device" | "description">): DeviceClass {
  if (/llvmpipe|lavapipe|swiftshader/i.test(`${architecture} ${device} ${description}`)) return "software";
  return CLASS_OF_VENDOR[vendor] ?? "other";
}

/**
 * Wraps a device that the caller opened and keeps.
 *
 * @param waitForSoftware how to wait for a software adapter
 */
export function wrapDevice(gpu: GPUDevice, waitForSoftware: WaitForGpu = (work) => work): Device {
  const { vendor, architecture, device, description } = gpu.adapterInfo;
  const traits = deviceTraits(gpu);
  return { gpu, traits, adapter: { vendor, architecture, device, description }, wait: traits.deviceClass === "software" ? waitForSoftware : (work) => work };
}

/**
 * Opens the adapter's device with every optional feature and the highest limits that Sinter can use.
 *
 * @param waitForSoftware as for `wrapDevice`
 * @throws SinterError `NO_ADAPTER` when WebGPU is there but no GPU answers.
 */
export async function openDevice(gpu: GPU, waitForSoftware?: WaitForGpu): Promise<Device> {
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
  return wrapDevice(device, waitForSoftware);
}
