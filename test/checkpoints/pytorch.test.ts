import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import * as fc from "fast-check";
import { zipSync } from "fflate";
import { describe, expect, it } from "vitest";
import { readCheckpoint } from "../../src/checkpoints/read.ts";
import { toFloat32 } from "../../src/checkpoints/tensor.ts";
import type { Checkpoint, StoredTensor } from "../../src/checkpoints/tensor.ts";
import { SinterError } from "../../src/errors.ts";

const fixtures = join(process.cwd(), "test/fixtures/checkpoints");
const goldens = join(process.cwd(), "../shared/golden/checkpoint_variants");

const read = (name: string): Checkpoint => readCheckpoint(readFileSync(join(fixtures, name)), name);
const code = (expected: string): unknown => expect.objectContaining({ code: expected });

/** The float32 bits, so that the sign of zero and NaN count. */
const bits = (tensor: StoredTensor): number[] => {
  const { buffer, byteOffset, length } = toFloat32(tensor);
  return [...new Uint32Array(buffer, byteOffset, length)];
};

interface ExpectedTensor {
  elementType: string;
  shape: number[];
  bytes: string;
}

describe("PyTorch files of every kind", () => {
  const expected = JSON.parse(readFileSync(join(fixtures, "tensors.json"), "utf8")) as Record<string, ExpectedTensor>;

  it.each(["odd_zip.pth", "odd_legacy.pth", "odd_deflated.pth", "wrapped.pth", "wrapped_protocol4.pth"])(
    "%s: views, transposes, offsets, expansions, scalars, empty tensors and all types",
    (name) => {
      const found = [...read(name).tensors].map(([key, { elementType, shape, bytes }]) => [
        key,
        { elementType, shape, bytes: Buffer.from(bytes).toString("hex") },
      ]);
      expect(Object.fromEntries(found)).toEqual(expected);
    },
  );
});

describe.skipIf(!existsSync(goldens))("checkpoint variants against expected.safetensors", () => {
  const expected = existsSync(goldens)
    ? readCheckpoint(readFileSync(join(goldens, "expected.safetensors")), "expected.safetensors").tensors
    : new Map<string, StoredTensor>();
  const names = existsSync(goldens) ? readdirSync(goldens).filter((name) => name.endsWith(".pth")) : ["needs ../shared/golden"];

  it.each(names)("%s", (name) => {
    const prefix = name.startsWith("odd") ? "odd." : "w.";
    const wanted = [...expected].filter(([key]) => key.startsWith(prefix));
    const { tensors } = readCheckpoint(readFileSync(join(goldens, name)), name);
    expect([...tensors.keys()].map((key) => prefix + key).toSorted()).toEqual(wanted.map(([key]) => key).toSorted());
    for (const [key, golden] of wanted) {
      const tensor = tensors.get(key.slice(prefix.length));
      if (tensor === undefined) throw new Error(`${key} is missing`);
      expect(tensor.shape, key).toEqual(golden.shape);
      expect(bits(tensor), key).toEqual(bits(golden));
      // The golden file stores bf16 and the small integers in wider types; all others must be the same bytes.
      if (tensor.elementType === golden.elementType) expect(Buffer.compare(tensor.bytes, golden.bytes), key).toBe(0);
      else expect(["BF16", "I16", "I8"], key).toContain(tensor.elementType);
    }
  });
});

// A small assembler of pickles, for what PyTorch itself would never write.
const text = (value: string): number[] => {
  const bytes = [...new TextEncoder().encode(value)];
  return [0x58, ...int32(bytes.length).slice(1), ...bytes];
};
function int32(value: number): number[] {
  return [0x4a, value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];
}
const tuple = (...items: number[][]): number[] => [0x28, ...items.flat(), 0x74];
const named = (module: string, name: string): number[] => [0x63, ...new TextEncoder().encode(`${module}\n${name}\n`)];
const pickle = (...parts: number[][]): number[] => [0x80, 2, ...parts.flat(), 0x2e];
const storage = (length: number, type = "FloatStorage"): number[] => [
  ...tuple(text("storage"), named("torch", type), text("0"), text("cpu"), int32(length)),
  0x51,
];
const tensor = (from: number[], offset: number[], shape: number[][], strides: number[][]): number[] => [
  ...named("torch._utils", "_rebuild_tensor_v2"),
  ...tuple(from, offset, tuple(...shape), tuple(...strides), [0x89], [0x4e]),
  0x52,
];
const dictionary = (...items: [string, number[]][]): number[] => [
  0x7d,
  0x28,
  ...items.flatMap(([key, value]) => [...text(key), ...value]),
  0x75,
];
const zip = (object: number[], floats = 4): Uint8Array =>
  zipSync({ "x/data.pkl": Uint8Array.from(pickle(object)), "x/data/0": new Uint8Array(4 * floats) }, { level: 0 });

