import { unzipSync } from "fflate";
import { SinterError } from "../errors.ts";
import { PickleGlobal, PickleTuple, readPickle } from "./pickle.ts";
import type { PickleHost } from "./pickle.ts";
import { elementBytes, elementCount, formatShape } from "./tensor.ts";
import type { Checkpoint, ElementType, StoredTensor } from "./tensor.ts";

/** What `torch.save` writes first in the format it used before version 1.6. */
const legacyMagic = 0x1950a86a20f9469cfc6cn;
const legacyProtocol = 1001;

/** Dictionaries that hold the state dict under one of these names are opened, nested ones too. */
const wrapperNames = ["state_dict", "MTAN", "model", "params"];
const maxWrappers = 8;

const storageTypes: ReadonlyMap<string, ElementType> = new Map([
  ["DoubleStorage", "F64"],
  ["FloatStorage", "F32"],
  ["HalfStorage", "F16"],
  ["BFloat16Storage", "BF16"],
  ["LongStorage", "I64"],
  ["IntStorage", "I32"],
  ["ShortStorage", "I16"],
  ["CharStorage", "I8"],
  ["ByteStorage", "U8"],
  ["BoolStorage", "BOOL"],
]);

/** Python names that stand beside weights (settings, scores, optimizer states). They are read as `null`, never used. */
const ignoredGlobals: ReadonlySet<string> = new Set([
  "torch.device",
  "torch.float64",
  "torch.float32",
  "torch.float16",
  "torch.bfloat16",
  "torch.int64",
  "torch.int32",
  "torch.int16",
  "torch.int8",
  "torch.uint8",
  "torch.bool",
  "numpy.dtype",
  "numpy.ndarray",
  "numpy.core.multiarray.scalar",
  "numpy._core.multiarray.scalar",
  "numpy.core.multiarray._reconstruct",
  "numpy._core.multiarray._reconstruct",
  "_codecs.encode",
  "argparse.Namespace",
  "builtins.int",
  "builtins.float",
  "builtins.list",
  "builtins.dict",
  "builtins.set",
  "__builtin__.int",
  "__builtin__.float",
  "__builtin__.list",
  "__builtin__.dict",
  "__builtin__.set",
]);

/** One storage that tensors are views of. */
class StorageReference {
  readonly key: string;
  readonly elementType: ElementType;
  /** Number of elements. */
  readonly length: number;

  constructor(key: string, elementType: ElementType, length: number) {
    this.key = key;
    this.elementType = elementType;
    this.length = length;
  }
}

/** A tensor as the pickle describes it: a strided view; offset and strides count elements. */
class TensorReference {
  readonly storage: StorageReference;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(storage: StorageReference, offset: number, shape: readonly number[], strides: readonly number[]) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

/** True if the bytes begin like something `torch.save` writes: a zip archive, or a pickle of protocol 2 to 5. */
export function looksLikePyTorch(bytes: Uint8Array): boolean {
  return isZip(bytes) || isPickle(bytes);
}

/**
 * Reads what `torch.save` wrote, in the zip format and in the older one. Wrapping dictionaries (`state_dict`, `MTAN`,
 * `model`, `params`) and a `module.` before every name are taken off; entries that are not tensors are left out; every
 * tensor is made contiguous. Nothing in the file is executed: only names known to belong to weights are accepted.
 * @throws SinterError `UNSAFE_PICKLE` naming the Python object the file asks for; `CORRUPT_CHECKPOINT`;
 *   `UNSUPPORTED_CHECKPOINT` (TorchScript, big-endian, complex numbers); `NOT_A_CHECKPOINT` when it holds no tensors.
 */
export function readPyTorch(bytes: Uint8Array, fileName: string): Checkpoint {
  // A plain array even when `bytes` is a Node Buffer, whose slice() would not copy.
  const file = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isZip(file)) return readZip(file, fileName);
  if (isPickle(file)) return readLegacy(file, fileName);
  throw new SinterError("NOT_A_CHECKPOINT", `${fileName} is not a PyTorch checkpoint.`, { where: fileName });
}

