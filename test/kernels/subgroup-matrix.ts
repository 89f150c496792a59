import type { Kernel } from "../../src/kernels/kernel.ts";

/** Lanes of an emulated subgroup: few, so that a small tile has several subgroups. */
export const EMULATED_LANES = 8;

/**
 * A kernel of subgroup matrices as one for any device: its own text, with the matrix operations alone replaced, in f32.
 * Software adapters have no such matrices, and everything around them (staging, strides, rests, the sums' way to memory) can go wrong.
 *
 * A left or right matrix becomes its place in workgroup memory, which does not change before it is used: number of the array, 1 if
 * column by column, offset, stride. Of a matrix of sums each lane keeps every so-many-th vector of four columns.
 *
 * @param arrays workgroup arrays that left and right matrices are loaded from
 * @param result workgroup array in which sums are stored
 */
export function emulateSubgroupMatrices({ name, code }: Kernel, arrays: readonly string[], result: string): Kernel {
  const emulation = `
alias Sums = array<vec4<f32>, M * N / ${4 * EMULATED_LANES}>;

fn matrix_vector(place: vec4<u32>, line: u32, column: u32) -> vec4<f32> {
  let index = place.z + line * place.w + column;
${arrays.map((array, i) => `  if (place.x == ${i}u) { return ${array}[index]; }`).join("\n")}
  return vec4<f32>();
}

fn multiply_accumulate(lane: u32, a: vec4<u32>, b: vec4<u32>, c: Sums) -> Sums {
  var sums = c;
  for (var e = 0u; e < M * N / ${4 * EMULATED_LANES}u; e++) {
    let element = lane + e * ${EMULATED_LANES}u;
    let column = element % (N / 4u);
    for (var k = 0u; k < K / 4u; k++) {
      let x = matrix_vector(a, element / (N / 4u), k);
      var y: array<vec4<f32>, 4>;
      if (b.y == 0u) {
        for (var j = 0u; j < 4u; j++) { y[j] = matrix_vector(b, k * 4u + j, column); }
        sums[e] = sums[e] + x.x * y[0] + x.y * y[1] + x.z * y[2] + x.w * y[3];
      } else {
        for (var j = 0u; j < 4u; j++) { y[j] = matrix_vector(b, column * 4u + j, k); }
        sums[e] = sums[e] + vec4<f32>(dot(x, y[0]), dot(x, y[1]), dot(x, y[2]), dot(x, y[3]));
      }
    }
  }
  return sums;
}

fn store_sums(lane: u32, offset: u32, sums: Sums, stride: u32) {
  for (var e = 0u; e < M * N / ${4 * EMULATED_LANES}u; e++) {
    let element = lane + e * ${EMULATED_LANES}u;
    ${result}[offset + element / (N / 4u) * stride + element % (N / 4u)] = sums[e];
  }
}
`;
  const emulated = code
    .replace(/enable (chromium_experimental_subgroup_matrix|subgroups);\n/g, "")
    .replace(/subgroupMatrixLoad<subgroup_matrix_(?:left|right)<f16, \w, \w>, (row|col)_major>\(&(\w+), /g, (_, major: string, array: string) => {
      if (!arrays.includes(array)) throw new Error(`a matrix of ${name} is loaded from ${array}`);
      return `vec4<u32>(${arrays.indexOf(array)}u, ${major === "col" ? 1 : 0}u, `;
    })
    .replaceAll(`subgroupMatrixStore<row_major>(&${result}, `, "store_sums(subgroup_lane, ")
    .replaceAll("subgroupMatrixMultiplyAccumulate(", "multiply_accumulate(subgroup_lane, ")
    .replace(/subgroup_matrix_(left|right)<f16, \w, \w>/g, "vec4<u32>")
    .replaceAll("subgroup_matrix_result<f32, N, M>", "Sums")
    .replace(/\n *@builtin\(subgroup_\w+\) \w+: u32,/g, "")
    .replace("@compute", () => `${emulation}\n@compute`)
    .replace(
      /(@builtin\(local_invocation_index\) lane: u32,\s*\) \{)/,
      `$1\n  let subgroup = lane / ${EMULATED_LANES}u;\n  let subgroup_lanes = ${EMULATED_LANES}u;\n  let subgroup_lane = lane % ${EMULATED_LANES}u;`,
    )
    .replace(/\bvec4<f16>/g, "vec4<f32>");
  if (/subgroup(_matrix|Matrix|_id)/.test(emulated)) throw new Error(`${name} has a matrix operation that is not emulated`);
  return { name: `${name}, emulated`, code: emulated };
}
