import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { Option } from "commander";
import type { Command } from "commander";
import { detectModel } from "../checkpoints/detect.ts";
import type { DetectedModel } from "../checkpoints/detect.ts";
import { readCheckpoint } from "../checkpoints/read.ts";
import { writeSafetensors } from "../checkpoints/safetensors.ts";
import { elementCount, formatShape, fromFloat32, toFloat32 } from "../checkpoints/tensor.ts";
import type { Checkpoint, StoredTensor } from "../checkpoints/tensor.ts";
import { SinterError } from "../errors.ts";
import { checkOutput, readError, writeFileAtomically } from "../platform/files.ts";

interface ConvertOptions {
  output?: string;
  inspect?: boolean;
  precision: "f32" | "f16";
  overwrite?: boolean;
  json?: boolean;
}

/** Adds `sinter convert CHECKPOINT -o FILE` to the program. */
export function registerConvert(program: Command): void {
  const command = program
    .command("convert")
    .description("turn a checkpoint (PyTorch .pth, .pt, .ckpt, or safetensors) into a safetensors file that Sinter loads")
    .argument("<checkpoint>", "the checkpoint; its model and configuration are found from names and shapes")
    .option("-o, --output <file>", "the safetensors file to write")
    .option("--inspect", "print what the checkpoint holds, and write nothing")
    .addOption(new Option("--precision <type>", "how weights are stored").choices(["f32", "f16"]).default("f32"))
    .option("--overwrite", "replace an existing output")
    .option("--json", "print one JSON object");
  command.action(async (path: string, options: ConvertOptions) => {
    const { output } = options;
    if (options.inspect === true) {
      if (output !== undefined) command.error("error: --inspect writes nothing, so it does not go with -o");
      return inspect(path, options);
    }
    if (output === undefined) return command.error("error: give the file to write with -o FILE, or --inspect");
    return convert(path, output, options);
  });
}

async function convert(path: string, output: string, options: ConvertOptions): Promise<void> {
  const { overwrite } = options;
  await checkOutput(output, { overwrite });
  const source = await readInput(path);
  const checkpoint = readCheckpoint(source, path);
  const detected = detectModel(checkpoint, path);
  const tensors = new Map(
    [...detected.tensors].map(([name, tensor]) => [name, withPrecision(tensor, options.precision, name)]),
  );
  const metadata: Record<string, string> = {
    ...checkpoint.metadata,
    model: detected.model,
    config: JSON.stringify(detected.config),
    source: basename(path),
    sourceSha256: sha256(source),
    licence: checkpoint.metadata["licence"] ?? "unknown",
  };
  if (Object.keys(detected.aliases).length > 0) metadata["aliases"] = JSON.stringify(detected.aliases);
  const file = writeSafetensors({ tensors, metadata });
  await writeFileAtomically(output, file, { overwrite });

  const report = {
    output,
    ...summary(detected),
    precision: options.precision,
    bytes: file.byteLength,
    sha256: sha256(file),
    source: path,
    sourceSha256: metadata["sourceSha256"],
  };
  if (options.json === true) return print(JSON.stringify(report));
  print(`${output}: ${describe(detected)}, ${options.precision}, ${file.byteLength} bytes`);
}

/** Prints what is in the file, also when it belongs to no known model. */
async function inspect(path: string, options: ConvertOptions): Promise<void> {
  const source = await readInput(path);
  const checkpoint = readCheckpoint(source, path);
  const detected = tryDetect(checkpoint, path);
  const problem = detected instanceof SinterError ? detected : undefined;
  const known = detected instanceof SinterError ? undefined : detected;
  if (options.json === true) {
    const tensors = [...checkpoint.tensors].map(([name, { elementType, shape }]) => ({ name, elementType, shape }));
    const found =
      known === undefined
        ? { model: null, problem: problem?.message }
        : { ...summary(known), aliases: known.aliases };
    const { metadata } = checkpoint;
    print(JSON.stringify({ file: path, bytes: source.byteLength, sha256: sha256(source), ...found, metadata, tensors }));
    return;
  }
  print(`${path}: ${source.byteLength} bytes, SHA-256 ${sha256(source)}`);
  print(known === undefined ? `model: none that fits. ${problem?.message ?? ""}` : `model: ${describe(known)}`);
  if (known !== undefined) print(`config: ${JSON.stringify(known.config)}`);
  for (const [key, value] of Object.entries(checkpoint.metadata)) print(`metadata ${key}: ${value}`);
  for (const [name, { elementType, shape }] of checkpoint.tensors) {
    const canonical = known !== undefined && Object.hasOwn(known.aliases, name) ? known.aliases[name] : undefined;
    print(`  ${name}  ${elementType} ${formatShape(shape)}${canonical === undefined ? "" : `  = ${canonical}`}`);
  }
}

function tryDetect(checkpoint: Checkpoint, path: string): DetectedModel | SinterError {
  try {
    return detectModel(checkpoint, path);
  } catch (error) {
    if (error instanceof SinterError) return error;
    throw error;
  }
}

function summary(detected: DetectedModel): { model: string; config: unknown; tensorCount: number; parameters: number } {
  const { model, config, tensors } = detected;
  const parameters = [...tensors.values()].reduce((sum, { shape }) => sum + elementCount(shape), 0);
  return { model, config, tensorCount: tensors.size, parameters };
}

function describe(detected: DetectedModel): string {
  const { model, tensorCount, parameters } = summary(detected);
  return `${model}, ${tensorCount} tensors, ${parameters} values`;
}

/** Floating-point tensors in the wanted precision; counters and flags as they are. */
function withPrecision(tensor: StoredTensor, precision: "f32" | "f16", name: string): StoredTensor {
  if (!/^B?F/.test(tensor.elementType)) return tensor;
  try {
    return fromFloat32(toFloat32(tensor), tensor.shape, precision === "f16" ? "F16" : "F32");
  } catch (cause) {
    if (!(cause instanceof SinterError)) throw cause;
    throw new SinterError(cause.code, `${name}: ${cause.message}`, { where: name, fix: "Use --precision f32.", cause });
  }
}

async function readInput(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw readError(path, cause);
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
