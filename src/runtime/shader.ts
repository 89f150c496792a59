import { ResourceType, WgslReflect } from "wgsl_reflect/wgsl_reflect.module.js";
import { SinterError } from "../errors.ts";

/** Values for the names that a kernel declares with `#define`. */
export type Defines = Readonly<Record<string, number>>;

/** One member of a uniform struct: its byte offset, and its scalar type or its own members. */
export interface UniformMember {
  readonly name: string;
  readonly offset: number;
  readonly type: "u32" | "i32" | "f32" | readonly UniformMember[];
}

export interface ShaderBinding {
  readonly name: string;
  readonly binding: number;
  readonly type: GPUBufferBindingType;
  /** Members of a uniform struct; empty for storage buffers and for uniform arrays. */
  readonly members: readonly UniformMember[];
  /** Bytes of a uniform; 0 for storage buffers. */
  readonly size: number;
}

/** What a WGSL text declares: TypeScript never repeats it. */
export interface ShaderInterface {
  readonly entryPoint: string;
  readonly bindings: readonly ShaderBinding[];
  /** Names of `override` constants; those without an initialiser must be given. */
  readonly overrides: readonly { readonly name: string; readonly required: boolean }[];
}

/**
 * The `#if` step. Directives, each on a line of its own:
 *
 *     #define NAME 4      declares a named integer and its default; `defines` may give another value
 *     #if NAME            keeps the following lines when NAME is not 0 (`#if !NAME`: when it is 0)
 *     #else
 *     #endif
 *     #for i COUNT        repeats the following lines in braces with the identifier i replaced by 0, 1, … COUNT − 1;
 *     #endfor             COUNT is a number or a declared name
 *
 * After that every identifier NAME in the text is replaced by its value. Blocks may be nested. `#for` is for loops over
 * registers: drivers keep an array in registers only where all its indices are constants, and few unroll nested loops.
 *
 * @throws SinterError `SHADER_PREPROCESS` for an undeclared name, an unbalanced block or an unknown directive.
 */
export function preprocess(source: string, defines: Defines, where: string): string {
  const fail = (message: string): never => {
    throw new SinterError("SHADER_PREPROCESS", `${where}: ${message}`, { where });
  };
  const values = new Map<string, number>();
  const lines = source.split("\n");
  let position = 0;

  /** Reads up to the end of a block and returns the lines kept; `active` is whether the block is kept at all. */
  const block = (active: boolean, ends: readonly string[]): { kept: string[]; end: string } => {
    const kept: string[] = [];
    while (position < lines.length) {
      const line = lines[position++] ?? "";
      const directive = /^\s*#(\w+)\s*(.*?)\s*$/.exec(line);
      if (!directive) {
        if (active) kept.push(line);
        continue;
      }
      const [, name = "", rest = ""] = directive;
      if (ends.includes(name)) return { kept, end: name };
      if (name === "define") {
        const [, key = "", value = ""] = /^(\w+)\s+(-?\d+)$/.exec(rest) ?? fail(`expected "#define NAME integer", found "${line}"`);
        if (active) values.set(key, defines[key] ?? Number(value));
      } else if (name === "if") {
        const [, not = "", key = ""] = /^(!?)(\w+)$/.exec(rest) ?? fail(`expected "#if NAME", found "${line}"`);
        const value = values.get(key) ?? fail(`"#if ${key}" before "#define ${key}"`);
        const chosen = (value !== 0) !== (not === "!");
        const first = block(active && chosen, ["else", "endif"]);
        kept.push(...first.kept);
        if (first.end === "else") kept.push(...block(active && !chosen, ["endif"]).kept);
      } else if (name === "for") {
        const [, variable = "", count = ""] = /^([a-z_]+)\s+(\w+)$/.exec(rest) ?? fail(`expected "#for i COUNT", found "${line}"`);
        const times = /^\d+$/.test(count) ? Number(count) : (values.get(count) ?? fail(`"#for" before "#define ${count}"`));
        const { kept: body } = block(active, ["endfor"]);
        const word = new RegExp(`\\b${variable}\\b`, "g");
        if (active) for (let i = 0; i < times; i++) kept.push("{", ...body.map((text) => text.replace(word, `${i}u`)), "}");
      } else {
        fail(`"#${name}" is unknown or has no beginning`);
      }
    }
    if (ends.length > 0) fail(`a block ends without "#${ends.join('" or "#')}"`);
    return { kept, end: "" };
  };

  const { kept } = block(true, []);
  for (const key of Object.keys(defines)) {
    if (!values.has(key)) fail(`"${key}" is given a value but the text does not declare it`);
  }
  return kept.join("\n").replace(/\b[A-Z][A-Z0-9_]*\b/g, (word) => values.get(word)?.toString() ?? word);
}