function isZip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && bytes[1] === 0x4b && bytes[2] === 0x03 && bytes[3] === 0x04;
}

function isPickle(bytes: Uint8Array): boolean {
  const protocol = bytes[1] ?? 0;
  return bytes[0] === 0x80 && protocol >= 2 && protocol <= 5;
}

/** Far above any real checkpoint's compression or broadcasting, and small enough to hold in memory. */
function expandedLimit(fileBytes: number): number {
  return 100 * fileBytes + 64 * 2 ** 20;
}

function corrupt(fileName: string, message: string, cause?: unknown): SinterError {
  return new SinterError("CORRUPT_CHECKPOINT", `${fileName} is damaged: ${message}`, {
    where: fileName,
    fix: "Download the file again.",
    ...(cause === undefined ? {} : { cause }),
  });
}

function unsupported(fileName: string, message: string, fix: string): SinterError {
  return new SinterError("UNSUPPORTED_CHECKPOINT", `${fileName}: ${message}`, { where: fileName, fix });
}

// The zip format: NAME/data.pkl describes the tensors, NAME/data/KEY holds the bytes of one storage.

function readZip(bytes: Uint8Array, fileName: string): Checkpoint {
  const paths = new Set<string>();
  const small = extract(bytes, fileName, (path) => {
    paths.add(path);
    return /^[^/]+\/(data\.pkl|byteorder)$/.test(path);
  });
  const pickles = [...small].filter(([path]) => path.endsWith("/data.pkl"));
  const [pickle] = pickles;
  if (pickle === undefined || pickles.length !== 1) {
    throw new SinterError("NOT_A_CHECKPOINT", `${fileName} is a zip archive, but not one that torch.save wrote.`, {
      where: fileName,
      fix: "If the archive contains a checkpoint, unpack it and give that file.",
    });
  }
  const root = pickle[0].slice(0, -"data.pkl".length);
  if (paths.has(`${root}constants.pkl`)) {
    const fix = "Save the weights alone in PyTorch: torch.save(model.state_dict(), file).";
    throw unsupported(fileName, "it is a TorchScript program, not a state dict.", fix);
  }
  const byteOrder = small.get(`${root}byteorder`);
  if (byteOrder !== undefined && new TextDecoder().decode(byteOrder) !== "little") {
    throw unsupported(fileName, "it is not little-endian.", "Save it again on a little-endian machine.");
  }

  const storages = new Map<string, StorageReference>();
  const { value } = readPickle(pickle[1], 0, pickleHost(fileName, storages));
  const tensors = findStateDict(value, fileName);
  const needed = new Set([...tensors.values()].map(({ storage }) => `${root}data/${storage.key}`));
  const entries = extract(bytes, fileName, (path) => needed.has(path));
  return materialise(tensors, bytes.byteLength, fileName, (key) => entries.get(`${root}data/${key}`));
}

