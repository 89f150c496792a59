import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { detectModel } from "../../src/checkpoints/detect.ts";
import { expectedRefusionTensors } from "../../src/checkpoints/refusion-format.ts";
import { readSafetensors, writeSafetensors } from "../../src/checkpoints/safetensors.ts";
import { toFloat32 } from "../../src/checkpoints/tensor.ts";
import { registerConvert } from "../../src/cli/convert.ts";
import { syntheticCheckpoint, withConvolutionAliases } from "../checkpoints/synthetic.ts";

const config = { dim: 8, encoderBlocks: 1, decoderBlocks: 1, heads: 2, expansion: 2, bias: false };
const checkpoint = withConvolutionAliases(syntheticCheckpoint(expectedRefusionTensors(config)));

let folder = "";
let input = "";
let output = "";

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sinter-convert-"));
  input = join(folder, "mine.ckpt");
  output = join(folder, "out.safetensors");
  writeFileSync(input, writeSafetensors(checkpoint));
});

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

/** Runs `sinter convert` in this process and gives what it printed. */
async function run(...args: string[]): Promise<string> {
  const program = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
  registerConvert(program);
  for (const command of program.commands) command.exitOverride().copyInheritedSettings(program);
  const printed: string[] = [];
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed.push(String(text));
    return true;
  });
  await program.parseAsync(["convert", ...args], { from: "user" });
  return printed.join("");
}

describe("sinter convert", () => {
  it("writes the weights once, with the model, configuration, source and aliases in the metadata", async () => {
    const report = JSON.parse(await run(input, "-o", output, "--json")) as Record<string, unknown>;
    const bytes = readFileSync(output);
    const sha256 = createHash("sha256").update(readFileSync(input)).digest("hex");
    expect(report).toMatchObject({ output, model: "refusion", config, precision: "f32", bytes: bytes.length, sourceSha256: sha256 });
    const written = readSafetensors(bytes, output);
    expect(written.metadata).toMatchObject({ model: "refusion", source: "mine.ckpt", sourceSha256: sha256, licence: "unknown" });
    expect(JSON.parse(written.metadata["config"] ?? "")).toEqual(config);
    expect(JSON.parse(written.metadata["aliases"] ?? "")).toHaveProperty(["project_in_1.conv.weight"], "project_in_1.weight");
    const { tensors } = detectModel(written, output);
    for (const [name, tensor] of tensors) expect(tensor.bytes, name).toEqual(checkpoint.tensors.get(name)?.bytes);
    expect(readdirSync(folder).toSorted()).toEqual(["mine.ckpt", "out.safetensors"]);
  });

  it("rounds to f16, and keeps what the metadata of its input says", async () => {
    const metadata = { licence: "Apache-2.0", task: "medical" };
    writeFileSync(input, writeSafetensors({ ...checkpoint, metadata }));
    expect(await run(input, "-o", output, "--precision", "f16")).toMatch(/out\.safetensors: refusion, .* f16/);
    const written = readSafetensors(readFileSync(output), output);
    expect(written.metadata).toMatchObject(metadata);
    for (const [name, tensor] of written.tensors) {
      expect(tensor.elementType).toBe("F16");
      const original = checkpoint.tensors.get(name);
      if (original === undefined) throw new Error(name);
      const exact = toFloat32(original);
      toFloat32(tensor).forEach((value, i) => expect(Math.abs(value - (exact[i] ?? 0))).toBeLessThanOrEqual((exact[i] ?? 0) / 2048));
    }
  });

  it("--inspect prints what is there and writes nothing, also for an unknown model", async () => {
    const text = await run(input, "--inspect");
    expect(text).toMatch(/model: refusion, 53 tensors/);
    expect(text).toMatch(/project_in_1\.conv\.weight {2}F32 \[8, 1, 3, 3\] {2}= project_in_1\.weight/);
    const other = await run("test/fixtures/checkpoints/other_model.pth", "--inspect", "--json");
    expect(JSON.parse(other)).toMatchObject({
      model: null,
      problem: expect.stringContaining("no model that Sinter knows"),
      tensors: [
        { name: "weight", elementType: "F32", shape: [2, 2] },
        { name: "bias", elementType: "F32", shape: [2] },
      ],
    });
    expect(readdirSync(folder)).toEqual(["mine.ckpt"]);
  });

  it("leaves an existing output alone without --overwrite", async () => {
    writeFileSync(output, "precious");
    await expect(run(input, "-o", output)).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
    expect(readFileSync(output, "utf8")).toBe("precious");
    await run(input, "-o", output, "--overwrite");
    expect(readSafetensors(readFileSync(output), output).tensors.size).toBe(53);
  });

  it.each<[string, string, string]>([
    ["a missing file", "nowhere.pth", "FILE_NOT_FOUND"],
    ["a folder", "test", "UNREADABLE_FILE"],
    ["a picture or text", "package.json", "NOT_A_CHECKPOINT"],
    ["weights of another model", "test/fixtures/checkpoints/other_model.pth", "UNKNOWN_MODEL"],
    ["a pickle that runs a command", "test/fixtures/checkpoints/runs_command_zip.pth", "UNSAFE_PICKLE"],
  ])("refuses %s and writes nothing", async (_, path, code) => {
    await expect(run(path, "-o", output)).rejects.toMatchObject({ name: "SinterError", code });
    expect(existsSync(output)).toBe(false);
    expect(existsSync("sinter-was-here")).toBe(false);
  });

  it("refuses an output in a folder that does not exist", async () => {
    await expect(run(input, "-o", join(folder, "none", "x.safetensors"))).rejects.toMatchObject({ code: "UNWRITABLE_OUTPUT" });
  });

  it("refuses f16 for values beyond its range, naming the tensor", async () => {
    const tensors = new Map(checkpoint.tensors);
    const huge = Float32Array.of(...Array.from({ length: 8 }, () => 1e6));
    tensors.set("encoder1.0.norm1.body.weight", { elementType: "F32", shape: [8], bytes: new Uint8Array(huge.buffer) });
    writeFileSync(input, writeSafetensors({ tensors, metadata: {} }));
    await expect(run(input, "-o", output, "--precision", "f16")).rejects.toMatchObject({
      code: "F16_OVERFLOW",
      message: expect.stringContaining("encoder1.0.norm1.body.weight"),
    });
    expect(existsSync(output)).toBe(false);
  });

  it("wrong usage is the command line's own error", async () => {
    for (const args of [[input], [input, "-o", output, "--inspect"], [], [input, "-o", output, "--precision", "f8"]]) {
      await expect(run(...args)).rejects.toBeInstanceOf(CommanderError);
    }
    expect(existsSync(output)).toBe(false);
  });
});
