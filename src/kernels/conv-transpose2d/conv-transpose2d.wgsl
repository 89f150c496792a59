// Transposed convolution, gathered: output rows and columns whose position plus padding leaves the same remainder by the stride, their
// phase, read the same taps of the kernel, so it is stride² ordinary convolutions whose results interleave. A workgroup works on one
// phase, so that all its lanes read the same weights. A thread keeps PIXELS pixels of a row, stride apart, × COLUMNS vectors of output
// channels in registers; the input columns they read are neighbours.
#define PIXELS 4
#define COLUMNS 2
// Taps of a phase in a kernel row: kernel width / stride, rounded up.
#define TAPS 1
// PIXELS + TAPS - 1
#define SPAN 4

override LANES: u32 = 32;

struct Params {
  input: View,
  output: View,
  input_height: u32,
  output_height: u32,
  first_batch: u32,
  first_row: u32,
  row_count: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride: u32,
  padding: u32,
  input_channels: u32,
  output_channels: u32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn conv_transpose2d(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let stride = params.stride;
  let input_vectors = (params.input_channels + 3u) / 4u;
  let output_vectors = (params.output_channels + 3u) / 4u;
  let column_blocks = (output_vectors + COLUMNS - 1u) / COLUMNS;
  let first_vector = (tile.z % column_blocks) * COLUMNS;
  let row_phase = tile.z / column_blocks % stride;
  let column_phase = tile.z / column_blocks / stride % stride;
  let batch = params.first_batch + tile.z / column_blocks / stride / stride;
  let row_lanes = (params.output.width + PIXELS * stride - 1u) / (PIXELS * stride);
  let item = (tile.y * tiles.x + tile.x) * LANES + lane;
  // Input row, and input column of the first of the pixels, that tap 0 of the phase multiplies.
  let first_y = (params.first_row + params.padding + stride - 1u - row_phase) / stride + item / row_lanes;
  let first_x = (params.padding + stride - 1u - column_phase) / stride + item % row_lanes * PIXELS;
  let row = first_y * stride + row_phase - params.padding;
  if (row >= params.first_row + params.row_count) { return; }

  var sum: array<array<vec4<f32>, COLUMNS>, PIXELS>;
#for c COLUMNS
  let b = bias[min(first_vector + c, output_vectors - 1u)];
#for p PIXELS
  sum[p][c] = b;
#endfor
#endfor

  for (var ky = row_phase; ky < params.kernel_height; ky += stride) {
    // Unsigned: positions before the picture wrap round and are past its end.
    let y = first_y - ky / stride;
    if (y >= params.input_height) { continue; }
    let input_row = batch * params.input_height + y;
    for (var v = 0u; v < input_vectors; v++) {
      var x: array<vec4<f32>, SPAN>;
#for s SPAN
      let column = first_x + s - (TAPS - 1u);
      let index = pixel_index(params.input, input_row, min(column, params.input.width - 1u)) + v;
      x[s] = select(vec4<f32>(0.0), vec4<f32>(input[index]), column < params.input.width);
#endfor
#for t TAPS
      let kx = column_phase + t * stride;
      if (kx < params.kernel_width) {
        // Past the last column this reads weights of the next row; their sums are not stored.
        let tap = ((ky * params.kernel_width + kx) * input_vectors + v) * 4u * output_vectors + first_vector;
#for i 4
#for c COLUMNS
        let w = vec4<f32>(weights[tap + i * output_vectors + c]);
#for p PIXELS
        sum[p][c] = fma(vec4<f32>(x[p + TAPS - 1u - t][i]), w, sum[p][c]);
#endfor
#endfor
#endfor
      }
#endfor
    }
  }

  let output_row = batch * params.output_height + row;
#for p PIXELS
  let column = (first_x + p) * stride + column_phase - params.padding;
  if (column < params.output.width) {
#for c COLUMNS
    let vector = first_vector + c;
    if (vector < output_vectors) {
      let value = activate(sum[p][c], vec4<f32>(params.slope));
      output[pixel_index(params.output, output_row, column) + vector] = Element4(keep_channels(value, vector, params.output_channels));
    }
#endfor
  }
#endfor
}
