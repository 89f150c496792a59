import { tmpdir } from "node:os";
import { SinterError } from "../errors.ts";

/** The part of the package `webgpu` (Dawn for Node) that is used here. */
interface WebgpuPackage {
  create(flags: string[]): GPU;
  readonly globals: object;
}

export interface GpuOptions {
  /** Dawn's backend; default Vulkan on Linux (never OpenGL), Dawn's own choice elsewhere. `null` compiles and computes nothing. */
  readonly backend?: "vulkan" | "metal" | "d3d12" | "null" | undefined;
  /** A part of the adapter's name, such as `llvmpipe`; default the first adapter that Dawn offers. */
  readonly device?: string | undefined;
  /** Further flags of Dawn, such as `disable-dawn-features=timestamp_quantization`. */
  readonly flags?: readonly string[] | undefined;
}

/**
 * What `create()` returned, by its flags, for the life of the process: webgpu 0.6.2 crashes Node when such an object is
 * garbage-collected while its device is in use. Holding it does not keep Node from ending.
 */
const held = new Map<string, GPU>();

/**
 * WebGPU in Node, through the package `webgpu`. It also puts Dawn's globals (`GPUBufferUsage` and its kin) on `globalThis`.
 * The GPU's `requestAdapter` throws instead of giving null.
 *
 * @param load imports the package; replaced in tests
 * @throws SinterError `NO_WEBGPU_PACKAGE`; later, from `requestAdapter`, `NO_ADAPTER` and `UNKNOWN_DEVICE`.
 */
export async function findGpu(
  options: GpuOptions = {},
  load: () => Promise<WebgpuPackage> = () => import("webgpu"),
): Promise<GPU> {
  const flags = dawnFlags(options);
  const key = flags.join("\n");
  const known = held.get(key);
  if (known !== undefined) return known;

  // Mesa's loader complains on stderr when it is not set, as in a container.
  if (process.platform === "linux") process.env.XDG_RUNTIME_DIR ??= tmpdir();
  const { create, globals } = await loadPackage(load);
  for (const [name, value] of Object.entries(globals)) {
    if (!(name in globalThis)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  const gpu = create(flags);
  const requestAdapter = gpu.requestAdapter.bind(gpu);
  gpu.requestAdapter = async (request) => {
    let adapter: GPUAdapter | null;
    try {
      adapter = await requestAdapter(request);
    } catch (cause) {
      throw adapterError(options, (cause as Error).message, cause);
    }
    if (adapter === null) throw adapterError(options);
    return adapter;
  };
  held.set(key, gpu);
  return gpu;
}

/** What to do when no adapter answers, for this platform. */
export function adapterFix(): string {
  if (process.platform === "linux") {
    return "Run `npm run setup` in Sinter's folder, or install a Vulkan driver: apt-get install mesa-vulkan-drivers libvulkan1 (Mesa 24 or later).";
  }
  return "Update the graphics driver; WebGPU needs Metal on macOS and Direct3D 12 on Windows.";
}

/** What Dawn hides by default, because browsers run other people's shaders: matrix units everywhere, f16 on NVIDIA's Vulkan driver. */
const HIDDEN_FEATURES = "enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia";

function dawnFlags(options: GpuOptions): string[] {
  const backend = options.backend ?? (process.platform === "linux" ? "vulkan" : undefined);
  return [
    HIDDEN_FEATURES,
    ...(backend === undefined ? [] : [`backend=${backend}`]),
    ...(options.device === undefined ? [] : [`adapter=${options.device}`]),
    ...(options.flags ?? []),
  ];
}

async function loadPackage(load: () => Promise<WebgpuPackage>): Promise<WebgpuPackage> {
  try {
    return await load();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ERR_MODULE_NOT_FOUND" && message.includes("'webgpu'")) {
      throw new SinterError("NO_WEBGPU_PACKAGE", "The package webgpu, which brings WebGPU to Node, is not installed.", {
        fix: "Run `npm install webgpu`.",
        cause,
      });
    }
    const first = message.split("\n")[0] ?? "";
    throw new SinterError("NO_WEBGPU_PACKAGE", `The package webgpu does not load on ${process.platform}-${process.arch}: ${first}`, {
      fix: "Run `npm install webgpu` on this machine; it has builds for Linux (glibc), macOS and Windows.",
      cause,
    });
  }
}

function adapterError(options: GpuOptions, detail?: string, cause?: unknown): SinterError {
  const names = [...(detail ?? "").matchAll(/name: '([^']*)'/g)].map(([, name]) => name);
  if (options.device !== undefined && names.length > 0) {
    return new SinterError("UNKNOWN_DEVICE", `No WebGPU adapter has "${options.device}" in its name; there is: ${names.join(", ")}.`, {
      where: "--device",
      fix: "Name a part of one of these, in the same case.",
      cause,
    });
  }
  const message = "No WebGPU adapter answers on this machine: there is no GPU driver and no software one.";
  return new SinterError("NO_ADAPTER", message, { fix: adapterFix(), cause });
}
