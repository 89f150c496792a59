import { findGpu } from "../src/platform/gpu.ts";
import { type Device, openDevice } from "../src/runtime/device.ts";

/** Opens a device, with timestamps in nanoseconds; by itself Dawn rounds them to 65 µs. */
export async function openBenchDevice(name: string | undefined): Promise<Device> {
  return openDevice(await findGpu({ device: name, flags: ["disable-dawn-features=timestamp_quantization"] }));
}
