// Convolution of few output channels by subgroups, stride and dilation 1. Each lane has a vector of input channels of its own and keeps all
// weights of that vector, so that a multiply-add needs no load; what the lanes of a pixel made is added up in the end. A lane goes
// along ROWS rows, loads each pixel once and adds it to the sums of all output columns that read it.
#define SUBGROUP 8
#define OUTPUTS 3
#define KERNEL_HEIGHT 3
#define KERNEL_WIDTH 3
// KERNEL_WIDTH - 1, but at least 1
#define OLDER 2
// OUTPUTS * KERNEL_HEIGHT * KERNEL_WIDTH
#define TERMS 27
#define ROWS 4
// ROWS + KERNEL_HEIGHT - 1
#define INPUT_ROWS 6
// Lanes that share a pixel; fewer than SUBGROUP where there are few input vectors.
#define VECTOR_LANES 8
// Its binary logarithm.
#define LEVELS 3
// Rows that a lane stores.
#define STORES 1
// Whether there are more input vectors than lanes, which then make a strip several times.
#define DIVIDED 0
// Columns for which the weights are loaded once.
#define MAX_STRIP 128
#define RESIDUAL 0

override LANES: u32 = 8;

struct Params {
  input: View,
  residual: View,
  output: View,
  input_height: u32,
  output_height: u32,
  first_batch: u32,
  first_row: u32,
  row_count: u32,
  padding: u32,
  input_channels: u32,
  output_channels: u32,
  // TERMS, as a number that the compiler does not know: it would unroll the loop.
  terms: u32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [kernel row][kernel column][output channel][vector of input channels]
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<Element4>;
#endif

@compute @workgroup_size(LANES)
fn conv2d_few_outputs_subgroup(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let input_vectors = (params.input_channels + 3u) / 4u;
  let batch = params.first_batch + tile.z;
  let row_strips = (params.output.width + MAX_STRIP - 1u) / MAX_STRIP;
  let item = tile.y * tiles.x + tile.x;
  let first_column = item % row_strips * MAX_STRIP;
  let columns = min(MAX_STRIP, params.output.width - first_column);
  let first_row = (item / row_strips * (SUBGROUP / VECTOR_LANES) + lane / VECTOR_LANES) * ROWS;
  let vector_lane = lane % VECTOR_LANES;

#if DIVIDED
  var kept: array<vec4<f32>, MAX_STRIP>;
  for (var i = 0u; i < columns; i++) { kept[i] = vec4<f32>(0.0); }
#endif
  for (var first_vector = 0u; first_vector < input_vectors; first_vector += VECTOR_LANES) {
    let vector = first_vector + vector_lane;
    let has_vector = vector < input_vectors;
    // Written by a loop and read at constant places only, it stays on a software adapter's stack, a register's width from each read.
    var w: array<vec4<f32>, TERMS>;
    for (var i = 0u; i < params.terms; i++) { w[i] = weights[i * input_vectors + min(vector, input_vectors - 1u)]; }

    // Sums of the output columns that have had 1, 2, … taps.
    var older: array<array<array<f32, ROWS>, OUTPUTS>, OLDER>;
#for k OLDER
#for o OUTPUTS
#for r ROWS
    older[k][o][r] = 0.0;
#endfor
#endfor
#endfor
    for (var step = 0u; step < columns + KERNEL_WIDTH - 1u; step++) {
      // Unsigned: positions before the picture wrap round and are past its end.
      let column = first_column + step - params.padding;
      var x: array<vec4<f32>, INPUT_ROWS>;
#for y INPUT_ROWS
      let row = params.first_row + first_row + y - params.padding;
      let inside = has_vector && first_row + y < params.row_count + KERNEL_HEIGHT - 1u && row < params.input_height && column < params.input.width;
      let index = select(0u, pixel_index(params.input, batch * params.input_height + row, column) + vector, inside);
      x[y] = select(vec4<f32>(0.0), vec4<f32>(input[index]), inside);
#endfor
      var total: array<array<f32, OUTPUTS>, ROWS>;
      // The last tap first: it completes a column.
#for j KERNEL_WIDTH
#for o OUTPUTS
      var sum: array<f32, ROWS>;
#for r ROWS
      sum[r] = 0.0;
      if (j + 1u < KERNEL_WIDTH) { sum[r] = older[max(KERNEL_WIDTH - 1u - j, 1u) - 1u][o][r]; }
#endfor
#for y KERNEL_HEIGHT
#for i 4
      let weight = w[(y * KERNEL_WIDTH + KERNEL_WIDTH - 1u - j) * OUTPUTS + o][i];
#for r ROWS
      sum[r] = fma(x[r + y][i], weight, sum[r]);
#endfor
#endfor
#endfor
#for r ROWS
      if (j == 0u) { total[r][o] = sum[r]; } else { older[min(KERNEL_WIDTH - 1u - j, OLDER - 1u)][o][r] = sum[r]; }
#endfor
#endfor
#endfor
#for o OUTPUTS
#for r ROWS
#for l LEVELS
      total[r][o] += subgroupShuffleXor(total[r][o], 1u << l);
#endfor
#endfor
#endfor
#for t STORES
      let row = first_row + t * VECTOR_LANES + vector_lane;
      var value = vec4<f32>(0.0);
#for r ROWS
#for o OUTPUTS
      value[o] = select(value[o], total[r][o], t * VECTOR_LANES + vector_lane == r);
#endfor
#endfor
      if (step >= KERNEL_WIDTH - 1u && t * VECTOR_LANES + vector_lane < ROWS && row < params.row_count) {
        let done = step + 1u - KERNEL_WIDTH;
#if DIVIDED
        value += kept[done];
        kept[done] = value;
#endif
        if (first_vector + VECTOR_LANES >= input_vectors) {
          let output_row = batch * params.output_height + params.first_row + row;
          value = activate(value + bias[0], vec4<f32>(params.slope));
#if RESIDUAL
          value += vec4<f32>(residual[pixel_index(params.residual, output_row, first_column + done)]);
#endif
          output[pixel_index(params.output, output_row, first_column + done)] = Element4(keep_channels(value, 0u, params.output_channels));
        }
      }
#endfor
    }
  }
}
