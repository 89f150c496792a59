// Peak of the matrix units: ACCUMULATORS independent chains of multiply-accumulates a subgroup, STEPS of each in a turn of the loop.
#define RESULT_F32 0
#define INPUT_F32 0
#define M 16
#define N 16
#define K 16
#define ACCUMULATORS 8
#define STEPS 8
#define LANES 128
enable f16;
enable chromium_experimental_subgroup_matrix;

#if INPUT_F32
alias Input = f32;
#else
alias Input = f16;
#endif
#if RESULT_F32
alias Result = f32;
#else
alias Result = f16;
#endif

struct Parameters {
  iterations: u32,
}

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read_write> input: array<Input>;
@group(0) @binding(2) var<storage, read_write> output: array<Result>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>) {
  let left = subgroupMatrixLoad<subgroup_matrix_left<Input, K, M>, row_major>(&input, 0u, K);
  let right = subgroupMatrixLoad<subgroup_matrix_right<Input, N, K>, row_major>(&input, 0u, N);
  var sums: array<subgroup_matrix_result<Result, N, M>, ACCUMULATORS>;
  for (var iteration = 0u; iteration < parameters.iterations; iteration++) {
#for step STEPS
#for i ACCUMULATORS
    sums[i] = subgroupMatrixMultiplyAccumulate(left, right, sums[i]);
#endfor
#endfor
  }
  let first = (workgroup_id.x % 64u) * ACCUMULATORS * M * N;
#for i ACCUMULATORS
  subgroupMatrixStore<row_major>(&output, first + i * M * N, sums[i], N);
#endfor
}
