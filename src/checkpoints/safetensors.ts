import { SinterError } from "../errors.ts";
import { elementBytes, elementCount, formatShape } from "./tensor.ts";
import type { Checkpoint, ElementType, StoredTensor } from "./tensor.ts";

/** The format's own limit on the header. */
const maxHeaderBytes = 100_000_000;

interface Entry {
  name: string;
  elementType: ElementType;
  shape: number[];
  begin: number;
  end: number;
}

/**
 * Reads a safetensors file: 8 bytes of little-endian header length, a JSON header, then the tensors' bytes without
 * holes. Every length, type, shape and offset is checked. The tensors are views of `bytes`, in file order.
 * @throws SinterError `CORRUPT_CHECKPOINT`, saying what was expected and found; `UNSUPPORTED_CHECKPOINT` for an
 *   element type that Sinter has no use for (8-bit floats, unsigned integers beyond U8).
 */
export function readSafetensors(bytes: Uint8Array, fileName: string): Checkpoint {
  const corrupt = (message: string, cause?: unknown): SinterError =>
    new SinterError("CORRUPT_CHECKPOINT", `${fileName} is not a sound safetensors file: ${message}`, {
      where: fileName,
      fix: "Download or convert the file again.",
      ...(cause === undefined ? {} : { cause }),
    });

  if (bytes.byteLength < 8) throw corrupt(`it has ${bytes.byteLength} bytes, and the header length alone takes 8.`);
  const declared = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (declared > BigInt(Math.min(bytes.byteLength - 8, maxHeaderBytes))) {
    const limit = declared > BigInt(maxHeaderBytes) ? "the format's limit is 100 MB" : "it ends before that";
    throw corrupt(`the header is declared as ${declared} bytes in a file of ${bytes.byteLength}; ${limit}.`);
  }
  const headerLength = Number(declared);
  // A plain array even when `bytes` is a Node Buffer, whose slice() would not copy.
  const data = new Uint8Array(bytes.buffer, bytes.byteOffset + 8 + headerLength, bytes.byteLength - 8 - headerLength);

  const header = parseHeader(bytes.subarray(8, 8 + headerLength), corrupt);
  let metadata: Record<string, string> = {};
  const entries: Entry[] = [];
  for (const [name, value] of header) {
    if (name === "__metadata__") {
      if (!isTexts(value)) throw corrupt("__metadata__ must be an object that holds strings only.");
      metadata = value;
    } else {
      entries.push(parseEntry(name, value, fileName, corrupt));
    }
  }

  entries.sort((a, b) => a.begin - b.begin || a.end - b.end || compareNames(a.name, b.name));
  const tensors = new Map<string, StoredTensor>();
  let position = 0;
  for (const { name, elementType, shape, begin, end } of entries) {
    if (end > data.byteLength) {
      throw corrupt(`"${name}" ends at byte ${end} of the data, which has ${data.byteLength} bytes.`);
    }
    if (begin < position) throw corrupt(`"${name}" begins at byte ${begin}, inside the tensor before it (${position}).`);
    if (begin > position) throw corrupt(`bytes ${position} to ${begin}, before "${name}", belong to no tensor.`);
    tensors.set(name, { elementType, shape, bytes: data.subarray(begin, end) });
    position = end;
  }
  if (position !== data.byteLength) {
    throw corrupt(`${data.byteLength - position} bytes after the last tensor belong to no tensor.`);
  }
  return { tensors, metadata };
}

/**
 * Writes a safetensors file. The order is fixed (wide elements first, then names by code unit; metadata by key), so
 * equal checkpoints give equal bytes, and every tensor starts on a multiple of its element size.
 * @throws SinterError `SIZE_MISMATCH` when a tensor's bytes do not fill its shape.
 */
