import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readCheckpoint } from "../../src/checkpoints/read.ts";
import { readSafetensors, writeSafetensors } from "../../src/checkpoints/safetensors.ts";
import { elementBytes } from "../../src/checkpoints/tensor.ts";
import type { Checkpoint, ElementType, StoredTensor } from "../../src/checkpoints/tensor.ts";
import { SinterError } from "../../src/errors.ts";

function file(header: unknown, dataBytes: number): Uint8Array {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

const entry = (begin: number, end: number, shape: unknown = [(end - begin) / 4]): unknown => ({
  dtype: "F32",
  shape,
  data_offsets: [begin, end],
});

const anyCheckpoint: fc.Arbitrary<Checkpoint> = fc.record({
  tensors: fc
    .array(
      fc.tuple(
        fc.string({ unit: "binary" }).filter((name) => name !== "__metadata__"),
        fc.constantFrom(...(Object.keys(elementBytes) as ElementType[])),
        fc.array(fc.nat(3), { maxLength: 4 }),
      ),
      { maxLength: 6 },
    )
    .chain((list) =>
      fc.tuple(
        ...list.map(([name, elementType, shape]) => {
          const length = shape.reduce((a, b) => a * b, 1) * elementBytes[elementType];
          const bytes = fc.uint8Array({ minLength: length, maxLength: length });
          return bytes.map((content): [string, StoredTensor] => [name, { elementType, shape, bytes: content }]);
        }),
      ),
    )
    .map((list) => new Map(list)),
  metadata: fc.dictionary(fc.string({ unit: "binary" }), fc.string(), { maxKeys: 4, noNullPrototype: true }),
});

describe("safetensors", () => {
  it("reads back what it writes, aligned and independent of insertion order", () => {
    fc.assert(
      fc.property(anyCheckpoint, (checkpoint) => {
        const written = writeSafetensors(checkpoint);
        const back = readCheckpoint(written, "x.safetensors");
        expect(back.metadata).toEqual(checkpoint.metadata);
        expect(back.tensors.size).toBe(checkpoint.tensors.size);
        for (const [name, { elementType, shape, bytes }] of checkpoint.tensors) {
          const read = back.tensors.get(name);
          expect(read?.elementType).toBe(elementType);
          expect(read?.shape).toEqual(shape);
          expect([...(read?.bytes ?? [])]).toEqual([...bytes]);
          expect((read?.bytes.byteOffset ?? 1) % elementBytes[elementType]).toBe(0);
        }
        const reversed = { ...checkpoint, tensors: new Map([...checkpoint.tensors].toReversed()) };
        expect(writeSafetensors(reversed)).toEqual(written);
      }),
      { numRuns: 200 },
    );
  });

  it("does not copy", () => {
    const bytes = file({ a: entry(0, 8) }, 8);
    expect(readSafetensors(bytes, "x").tensors.get("a")?.bytes.buffer).toBe(bytes.buffer);
  });

  it("reads a header of 640 bytes, which begins like a pickle", () => {
    const header = JSON.stringify({ a: entry(0, 4) });
    expect(readCheckpoint(file(header.padEnd(640), 4), "x").tensors.size).toBe(1);
  });

  it.each<[string, unknown, number, RegExp]>([
    ["overlapping tensors", { a: entry(0, 8), b: entry(4, 12) }, 12, /"b" begins at byte 4, inside/],
    ["a hole", { a: entry(0, 4), b: entry(8, 12) }, 12, /bytes 4 to 8, before "b"/],
    ["a hole at the start", { a: entry(4, 8) }, 8, /bytes 0 to 4/],
    ["trailing bytes", { a: entry(0, 4) }, 6, /2 bytes after the last tensor/],
    ["offsets past the end", { a: entry(0, 8) }, 4, /ends at byte 8 of the data, which has 4/],
    ["offsets the wrong way round", { a: entry(8, 4, []) }, 8, /needs 4 bytes, and has -4/],
    ["negative offsets", { a: { dtype: "F32", shape: [], data_offsets: [-4, 0] } }, 4, /data_offsets/],
    ["one offset", { a: { dtype: "F32", shape: [], data_offsets: [0] } }, 4, /data_offsets/],
    ["fractional offsets", { a: { dtype: "F32", shape: [], data_offsets: [0.5, 4.5] } }, 4, /data_offsets/],
    ["bytes that do not fill the shape", { a: entry(0, 4, [2]) }, 4, /shape \[2\] and type F32 needs 8 bytes, and has 4/],
    ["a shape that overflows", { a: entry(0, 0, [2 ** 40, 2 ** 40]) }, 0, /needs/],
    ["a negative size", { a: entry(0, 0, [-1, 0]) }, 0, /shape of "a"/],
    ["no shape", { a: { dtype: "F32", data_offsets: [0, 4] } }, 4, /shape of "a"/],
    ["no type", { a: { shape: [], data_offsets: [0, 4] } }, 4, /no dtype/],
    ["an entry that is a number", { a: 3 }, 0, /entry of "a"/],
    ["metadata that is a number", { __metadata__: { steps: 3 } }, 0, /strings only/],
    ["metadata that is a list", { __metadata__: [] }, 0, /__metadata__/],
    ["a name twice", '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\\u0061":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4, /names "a" twice/],
    ["bad JSON", '{"a":', 0, /not JSON/],
    ["a list for a header", "[1]", 0, /not a JSON object/],
    ["bytes that are not UTF-8", '{"a": 1', 0, /not JSON/],
  ])("refuses %s", (_, header, dataBytes, message) => {
    expect(() => readSafetensors(file(header, dataBytes), "x.safetensors")).toThrow(
      expect.objectContaining({ code: "CORRUPT_CHECKPOINT", message: expect.stringMatching(message), where: "x.safetensors" }),
    );
  });

  it("refuses a gigantic header, a truncated file and an unknown type", () => {
    const gigantic = file("{}", 0);
    gigantic.fill(0xff, 0, 8);
    expect(() => readCheckpoint(gigantic, "x")).toThrow(/declared as 18446744073709551615 bytes in a file of 10/);
    const whole = file({ a: entry(0, 400) }, 400);
    for (const length of [3, 8, 20, 300]) {
      expect(() => readCheckpoint(whole.subarray(0, length), "x.safetensors")).toThrow(
        expect.objectContaining({ code: "CORRUPT_CHECKPOINT" }),
      );
    }
    const float8 = file({ a: { dtype: "F8_E4M3", shape: [4], data_offsets: [0, 4] } }, 4);
    expect(() => readSafetensors(float8, "x")).toThrow(expect.objectContaining({ code: "UNSUPPORTED_CHECKPOINT" }));
  });

  it("takes a name of many megabytes", () => {
    const name = "\\n".repeat(10_000_000);
    const header = `{"${name}":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`;
    expect(readSafetensors(file(header, 4), "x").tensors.size).toBe(1);
  });

  it("refuses to write a tensor whose bytes do not fill its shape", () => {
    const tensors = new Map([["a", { elementType: "F32", shape: [2], bytes: new Uint8Array(4) } as const]]);
    expect(() => writeSafetensors({ tensors, metadata: {} })).toThrow(expect.objectContaining({ code: "SIZE_MISMATCH" }));
  });

  it("survives the corruption of any byte", () => {
    const tensors = new Map<string, StoredTensor>([
      ["first.weight", { elementType: "F32", shape: [2, 3], bytes: new Uint8Array(24).fill(7) }],
      ["second", { elementType: "F16", shape: [], bytes: new Uint8Array(2) }],
    ]);
    const whole = writeSafetensors({ tensors, metadata: { model: "refusion", note: "\u{1f600}" } });
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const bytes = whole.slice();
        bytes[at] = (bytes[at] ?? 0) ^ change;
        try {
          readCheckpoint(bytes, "x.safetensors");
        } catch (error) {
          expect(error).toBeInstanceOf(SinterError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
