// Convolution for GPUs with memory of their own for a workgroup: implicit GEMM in two levels of tiles.
//
// A workgroup makes TILE_PIXELS × TILE_VECTORS, and takes the inner dimension CHUNK vectors at a time: each input and each weight is
// read from global memory once a workgroup and then used by all of it. A thread makes THREAD_PIXELS × THREAD_VECTORS of the tile: with
// 8 × 2 it reads 16 vectors of workgroup memory for 64 vector fma, with 4 × 1 8 for 16.
//
// Banks. Neighbouring lanes have neighbouring vectors of channels (weights and output: consecutive addresses) and the same pixel (one
// address for all of them) or, further on, the next pixel (consecutive again): a thread's pixels lie a stride apart, not side by side,
// for this. Loading goes the other way, CHUNK lanes to the vectors of one pixel, so that global reads are contiguous; then lanes of
// one store differ in the row of the tile, and PAD moves each row on by as many vectors as lanes of a row store at once.
//
// Latency. The next chunk is loaded into registers before this one is multiplied, and stored after it: the loop is one turn longer
// than there are chunks.
#define THREAD_PIXELS 4
#define THREAD_VECTORS 2
#define PAD 2

const ROW = TILE_PIXELS + PAD;
const THREAD_ROWS = TILE_PIXELS / THREAD_PIXELS;
const THREAD_COLUMNS = TILE_VECTORS / THREAD_VECTORS;

// [vector of input channels][pixel] and [input channel][vector of output channels]
var<workgroup> input_tile: array<Element4, CHUNK * ROW>;
var<workgroup> weight_tile: array<Weight4, CHUNK * 4 * TILE_VECTORS>;

@compute @workgroup_size(THREADS)
fn tiled(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let task = task_of(tile, tiles);
  if (task.first_pixel >= task.pixels) { return; }
  prepare_pixels(task, lane);

  let thread_row = lane / THREAD_COLUMNS;
  let thread_column = lane % THREAD_COLUMNS;
  var sum: array<array<vec4<f32>, THREAD_VECTORS>, THREAD_PIXELS>;
#for p THREAD_PIXELS
#for c THREAD_VECTORS
  sum[p][c] = vec4<f32>(0.0);
#endfor
#endfor

  var step = step_at(task.first_chunk * CHUNK + lane % CHUNK);
  for (var turn = 0u; turn <= task.chunks; turn++) {
    var x: array<Element4, INPUT_LOADS>;
    var w: array<Weight4, WEIGHT_LOADS>;
    if (turn < task.chunks) {
#for i INPUT_LOADS
      x[i] = load_input(task.batch, lane / CHUNK + i * (THREADS / CHUNK), step);
#endfor
      step = step_ahead(step, CHUNK);
      let row = (task.first_chunk + turn) * CHUNK * 4u;
#for i WEIGHT_LOADS
      let item = lane + i * THREADS;
      w[i] = load_weights(task.batch, row + item / TILE_VECTORS, task.first_vector + item % TILE_VECTORS);
#endfor
    }

    if (turn > 0u) {
      for (var k = 0u; k < CHUNK; k++) {
        var a: array<vec4<f32>, THREAD_PIXELS>;
#for p THREAD_PIXELS
        a[p] = vec4<f32>(input_tile[k * ROW + thread_row + p * THREAD_ROWS]);
#endfor
#for i 4
#for c THREAD_VECTORS
        let b = vec4<f32>(weight_tile[(k * 4u + i) * TILE_VECTORS + thread_column + c * THREAD_COLUMNS]);
#for p THREAD_PIXELS
        sum[p][c] = fma(vec4<f32>(a[p][i]), b, sum[p][c]);
#endfor
#endfor
#endfor
      }
    }
    if (turn == task.chunks) { break; }
    workgroupBarrier();
#for i INPUT_LOADS
    input_tile[(lane % CHUNK) * ROW + lane / CHUNK + i * (THREADS / CHUNK)] = x[i];
#endfor
#for i WEIGHT_LOADS
    weight_tile[lane + i * THREADS] = w[i];
#endfor
    workgroupBarrier();
  }

#for p THREAD_PIXELS
#for c THREAD_VECTORS
  finish(sum[p][c], task, thread_row + p * THREAD_ROWS, thread_column + c * THREAD_COLUMNS);
#endfor
#endfor
}