describe("hostile PyTorch files", () => {
  it.each(["runs_command_zip.pth", "runs_command_legacy.pth", "runs_command.pkl"])("%s is refused and runs nothing", (name) => {
    expect(() => read(name)).toThrow(
      expect.objectContaining({ code: "UNSAFE_PICKLE", message: expect.stringMatching(/(posix|os|nt)\.system.*Nothing was executed/) }),
    );
    expect(existsSync("sinter-was-here")).toBe(false);
  });

  it.each([
    ["os", "system"],
    ["builtins", "eval"],
    ["builtins", "getattr"],
    ["subprocess", "Popen"],
    ["torch.storage", "_load_from_bytes"],
    ["torch", "load"],
    ["collections", "OrderedDict.__reduce__"],
  ])("the name %s.%s is refused", (module, name) => {
    expect(() => readCheckpoint(zip(named(module, name)), "x.pth")).toThrow(
      expect.objectContaining({ code: "UNSAFE_PICKLE", message: expect.stringContaining(`${module}.${name}`) }),
    );
  });

  const four = storage(4);
  it.each<[string, number[], string]>([
    ["negative strides", tensor(four, int32(3), [int32(4)], [int32(-1)]), "CORRUPT_CHECKPOINT"],
    ["a negative size", tensor(four, int32(0), [int32(-4)], [int32(1)]), "CORRUPT_CHECKPOINT"],
    ["a negative offset", tensor(four, int32(-1), [int32(2)], [int32(1)]), "CORRUPT_CHECKPOINT"],
    ["a tensor past its storage", tensor(four, int32(1), [int32(4)], [int32(1)]), "CORRUPT_CHECKPOINT"],
    ["a stride past its storage", tensor(four, int32(0), [int32(2)], [int32(4)]), "CORRUPT_CHECKPOINT"],
    ["a gigantic broadcast", tensor(four, int32(0), [int32(2 ** 30), int32(2 ** 30)], [int32(0), int32(0)]), "CORRUPT_CHECKPOINT"],
    ["fewer strides than sizes", tensor(four, int32(0), [int32(1), int32(1)], [int32(1)]), "CORRUPT_CHECKPOINT"],
    ["a storage that is longer than its bytes", tensor(storage(5), int32(0), [int32(5)], [int32(1)]), "CORRUPT_CHECKPOINT"],
    ["a tensor without a storage", tensor(text("0"), int32(0), [int32(1)], [int32(1)]), "CORRUPT_CHECKPOINT"],
    ["complex numbers", tensor(storage(2, "ComplexFloatStorage"), int32(0), [int32(1)], [int32(1)]), "UNSUPPORTED_CHECKPOINT"],
  ])("%s", (_, object, expected) => {
    expect(() => readCheckpoint(zip(dictionary(["w", object])), "x.pth")).toThrow(code(expected));
  });

  it.each<[string, number[]]>([
    ["an empty stack", [0x52]],
    ["a missing mark", [0x74]],
    ["a value that was never stored", [0x68, 9]],
    ["an unknown opcode", [0xff]],
    ["a call of text", [...text("print"), 0x29, 0x52]],
    ["an integer of 2 GB", [0x8b, 0xff, 0xff, 0xff, 0x7f]],
    ["text longer than the file", [0x58, 0xff, 0xff, 0xff, 0xff]],
    ["text that is not UTF-8", [0x58, 1, 0, 0, 0, 0xff]],
    ["items of a number", [0x28, ...int32(1), 0x75]],
    ["no end", [0x4e, 0x4e]],
  ])("a pickle with %s is damaged", (_, opcodes) => {
    const file = Uint8Array.from([0x80, 2, ...opcodes]);
    expect(() => readCheckpoint(file, "x.pth")).toThrow(code("CORRUPT_CHECKPOINT"));
  });

  it("a dictionary that contains itself, and lists nested 200,000 deep, end", () => {
    // state_dict = {"state_dict": itself}: stored in the memo before it is filled.
    const endless = [0x7d, 0x71, 0, ...text("state_dict"), 0x68, 0, 0x73];
    expect(() => readCheckpoint(zip(endless), "x.pth")).toThrow(code("NOT_A_CHECKPOINT"));
    const depth = 200_000;
    const nested = Array.from({ length: 2 * depth - 1 }, (_, i) => (i < depth ? 0x5d : 0x61));
    expect(() => readCheckpoint(zip(nested), "x.pth")).toThrow(code("NOT_A_CHECKPOINT"));
  });

  it("a zip that is cut short anywhere", () => {
    const whole = readFileSync(join(fixtures, "odd_zip.pth"));
    for (let length = 4; length < whole.length; length += 37) {
      expect(() => readCheckpoint(whole.subarray(0, length), "x.pth"), `${length} bytes`).toThrow(code("CORRUPT_CHECKPOINT"));
    }
  });

  it("a legacy file that is cut short anywhere", () => {
    const whole = readFileSync(join(fixtures, "odd_legacy.pth"));
    for (let length = 2; length < whole.length; length += 7) {
      expect(() => readCheckpoint(whole.subarray(0, length), "x.pth"), `${length} bytes`).toThrow(code("CORRUPT_CHECKPOINT"));
    }
  });

  it("a zip bomb is refused by its declared sizes", () => {
    const object = dictionary(["w", tensor(storage(25_000_000), int32(0), [int32(25_000_000)], [int32(1)])]);
    const content = { "x/data.pkl": Uint8Array.from(pickle(object)), "x/data/0": new Uint8Array(100_000_000) };
    const bomb = zipSync(content, { level: 1 });
    expect(bomb.length).toBeLessThan(300_000);
    expect(() => readCheckpoint(bomb, "x.pth")).toThrow(/would unpack to more than/);
  });

  it("other zips, TorchScript programs and big-endian files are told apart", () => {
    const content = Uint8Array.from(pickle(dictionary(["w", tensor(four, int32(0), [int32(4)], [int32(1)])])));
    const data = new Uint8Array(16);
    expect(readCheckpoint(zipSync({ "x/data.pkl": content, "x/data/0": data }), "x.pth").tensors.size).toBe(1);
    expect(() => readCheckpoint(zipSync({ "a.txt": data }), "x.zip")).toThrow(code("NOT_A_CHECKPOINT"));
    const script = zipSync({ "x/data.pkl": content, "x/constants.pkl": data });
    expect(() => readCheckpoint(script, "x.pt")).toThrow(/TorchScript/);
    const big = zipSync({ "x/data.pkl": content, "x/data/0": data, "x/byteorder": new TextEncoder().encode("big") });
    expect(() => readCheckpoint(big, "x.pth")).toThrow(/little-endian/);
    expect(() => readCheckpoint(zipSync({ "x/data.pkl": content }), "x.pth")).toThrow(/storage 0 of "w" is missing/);
  });

  it.each<[string, string, RegExp]>([
    ["an empty file", "", /empty/],
    ["a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", /Git LFS pointer/],
    ["a web page", "<!DOCTYPE html><html>", /web page/],
    ["a text", "hello, world, this is no checkpoint", /neither/],
  ])("%s is no checkpoint", (_, content, message) => {
    expect(() => readCheckpoint(new TextEncoder().encode(content), "x.pth")).toThrow(
      expect.objectContaining({ code: "NOT_A_CHECKPOINT", message: expect.stringMatching(message) }),
    );
  });

  it.each(["odd_zip.pth", "odd_legacy.pth", "odd_deflated.pth", "wrapped_protocol4.pth"])("%s survives the corruption of any byte", (name) => {
    const whole = readFileSync(join(fixtures, name));
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const bytes = Uint8Array.from(whole);
        bytes[at] = (bytes[at] ?? 0) ^ change;
        try {
          readCheckpoint(bytes, "x.pth");
        } catch (error) {
          expect(error).toBeInstanceOf(SinterError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
