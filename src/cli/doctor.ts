import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Command } from "commander";
import { SinterError } from "../errors.ts";
import { VARIANT_TABLES } from "../kernels/variant-tables.ts";
import { MEASURED_CLASSES } from "../kernels/variants.ts";
import code from "../kernels/check-sum/check-sum.wgsl";
import { packageRoot } from "../platform/files.ts";
import { findGpu } from "../platform/gpu.ts";
import { DEVICE_CLASSES } from "../runtime/device.ts";
import { alignColumns, createOutput, errorJson, formatBytes, printError } from "./output.ts";

const usefulFeatures = ["shader-f16", "subgroups", "timestamp-query"] as const;
const usefulLimits = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxStorageBuffersPerShaderStage",
] as const;

/** Invocations of the check sum: enough for several workgroups on every core. */
const invocations = 1 << 16;

interface AdapterReport {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  /** The driver's own description, with its version where the driver tells it. */
  readonly driver: string;
  readonly software: boolean;
  readonly features: Record<(typeof usefulFeatures)[number], boolean>;
  readonly limits: Record<(typeof usefulLimits)[number], number>;
}

interface CheckSumReport {
  readonly expected: number;
  readonly found: number;
}

interface Report {
  readonly sinter: string;
  readonly node: string;
  readonly platform: string;
  readonly webgpu: string | null;
  adapter: AdapterReport | null;
  checkSum: CheckSumReport | null;
}

/** Adds `sinter doctor`: what WebGPU offers on this machine, a computed check sum, and how to mend what is missing. */
export function registerDoctor(program: Command): void {
  program
    .command("doctor")
    .description("show the GPU adapter, its features and limits, compute a check sum, and say how to mend what is missing")
    .option("--device <name>", "the adapter with this in its name")
    .option("--variants", "print which kernel variant each class of GPUs takes by default, and examine nothing")
    .option("--json", "print one JSON object")
    .action(async (options: { device?: string; json?: boolean; variants?: boolean }) => {
      if (options.variants) {
        const output = createOutput(options);
        output.print(describeVariants());
        output.result({ measured: MEASURED_CLASSES, variants: VARIANT_TABLES });
        return;
      }
      const report: Report = {
        sinter: versionOf(join(packageRoot(), "package.json")) ?? "unknown",
        node: process.version,
        platform: `${process.platform}-${process.arch}`,
        webgpu: webgpuVersion(),
        adapter: null,
        checkSum: null,
      };
      let problem: unknown;
      try {
        await examine(report, options.device);
      } catch (error) {
        problem = error;
      }
      const output = createOutput(options);
      output.print(describe(report));
      if (problem === undefined) {
        output.print("\nEverything that Sinter needs is here.");
        output.result({ ok: true, ...report });
        return;
      }
      if (!(problem instanceof SinterError)) throw problem;
      output.result({ ok: false, ...report, error: errorJson(problem) });
      printError(problem, false);
      process.exitCode = 1;
    });
}

/** The sum that `check-sum.wgsl` must give for this many invocations. */
export function expectedCheckSum(count: number): number {
  let sum = 0;
  for (let index = 0; index < count; index++) {
    let word = index;
    let key = 1;
    for (let round = 0; round < 10; round++) {
      word = (multiplyHigh(word ^ key, 0xd2511f53) ^ Math.imul(word, 0xcd9e8d57) ^ key) >>> 0;
      key = (key + 0x9e3779b9) >>> 0;
    }
    sum = (sum + word) >>> 0;
  }
  return sum;
}