/** Unpacks the wanted entries. Sizes are checked before anything is inflated. */
function extract(bytes: Uint8Array, fileName: string, wanted: (path: string) => boolean): Map<string, Uint8Array> {
  const sizes = new Map<string, number>();
  // An entry takes at least 46 bytes of the directory; a false count would otherwise be walked to its end.
  const maxEntries = bytes.byteLength / 46;
  let entryCount = 0;
  let total = 0;
  try {
    const files = unzipSync(bytes, {
      filter: ({ name, size, originalSize, compression }) => {
        if (++entryCount > maxEntries) throw corrupt(fileName, "its zip directory runs past the end of the file.");
        if (!wanted(name)) return false;
        if (sizes.has(name)) throw corrupt(fileName, `its zip directory lists ${name} twice.`);
        if (!(size <= bytes.byteLength)) {
          throw corrupt(fileName, `${name} is declared as ${size} bytes in a file of ${bytes.byteLength}.`);
        }
        // Deflate cannot pack more than 1032 bytes into one.
        if (!(originalSize <= (compression === 0 ? size : 1032 * size))) {
          throw corrupt(fileName, `${name} is declared to unpack from ${size} to ${originalSize} bytes.`);
        }
        total += originalSize;
        if (total > expandedLimit(bytes.byteLength)) {
          throw corrupt(fileName, `it would unpack to more than ${total} bytes from ${bytes.byteLength}.`);
        }
        sizes.set(name, originalSize);
        return true;
      },
    });
    const entries = new Map(Object.entries(files));
    for (const [name, size] of sizes) {
      const found = entries.get(name)?.byteLength ?? 0;
      if (found !== size) throw corrupt(fileName, `${name} unpacks to ${found} bytes instead of ${size}.`);
    }
    return entries;
  } catch (cause) {
    if (cause instanceof SinterError) throw cause;
    throw corrupt(fileName, "its zip directory cannot be read; the file may be cut short.", cause);
  }
}

// The legacy format: pickles of a magic number, a version, the machine, the object and the list of storage keys, then
// for each key the number of elements (int64) and the bytes.

function readLegacy(bytes: Uint8Array, fileName: string): Checkpoint {
  const storages = new Map<string, StorageReference>();
  const host = pickleHost(fileName, storages);
  const magic = readPickle(bytes, 0, host);
  if (magic.value !== legacyMagic) {
    throw new SinterError("NOT_A_CHECKPOINT", `${fileName} is a Python pickle, but not one that torch.save wrote.`, {
      where: fileName,
      fix: "Save the weights in PyTorch: torch.save(model.state_dict(), file).",
    });
  }
  const version = readPickle(bytes, magic.end, host);
  if (version.value !== legacyProtocol) {
    throw corrupt(fileName, `its format version is not ${legacyProtocol}.`);
  }
  const machine = readPickle(bytes, version.end, host);
  if (!(machine.value instanceof Map) || machine.value.get("little_endian") !== true) {
    throw unsupported(fileName, "it is not little-endian.", "Save it again on a little-endian machine.");
  }
  const object = readPickle(bytes, machine.end, host);
  const keys = readPickle(bytes, object.end, host);
  if (!Array.isArray(keys.value)) throw corrupt(fileName, "it has no list of storages.");

  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const contents = new Map<string, Uint8Array>();
  let position = keys.end;
  for (const key of keys.value) {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    if (storage === undefined) throw corrupt(fileName, "it holds a storage that no tensor uses.");
    if (bytes.byteLength - position < 8) throw corrupt(fileName, "it ends before its storages do.");
    const length = view.getBigInt64(position, true);
    if (length !== BigInt(storage.length)) {
      throw corrupt(fileName, `storage ${storage.key} should have ${storage.length} elements, and has ${length}.`);
    }
    position += 8;
    const size = storage.length * elementBytes[storage.elementType];
    if (size > bytes.byteLength - position) {
      throw corrupt(fileName, `storage ${storage.key} needs ${size} bytes, and ${bytes.byteLength - position} are left.`);
    }
    contents.set(storage.key, bytes.subarray(position, position + size));
    position += size;
  }
  return materialise(findStateDict(object.value, fileName), bytes.byteLength, fileName, (key) => contents.get(key));
}

// What the pickle may say.

