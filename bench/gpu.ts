import { findGpu } from "../src/platform/gpu.ts";
import { waitQuietly } from "../src/platform/wait.ts";
import { type Device, openDevice } from "../src/runtime/device.ts";

/** Timestamps in nanoseconds: by itself Dawn rounds them to 65 µs. */
const FLAGS = ["disable-dawn-features=timestamp_quantization"];

export async function openBenchGpu(name: string | undefined): Promise<GPU> {
  return findGpu({ device: name, flags: FLAGS });
}

/** Opens a device as the engine does, with the benchmark's flags. */
export async function openBenchDevice(name: string | undefined): Promise<Device> {
  return openDevice(await openBenchGpu(name), waitQuietly);
}