/** Runs `check-sum.wgsl` on a device. */
export async function computeCheckSum(device: GPUDevice, count: number): Promise<number> {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
  const sum = device.createBuffer({ size: 4, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
  const copy = device.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  const entries = [{ binding: 0, resource: { buffer: sum } }];
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(count / 64);
  pass.end();
  encoder.copyBufferToBuffer(sum, 0, copy, 0, 4);
  device.queue.submit([encoder.finish()]);
  const error = await device.popErrorScope();
  if (error !== null) throw new Error(error.message);
  await copy.mapAsync(GPUMapMode.READ);
  return new Uint32Array(copy.getMappedRange())[0] ?? 0;
}

async function examine(report: Report, name: string | undefined): Promise<void> {
  const gpu = await findGpu({ device: name });
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) return;
  const { vendor, architecture, device: deviceName, description, isFallbackAdapter } = adapter.info;
  const features = usefulFeatures.map((feature) => [feature, adapter.features.has(feature)] as const);
  const limits = usefulLimits.map((limit) => [limit, adapter.limits[limit]] as const);
  report.adapter = {
    vendor,
    architecture,
    device: deviceName,
    driver: description,
    software: isFallbackAdapter,
    features: Object.fromEntries(features) as AdapterReport["features"],
    limits: Object.fromEntries(limits) as AdapterReport["limits"],
  };
  const fix = "Update the graphics driver, or choose another adapter with --device.";
  let found: number;
  try {
    const device = await adapter.requestDevice();
    found = await computeCheckSum(device, invocations);
    device.destroy();
  } catch (cause) {
    const { message } = cause as Error;
    throw new SinterError("ADAPTER_FAILS", `The adapter ${deviceName} did not compute the check sum: ${message}`, { fix, cause });
  }
  report.checkSum = { expected: expectedCheckSum(invocations), found };
  if (found !== report.checkSum.expected) {
    const expected = hexadecimal(report.checkSum.expected);
    throw new SinterError("WRONG_CHECK_SUM", `The adapter ${deviceName} computed ${hexadecimal(found)}; expected ${expected}.`, { fix });
  }
}

function describe(report: Report): string {
  const rows = [
    ["Sinter", report.sinter],
    ["Node", `${report.node}, ${report.platform}`],
    ["webgpu package", report.webgpu ?? "not installed"],
  ];
  const { adapter, checkSum } = report;
  if (adapter === null) {
    rows.push(["adapter", "none"]);
  } else {
    const { limits } = adapter;
    rows.push(
      ["adapter", `${adapter.device}${adapter.software ? " (software, on the CPU)" : ""}`],
      ["vendor", `${adapter.vendor}, ${adapter.architecture}`],
      ["driver", adapter.driver],
      ...usefulFeatures.map((feature) => [feature, adapter.features[feature] ? "yes" : "no"]),
      ["buffer", `up to ${formatBytes(limits.maxBufferSize)}, bound up to ${formatBytes(limits.maxStorageBufferBindingSize)}`],
      [
        "workgroup",
        `up to ${limits.maxComputeInvocationsPerWorkgroup} invocations, ${limits.maxComputeWorkgroupStorageSize} bytes of memory`,
      ],
      ["storage buffers", `${limits.maxStorageBuffersPerShaderStage} a kernel`],
    );
  }
  if (checkSum !== null) {
    const verdict = checkSum.found === checkSum.expected ? "as expected" : `expected ${hexadecimal(checkSum.expected)}`;
    rows.push(["check sum", `${hexadecimal(checkSum.found)}, ${verdict}`]);
  }
  return alignColumns(rows);
}

function describeVariants(): string {
  const heads = DEVICE_CLASSES.map((deviceClass) => `${deviceClass}${MEASURED_CLASSES.includes(deviceClass) ? "" : " *"}`);
  const rows = VARIANT_TABLES.map(({ operator, jobs, defaults }) => [operator, jobs, ...DEVICE_CLASSES.map((deviceClass) => defaults[deviceClass])]);
  return `${alignColumns([["operator", "jobs", ...heads], ...rows])}\n\n* reasoned, not measured on such a device. \`sinter tune\` measures and remembers what is fastest on yours.`;
}

function webgpuVersion(): string | null {
  try {
    return versionOf(createRequire(import.meta.url).resolve("webgpu/package.json"));
  } catch {
    return null;
  }
}

function versionOf(file: string): string | null {
  return (JSON.parse(readFileSync(file, "utf8")) as { version?: string }).version ?? null;
}

/** The upper 32 bits of a 64-bit product; every step is exact in a double. */
function multiplyHigh(a: number, b: number): number {
  return Math.floor(((a >>> 16) * b + Math.floor(((a & 0xffff) * b) / 65536)) / 65536);
}

function hexadecimal(value: number): string {
  return `0x${value.toString(16).padStart(8, "0")}`;
}