function pickleHost(fileName: string, storages: Map<string, StorageReference>): PickleHost {
  const malformed = (what: string): SinterError => corrupt(fileName, `${what} is not described as PyTorch does.`);

  const sizes = (value: unknown): readonly number[] => {
    if (!(value instanceof PickleTuple)) throw malformed("a tensor's shape");
    return value.items.map((size) => {
      if (!isSize(size)) throw malformed("a tensor's shape");
      return size;
    });
  };
  const rebuildTensor = ([storage, offset, shape, strides, , , metadata]: readonly unknown[]): TensorReference => {
    if (!(storage instanceof StorageReference) || !isSize(offset)) throw malformed("a tensor");
    if (metadata instanceof Map && metadata.size > 0) {
      const fix = "Resolve it in PyTorch before saving: tensor.resolve_conj().resolve_neg().";
      throw unsupported(fileName, "a tensor is a conjugate or negative view.", fix);
    }
    const tensor = new TensorReference(storage, offset, sizes(shape), sizes(strides));
    if (tensor.shape.length !== tensor.strides.length) throw malformed("a tensor");
    return tensor;
  };
  const dictionary = ([items]: readonly unknown[]): Map<unknown, unknown> => {
    const map = new Map<unknown, unknown>();
    // An OrderedDict may come with its items as a list of pairs; a defaultdict comes with its factory instead.
    for (const item of Array.isArray(items) ? items : []) {
      const pair: unknown = item instanceof PickleTuple ? item.items : item;
      if (!Array.isArray(pair) || pair.length !== 2) throw malformed("a dictionary");
      map.set(pair[0], pair[1]);
    }
    return map;
  };
  const standIns: ReadonlyMap<string, (args: readonly unknown[]) => unknown> = new Map([
    ["torch._utils._rebuild_tensor", rebuildTensor],
    ["torch._utils._rebuild_tensor_v2", rebuildTensor],
    ["torch._utils._rebuild_parameter", ([tensor]: readonly unknown[]) => tensor],
    ["torch._utils._rebuild_parameter_with_state", ([tensor]: readonly unknown[]) => tensor],
    ["torch.Size", ([items]: readonly unknown[]) => items],
    ["collections.OrderedDict", dictionary],
    ["collections.defaultdict", dictionary],
    ["collections.Counter", dictionary],
  ]);

  return {
    where: fileName,
    findGlobal(module, name) {
      const fullName = `${module}.${name}`;
      const standIn = standIns.get(fullName) ?? (ignoredGlobals.has(fullName) ? () => null : undefined);
      if (standIn !== undefined) return new PickleGlobal(module, name, standIn);
      if (/^torch(\.cuda)?$/.test(module) && name.endsWith("Storage")) {
        if (storageTypes.has(name)) return new PickleGlobal(module, name, () => null);
        throw unsupported(fileName, `it holds tensors of the type ${fullName}.`, "Convert them to float32 in PyTorch.");
      }
      throw new SinterError(
        "UNSAFE_PICKLE",
        `${fileName} asks Python for ${fullName}, which is not among the names that weights need. Nothing was executed.`,
        {
          where: fileName,
          fix: "If you trust the file, save its weights alone in PyTorch: torch.save(model.state_dict(), file).",
        },
      );
    },
    loadPersistent(id) {
      if (!(id instanceof PickleTuple)) throw malformed("a storage");
      const [kind, type, key, , length, viewed] = id.items;
      const elementType = type instanceof PickleGlobal ? storageTypes.get(type.name) : undefined;
      if (kind !== "storage" || elementType === undefined || typeof key !== "string" || !isSize(length)) {
        throw malformed("a storage");
      }
      if (viewed !== undefined && viewed !== null) {
        const fix = "Load and save it again with a newer PyTorch.";
        throw unsupported(fileName, "it has storages that are views of others, as PyTorch wrote them before 0.4.", fix);
      }
      const known = storages.get(key);
      if (known === undefined) {
        const storage = new StorageReference(key, elementType, length);
        storages.set(key, storage);
        return storage;
      }
      if (known.elementType !== elementType || known.length !== length) {
        throw corrupt(fileName, `storage ${key} is described in two ways.`);
      }
      return known;
    },
  };
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** Opens the wrapping dictionaries and gives the tensors by name, without a `module.` that all names share. */
function findStateDict(object: unknown, fileName: string): Map<string, TensorReference> {
  let dictionary = object;
  for (let depth = 0; depth < maxWrappers && dictionary instanceof Map; depth++) {
    const outer: Map<unknown, unknown> = dictionary;
    const wrapper = wrapperNames.find((name) => outer.get(name) instanceof Map);
    if (wrapper === undefined) break;
    dictionary = outer.get(wrapper);
  }
  const tensors = new Map<string, TensorReference>();
  for (const [name, value] of dictionary instanceof Map ? dictionary : []) {
    if (typeof name === "string" && value instanceof TensorReference) tensors.set(name, value);
  }
  if (tensors.size === 0) {
    const names = object instanceof Map ? [...object.keys()].filter((key) => typeof key === "string") : [];
    const found = names.length > 0 ? ` Its entries are ${names.slice(0, 10).join(", ")}.` : "";
    throw new SinterError("NOT_A_CHECKPOINT", `${fileName} holds no state dict: no named tensors.${found}`, {
      where: fileName,
      fix: "Save the weights in PyTorch: torch.save(model.state_dict(), file).",
    });
  }
  const prefix = "module.";
  if (![...tensors.keys()].every((name) => name.startsWith(prefix))) return tensors;
  return new Map([...tensors].map(([name, tensor]) => [name.slice(prefix.length), tensor]));
}

function materialise(
  tensors: Map<string, TensorReference>,
  fileBytes: number,
  fileName: string,
  storageBytes: (key: string) => Uint8Array | undefined,
): Checkpoint {
  let total = 0;
  const stored = new Map<string, StoredTensor>();
  for (const [name, tensor] of tensors) {
    const { storage, shape } = tensor;
    const size = elementBytes[storage.elementType];
    total += elementCount(shape) * size;
    if (!(total <= expandedLimit(fileBytes))) {
      throw corrupt(fileName, `"${name}" of shape ${formatShape(shape)} is too large for a file of ${fileBytes} bytes.`);
    }
    const bytes = storageBytes(storage.key);
    if (bytes === undefined || bytes.byteLength < storage.length * size) {
      throw corrupt(fileName, `storage ${storage.key} of "${name}" is missing or too short.`);
    }
    stored.set(name, { elementType: storage.elementType, shape, bytes: contiguous(tensor, bytes, name, fileName) });
  }
  return { tensors: stored, metadata: {} };
}

/** The elements of a strided view in row-major order; a view of `source` where they already lie so. */
function contiguous(tensor: TensorReference, source: Uint8Array, name: string, fileName: string): Uint8Array {
  const { storage, offset, shape, strides } = tensor;
  const size = elementBytes[storage.elementType];
  const count = elementCount(shape);
  if (count === 0) return new Uint8Array(0);
  const last = shape.reduce((sum, length, axis) => sum + (length - 1) * (strides[axis] ?? 0), offset);
  if (!(last < storage.length)) {
    throw corrupt(fileName, `"${name}" reaches element ${last} of a storage of ${storage.length}.`);
  }

  let expectedStride = 1;
  let isContiguous = true;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const length = shape[axis] ?? 1;
    if (length > 1 && strides[axis] !== expectedStride) isContiguous = false;
    expectedStride *= length;
  }
  if (isContiguous) return source.subarray(offset * size, (offset + count) * size);

  const bytes = new Uint8Array(count * size);
  const index = shape.map(() => 0);
  let element = offset;
  for (let i = 0; i < count; i++) {
    for (let b = 0; b < size; b++) bytes[i * size + b] = source[element * size + b] ?? 0;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const stride = strides[axis] ?? 0;
      const next = (index[axis] ?? 0) + 1;
      element += stride;
      if (next < (shape[axis] ?? 1)) {
        index[axis] = next;
        break;
      }
      element -= next * stride;
      index[axis] = 0;
    }
  }
  return bytes;
}
