import { SinterError } from "../errors.ts";
import { looksLikePyTorch, readPyTorch } from "./pytorch.ts";
import { readSafetensors } from "./safetensors.ts";
import type { Checkpoint } from "./tensor.ts";

/**
 * Reads a checkpoint of any supported format: safetensors, or PyTorch (zip and legacy). The content decides; the
 * name is for messages, and lets a damaged `.safetensors` file be reported as that.
 * @throws SinterError `NOT_A_CHECKPOINT` when it is none of these, else what the format's reader throws.
 */
export function readCheckpoint(bytes: Uint8Array, fileName: string): Checkpoint {
  // First, because a safetensors header of 640 bytes begins like a pickle; neither other format has a { at byte 8.
  if (bytes[8] === 0x7b) return readSafetensors(bytes, fileName);
  if (looksLikePyTorch(bytes)) return readPyTorch(bytes, fileName);
  if (fileName.toLowerCase().endsWith(".safetensors")) return readSafetensors(bytes, fileName);
  throw new SinterError("NOT_A_CHECKPOINT", `${fileName} is not a checkpoint: ${describe(bytes)}.`, {
    where: fileName,
    fix: "Give a safetensors file, or what torch.save wrote (.pth, .pt, .ckpt).",
  });
}

/** The usual accidents by name, so that the reader need not open the file. */
function describe(bytes: Uint8Array): string {
  if (bytes.byteLength === 0) return "it is empty";
  const start = new TextDecoder("latin1").decode(bytes.subarray(0, 64)).trimStart().toLowerCase();
  if (start.startsWith("version https://git-lfs")) return "it is a Git LFS pointer, and the weights were not fetched";
  if (/^<(!doctype html|html)/.test(start)) return "it is a web page, perhaps of a failed download";
  return "it is neither safetensors nor a PyTorch file";
}
