import { describe, expect, it } from "vitest";
import { preprocess, reflectShader, writeUniforms } from "../../src/runtime/shader.ts";

/** Lines that are left after the `#if` step, without the empty ones. */
const lines = (source: string, defines: Record<string, number> = {}): string[] =>
  preprocess(source, defines, "kernel")
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

describe("preprocess", () => {
  it("replaces declared names as whole words, by their default or the value given", () => {
    const source = "#define TILE 4\n#define TILES -2\nlet a = TILE + TILES + TILE_ROWS + MY_TILE + tile;";
    expect(lines(source)).toEqual(["let a = 4 + -2 + TILE_ROWS + MY_TILE + tile;"]);
    expect(lines(source, { TILE: 8 })).toEqual(["let a = 8 + -2 + TILE_ROWS + MY_TILE + tile;"]);
  });

  it("keeps one side of #if", () => {
    const source = "#define F16 0\na\n#if F16\nb\n#else\nc\n#endif\n#if !F16\nd\n#endif\ne";
    expect(lines(source)).toEqual(["a", "c", "d", "e"]);
    expect(lines(source, { F16: 1 })).toEqual(["a", "b", "e"]);
  });

  it("nests blocks", () => {
    const source = "#define A 1\n#define B 0\n#if A\n  #if B\n  ab\n  #else\n  a\n  #endif\n#else\n  #if B\n  b\n  #else\n  none\n  #endif\n#endif";
    expect(lines(source)).toEqual(["a"]);
    expect(lines(source, { B: 1 })).toEqual(["ab"]);
    expect(lines(source, { A: 0 })).toEqual(["none"]);
    expect(lines(source, { A: 0, B: 1 })).toEqual(["b"]);
  });

  it("repeats the lines of #for in braces, with the variable as an unsigned number", () => {
    expect(lines("#define N 2\n#for i N\nx[i] = i + index;\n#endfor")).toEqual(["{", "x[0u] = 0u + index;", "}", "{", "x[1u] = 1u + index;", "}"]);
    expect(lines("#for i 0\nx\n#endfor\ny")).toEqual(["y"]);
  });

  it("nests #for, and #if within it", () => {
    const source = "#define GATED 1\n#for r 2\n#for c 2\nx[r][c]\n#endfor\n#if GATED\ng[r]\n#endif\n#endfor";
    expect(lines(source).filter((line) => !/[{}]/.test(line))).toEqual(["x[0u][0u]", "x[0u][1u]", "g[0u]", "x[1u][0u]", "x[1u][1u]", "g[1u]"]);
  });

  it("ignores definitions and repeats nothing in a part that is dropped", () => {
    expect(lines("#define A 0\n#define N 3\n#if A\n#define N 5\n#for i N\nx\n#endfor\n#endif\nN")).toEqual(["3"]);
  });

  it.each([
    ["#if NAME\n#endif", '"#if NAME" before "#define NAME"'],
    ["#define NAME 1\n#if NAME == 1\n#endif", 'expected "#if NAME", found "#if NAME == 1"'],
    ["#define NAME\n", 'expected "#define NAME integer", found "#define NAME"'],
    ["#define NAME 1.5\n", 'expected "#define NAME integer"'],
    ["#for i COUNT\n#endfor", '"#for" before "#define COUNT"'],
    ["#for 3\n#endfor", 'expected "#for i COUNT", found "#for 3"'],
    ["#define A 1\n#if A\nx", 'a block ends without "#else" or "#endif"'],
    ["#define A 1\n#if A\n#else\nx", 'a block ends without "#endif"'],
    ["#for i 2\nx", 'a block ends without "#endfor"'],
    ["#define A 1\n#for i 2\n#if A\n#endfor\n#endif", '"#endfor" is unknown or has no beginning'],
    ["x\n#endif", '"#endif" is unknown or has no beginning'],
    ["#else", '"#else" is unknown or has no beginning'],
    ["#include other", '"#include" is unknown or has no beginning'],
  ])("refuses %j", (source, message) => {
    expect(() => preprocess(source, {}, "kernels/some")).toThrow(expect.objectContaining({ code: "SHADER_PREPROCESS", where: "kernels/some", message: expect.stringContaining(`kernels/some: ${message}`) }));
  });

  it("refuses a value for a name that the text does not declare", () => {
    expect(() => preprocess("#define A 1", { B: 2 }, "kernel")).toThrow('kernel: "B" is given a value but the text does not declare it');
  });
});

