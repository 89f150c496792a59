// Convolution on matrix units: implicit GEMM in f16 with sums in f32, for devices with subgroup matrices.
//
// A workgroup stages CHUNK vectors of the inner dimension of its pixels and its weights in workgroup memory, as tiled.wgsl does, here with
// the inner dimension contiguous for a pixel. Each subgroup makes FRAGMENTS_DOWN × FRAGMENTS_ACROSS matrices of M × N sums: for each step
// of K it reads FRAGMENTS_DOWN + FRAGMENTS_ACROSS matrices and multiplies FRAGMENTS_DOWN × FRAGMENTS_ACROSS pairs of them, so that with
// 4 × 4 of 16 × 16 × 16 a number that is read serves 64 multiplications.
//
// Banks. A matrix unit reads 8 rows of 16 bytes at once. INPUT_ROW and WEIGHT_ROW are 2 vectors longer than the data: whatever the tile,
// 8 rows then start at banks 4 apart, in some order, and cover all 32.
//
// The elements of a matrix cannot be touched: sums go through workgroup memory, one matrix of each subgroup at a time, and from there
// through the same end as in tiled.wgsl.
#define M 16
#define N 16
#define K 16
#define FRAGMENTS_DOWN 4
#define FRAGMENTS_ACROSS 4
#define SUBGROUPS_ACROSS 2
#define SUBGROUPS 4
// Lanes that a subgroup must have; 0: what it has.
#define SUBGROUP_SIZE 0

const INPUT_ROW = CHUNK + 2;
const WEIGHT_ROW = TILE_VECTORS + 2;
const RESULT_VECTORS = M * N / 4;

// [pixel][vector of input channels], [input channel][vector of output channels], [subgroup][pixel][vector of output channels]
var<workgroup> input_tile: array<vec4<f16>, TILE_PIXELS * INPUT_ROW>;
var<workgroup> weight_tile: array<vec4<f16>, CHUNK * 4 * WEIGHT_ROW>;
var<workgroup> results: array<vec4<f32>, SUBGROUPS * RESULT_VECTORS>;

#if SUBGROUP_SIZE
@subgroup_size(SUBGROUP_SIZE)
#endif
@compute @workgroup_size(THREADS)
fn matrix(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_size) subgroup_lanes: u32,
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
  let task = task_of(tile, tiles);
  if (task.first_pixel >= task.pixels) { return; }
  prepare_pixels(task, lane);

  let first_row = (subgroup / SUBGROUPS_ACROSS) * FRAGMENTS_DOWN * M;
  let first_column = (subgroup % SUBGROUPS_ACROSS) * FRAGMENTS_ACROSS * N;
  var sum: array<array<subgroup_matrix_result<f32, N, M>, FRAGMENTS_ACROSS>, FRAGMENTS_DOWN>;

  var step = step_at(task.first_chunk * CHUNK + lane % CHUNK);
  for (var turn = 0u; turn <= task.chunks; turn++) {
    var x: array<vec4<f16>, INPUT_LOADS>;
    var w: array<vec4<f16>, WEIGHT_LOADS>;
    if (turn < task.chunks) {
#for i INPUT_LOADS
      x[i] = load_input(task.batch, lane / CHUNK + i * (THREADS / CHUNK), step);
#endfor
      step = step_ahead(step, CHUNK);
      let row = (task.first_chunk + turn) * CHUNK * 4u;
#for i WEIGHT_LOADS
      let item = lane + i * THREADS;
      w[i] = vec4<f16>(load_weights(task.batch, row + item / TILE_VECTORS, task.first_vector + item % TILE_VECTORS));
#endfor
    }

    if (turn > 0u) {
      for (var k = 0u; k < CHUNK * 4u; k += K) {
        var right: array<subgroup_matrix_right<f16, N, K>, FRAGMENTS_ACROSS>;
#for c FRAGMENTS_ACROSS
        right[c] = subgroupMatrixLoad<subgroup_matrix_right<f16, N, K>, row_major>(&weight_tile, k * WEIGHT_ROW + (first_column + c * N) / 4u, WEIGHT_ROW);
#endfor
#for r FRAGMENTS_DOWN
        let left = subgroupMatrixLoad<subgroup_matrix_left<f16, K, M>, row_major>(&input_tile, (first_row + r * M) * INPUT_ROW + k / 4u, INPUT_ROW);
#for c FRAGMENTS_ACROSS
        sum[r][c] = subgroupMatrixMultiplyAccumulate(left, right[c], sum[r][c]);
#endfor
#endfor
      }
    }
    if (turn == task.chunks) { break; }
    workgroupBarrier();
#for i INPUT_LOADS
    input_tile[(lane / CHUNK + i * (THREADS / CHUNK)) * INPUT_ROW + lane % CHUNK] = x[i];
#endfor
#for i WEIGHT_LOADS
    let item = lane + i * THREADS;
    weight_tile[(item / TILE_VECTORS) * WEIGHT_ROW + item % TILE_VECTORS] = w[i];
#endfor
    workgroupBarrier();
  }

#for r FRAGMENTS_DOWN
#for c FRAGMENTS_ACROSS
  subgroupMatrixStore<row_major>(&results, subgroup * RESULT_VECTORS, sum[r][c], N / 4);
  workgroupBarrier();
  for (var i = subgroup_lane; i < RESULT_VECTORS; i += subgroup_lanes) {
    finish(results[subgroup * RESULT_VECTORS + i], task, first_row + r * M + i / (N / 4), (first_column + c * N) / 4u + i % (N / 4));
  }
  workgroupBarrier();
#endfor
#endfor
}