type ReflectedMember = WgslReflect["structs"][number]["members"][number];

function uniformMembers(members: readonly ReflectedMember[]): UniformMember[] {
  return members.map(({ name, offset, type }) => {
    const nested = (type as { members?: readonly ReflectedMember[] }).members;
    if (nested) return { name, offset, type: uniformMembers(nested) };
    if (type.name === "u32" || type.name === "i32" || type.name === "f32") return { name, offset, type: type.name };
    throw new SinterError("SHADER_INTERFACE", `uniform member ${name} has type ${type.name}; expected u32, i32, f32 or a struct`);
  });
}

/** The text with empty bodies of functions. */
function withoutBodies(code: string): string {
  const text = code.replace(/\/\/.*/g, "");
  let shell = "";
  let from = 0;
  for (const { index } of text.matchAll(/\bfn\s/g)) {
    const begin = text.indexOf("{", index);
    let end = begin + 1;
    for (let depth = 1; depth > 0 && end < text.length; end++) {
      if (text[end] === "{") depth++;
      if (text[end] === "}") depth--;
    }
    shell += `${text.slice(from, begin)}{}`;
    from = end;
  }
  return shell + text.slice(from);
}

/**
 * Reads the bindings, overrides and entry point from a text without `#` directives. Bodies of functions are not read: they declare nothing,
 * are most of the text, and may be of subgroup matrices, which wgsl_reflect cannot parse.
 */
export function reflectShader(code: string, where: string): ShaderInterface {
  let reflect: WgslReflect;
  try {
    reflect = new WgslReflect(withoutBodies(code));
  } catch (cause) {
    throw new SinterError("SHADER_INTERFACE", `${where}: ${String(cause)}`, { where, cause });
  }
  const entry = reflect.entry.compute[0];
  if (!entry || reflect.entry.compute.length !== 1) {
    throw new SinterError("SHADER_INTERFACE", `${where}: expected one @compute entry point, found ${reflect.entry.compute.length}`);
  }
  const group = reflect.getBindGroups()[0] ?? [];
  const bindings = group.filter(Boolean).map((variable): ShaderBinding => {
    if (variable.resourceType === ResourceType.Uniform) {
      const members = uniformMembers((variable.type as { members?: readonly ReflectedMember[] }).members ?? []);
      return { name: variable.name, binding: variable.binding, type: "uniform", members, size: variable.size };
    }
    const type = variable.access === "read" || variable.access === "" ? "read-only-storage" : "storage";
    return { name: variable.name, binding: variable.binding, type, members: [], size: 0 };
  });
  const overrides = reflect.overrides.map((override) => ({
    name: override.name,
    required: !new RegExp(`override\\s+${override.name}\\b[^;]*=`).test(code),
  }));
  return { entryPoint: entry.name, bindings, overrides };
}

/** Values for a uniform struct, by member name; nested structs are nested records. */
export interface UniformValues {
  readonly [name: string]: number | UniformValues;
}

/**
 * Writes `values` into `view` at the offsets the shader declares.
 *
 * @throws SinterError `SHADER_INTERFACE` naming a member that is missing or not declared.
 */
export function writeUniforms(view: DataView, base: number, members: readonly UniformMember[], values: UniformValues, where: string): void {
  const given = new Set(Object.keys(values));
  for (const { name, offset, type } of members) {
    const value = values[name];
    given.delete(name);
    if (typeof type !== "string") {
      if (typeof value !== "object") throw new SinterError("SHADER_INTERFACE", `${where}: uniform ${name} needs a record of members`);
      writeUniforms(view, base + offset, type, value, `${where}.${name}`);
      continue;
    }
    if (typeof value !== "number") throw new SinterError("SHADER_INTERFACE", `${where}: no value for uniform ${name}`);
    if (type === "f32") view.setFloat32(base + offset, value, true);
    else if (type === "u32") view.setUint32(base + offset, value, true);
    else view.setInt32(base + offset, value, true);
  }
  if (given.size > 0) {
    throw new SinterError("SHADER_INTERFACE", `${where}: the shader declares no uniform ${[...given].join(", ")}`);
  }
}