export function writeSafetensors(checkpoint: Checkpoint): Uint8Array {
  const tensors = [...checkpoint.tensors].toSorted(
    ([a, { elementType: typeA }], [b, { elementType: typeB }]) =>
      elementBytes[typeB] - elementBytes[typeA] || compareNames(a, b),
  );
  // Written piece by piece, because a JavaScript object would move names such as "0" to the front.
  const fields: string[] = [];
  const metadata = Object.entries(checkpoint.metadata).toSorted(([a], [b]) => compareNames(a, b));
  if (metadata.length > 0) {
    const pairs = metadata.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    fields.push(`"__metadata__":{${pairs.join(",")}}`);
  }
  let position = 0;
  for (const [name, { elementType, shape, bytes }] of tensors) {
    if (name === "__metadata__") {
      throw new SinterError("INVALID_NAME", "A safetensors file cannot hold a tensor named __metadata__.");
    }
    if (bytes.byteLength !== elementCount(shape) * elementBytes[elementType]) {
      throw new SinterError(
        "SIZE_MISMATCH",
        `Tensor "${name}" of shape ${formatShape(shape)} and type ${elementType} has ${bytes.byteLength} bytes.`,
        { where: name },
      );
    }
    const end = position + bytes.byteLength;
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype: elementType, shape, data_offsets: [position, end] })}`);
    position = end;
  }
  const header = new TextEncoder().encode(`{${fields.join(",")}}`);
  const headerLength = Math.ceil(header.byteLength / 8) * 8;
  const file = new Uint8Array(8 + headerLength + position);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerLength), true);
  file.fill(0x20, 8 + header.byteLength, 8 + headerLength);
  file.set(header, 8);
  let offset = 8 + headerLength;
  for (const [, { bytes }] of tensors) {
    file.set(bytes, offset);
    offset += bytes.byteLength;
  }
  return file;
}

type Corrupt = (message: string, cause?: unknown) => SinterError;

function parseHeader(bytes: Uint8Array, corrupt: Corrupt): [string, unknown][] {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw corrupt("its header is not JSON.", cause);
  }
  if (!isObject(value)) throw corrupt("its header is not a JSON object.");
  const duplicate = duplicateKey(text);
  if (duplicate !== undefined) throw corrupt(`its header names "${duplicate}" twice.`);
  return Object.entries(value);
}

/**
 * The first key that the outermost object of a text (known to be valid JSON) has twice: `JSON.parse` keeps the last one
 * silently. A scan by hand, because regular expressions overflow the stack on strings of many megabytes.
 */
function duplicateKey(text: string): string | undefined {
  const keys = new Set<string>();
  let depth = 0;
  let expectsKey = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === "{" || character === "[") depth++;
    else if (character === "}" || character === "]") depth--;
    if (character === "{" || character === ",") expectsKey = depth === 1;
    if (character !== '"') continue;
    const begin = i;
    for (i++; text[i] !== '"'; i++) if (text[i] === "\\") i++;
    if (!expectsKey) continue;
    const key = JSON.parse(text.slice(begin, i + 1)) as string;
    if (keys.has(key)) return key;
    keys.add(key);
    expectsKey = false;
  }
  return undefined;
}

function parseEntry(name: string, value: unknown, fileName: string, corrupt: Corrupt): Entry {
  if (!isObject(value)) throw corrupt(`the entry of "${name}" is not an object.`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== "string") throw corrupt(`"${name}" has no dtype.`);
  if (!isElementType(dtype)) {
    throw new SinterError("UNSUPPORTED_CHECKPOINT", `${fileName}: tensor "${name}" has the type ${dtype}.`, {
      where: fileName,
      fix: `Supported are ${Object.keys(elementBytes).join(", ")}: convert the tensor to one of these.`,
    });
  }
  if (!isSizes(shape)) throw corrupt(`the shape of "${name}" is not a list of sizes.`);
  if (!isSizes(offsets) || offsets.length !== 2) throw corrupt(`the data_offsets of "${name}" are not two byte numbers.`);
  const [begin = 0, end = 0] = offsets;
  const expected = elementCount(shape) * elementBytes[dtype];
  if (end - begin !== expected) {
    throw corrupt(
      `"${name}" of shape ${formatShape(shape)} and type ${dtype} needs ${expected} bytes, and has ${end - begin}.`,
    );
  }
  return { name, elementType: dtype, shape, begin, end };
}

function isElementType(name: string): name is ElementType {
  return Object.hasOwn(elementBytes, name);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTexts(value: unknown): value is Record<string, string> {
  return isObject(value) && Object.values(value).every((text) => typeof text === "string");
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