const SHADER = `
enable f16;
override LANES: u32 = 64;
override ROWS: u32;
override DOUBLE: u32 = ROWS * 2u;
struct View { width: u32, offset: i32 }
struct Params { first: View, scale: f32, second: View, }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> input: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
var<workgroup> tile: array<f32, LANES>;
@compute @workgroup_size(LANES)
fn scale_rows(@builtin(global_invocation_id) id: vec3<u32>) { output[id.x] = f32(input[id.x].x) * params.scale; }
`;

describe("reflectShader", () => {
  it("reads bindings, overrides, the entry point and the uniform struct with its offsets", () => {
    expect(reflectShader(SHADER, "scale")).toEqual({
      entryPoint: "scale_rows",
      overrides: [
        { name: "LANES", required: false },
        { name: "ROWS", required: true },
        { name: "DOUBLE", required: false },
      ],
      bindings: [
        {
          name: "params",
          binding: 0,
          type: "uniform",
          size: 20,
          members: [
            { name: "first", offset: 0, type: [{ name: "width", offset: 0, type: "u32" }, { name: "offset", offset: 4, type: "i32" }] },
            { name: "scale", offset: 8, type: "f32" },
            { name: "second", offset: 12, type: [{ name: "width", offset: 0, type: "u32" }, { name: "offset", offset: 4, type: "i32" }] },
          ],
        },
        { name: "output", binding: 2, type: "storage", members: [], size: 0 },
        { name: "input", binding: 3, type: "read-only-storage", members: [], size: 0 },
      ],
    });
  });

  it("refuses a text that does not parse, has no entry point or several", () => {
    expect(() => reflectShader("fn f( {", "broken")).toThrow(expect.objectContaining({ code: "SHADER_INTERFACE", where: "broken" }));
    expect(() => reflectShader("fn f() {}", "none")).toThrow("none: expected one @compute entry point, found 0");
    expect(() => reflectShader("@compute @workgroup_size(1) fn a() {}\n@compute @workgroup_size(1) fn b() {}", "two")).toThrow("two: expected one @compute entry point, found 2");
  });

  it("does not read the body of the entry point, which may be of what wgsl_reflect cannot parse", () => {
    const body = "{ let left = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, 0u, 16u); }";
    const code = `@group(0) @binding(1) var<storage, read> x: array<f32>;\n@compute @workgroup_size(32) fn f(@builtin(subgroup_id) id: u32) ${body}`;
    expect(reflectShader(code, "matrix")).toMatchObject({ entryPoint: "f", bindings: [{ name: "x", binding: 1, type: "read-only-storage" }] });
  });

  it("refuses a uniform that it cannot write", () => {
    const code = "struct P { v: vec4<f32> }\n@group(0) @binding(0) var<uniform> p: P;\n@compute @workgroup_size(1) fn f() { _ = p.v; }";
    expect(() => reflectShader(code, "vector")).toThrow(/uniform member v has type vec4.*expected u32, i32, f32 or a struct/);
  });
});

describe("writeUniforms", () => {
  const members = reflectShader(SHADER, "scale").bindings[0]?.members ?? [];
  const values = { first: { width: 7, offset: -3 }, scale: 0.5, second: { width: 9, offset: 11 } };

  it("writes each number at its offset, in its type", () => {
    const view = new DataView(new ArrayBuffer(32));
    writeUniforms(view, 8, members, values, "scale");
    expect([view.getUint32(8, true), view.getInt32(12, true), view.getFloat32(16, true), view.getUint32(20, true), view.getInt32(24, true)]).toEqual([7, -3, 0.5, 9, 11]);
  });

  it("names what is missing and what is not declared", () => {
    const view = new DataView(new ArrayBuffer(32));
    const write = (given: object) => () => writeUniforms(view, 0, members, given as typeof values, "scale");
    expect(write({ ...values, scale: undefined })).toThrow("scale: no value for uniform scale");
    expect(write({ ...values, first: 1 })).toThrow("scale: uniform first needs a record of members");
    expect(write({ ...values, second: { width: 1 } })).toThrow("scale.second: no value for uniform offset");
    expect(write({ ...values, rows: 1 })).toThrow("scale: the shader declares no uniform rows");
  });
});
