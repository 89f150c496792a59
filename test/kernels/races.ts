import { detectRaces } from "wgsl_reflect/wgsl_reflect.module.js";
import type { PlannedDispatch } from "../../src/graph/plan.ts";
import type { Constant } from "../../src/kernels/kernel.ts";
import { writeUniforms } from "../../src/runtime/shader.ts";

type BindGroup = Record<string, ArrayBuffer | { uniform: ArrayBuffer }>;

/** A launch of a kernel in the interpreter of wgsl_reflect. */
export interface Run {
  /** WGSL with constants in place of overrides: the interpreter sizes workgroup arrays before it applies overrides. */
  readonly code: string;
  readonly entryPoint: string;
  readonly workgroups: readonly [number, number, number];
  readonly bindings: BindGroup;
}

/** Fewer lanes than on a GPU, for speed: the pattern of the reduction is the same. */
export const LANES = 8;

export function withConstants(code: string, constants: Readonly<Record<string, number>>): string {
  return code.replace(/override (\w+): u32( = [^;]+)?;/g, (_, name: string, initialiser?: string) => {
    const value = constants[name];
    return `const ${name}: u32${value === undefined ? initialiser : ` = ${value}u`};`;
  });
}

function packed({ length, pack }: Constant): ArrayBuffer {
  const values = new Float32Array(length * 4);
  pack(values);
  return values.buffer;
}

/** A planned dispatch as the interpreter takes it, all tensors zero. */
export function runOf({ code, shader, constants, uniforms, places, workgroups }: PlannedDispatch): Run {
  const bindings: BindGroup = {};
  for (const { name, binding, members, size } of shader.bindings) {
    if (members.length > 0) {
      const uniform = new ArrayBuffer(Math.ceil(size / 16) * 16);
      writeUniforms(new DataView(uniform), 0, members, uniforms, name);
      bindings[binding] = { uniform };
      continue;
    }
    const place = places[name];
    if (!place) throw new Error(`nothing is bound to ${name}`);
    bindings[binding] = "size" in place ? new ArrayBuffer(place.size) : packed(place.constant);
  }
  return { code: withConstants(code, { ...constants, LANES }), entryPoint: shader.entryPoint, workgroups, bindings };
}

/**
 * What the interpreter finds: two lanes that touch the same bytes, at least one writing, without a barrier between them.
 * A software adapter's lanes run in lockstep and hide that.
 */
export const findRaces = ({ code, entryPoint, workgroups, bindings }: Run): ReturnType<typeof detectRaces> => detectRaces(code, entryPoint, [...workgroups], { 0: bindings });
