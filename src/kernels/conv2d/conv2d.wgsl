// Convolution as implicit GEMM: rows of the matrix are output pixels, columns output channels, the inner dimension
// runs over taps and input channels. Nothing is gathered in memory: a thread keeps PIXELS neighbouring output pixels ×
// COLUMNS vectors of output channels in registers, and loads each input vector of its span once per kernel row.
#define PIXELS 4
#define COLUMNS 2
#define KERNEL_WIDTH 3
#define STRIDE 1
#define DILATION 1
// (PIXELS - 1) * STRIDE + (KERNEL_WIDTH - 1) * DILATION + 1
#define SPAN 6
#define RESIDUAL 0

override LANES: u32 = 32;

struct Params {
  input: View,
  residual: View,
  output: View,
  input_height: u32,
  output_height: u32,
  first_batch: u32,
  first_row: u32,
  row_count: u32,
  kernel_height: u32,
  padding: u32,
  input_channels: u32,
  output_channels: u32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<Element4>;
#endif

@compute @workgroup_size(LANES)
fn conv2d(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let input_vectors = (params.input_channels + 3u) / 4u;
  let output_vectors = (params.output_channels + 3u) / 4u;
  let column_blocks = (output_vectors + COLUMNS - 1u) / COLUMNS;
  let batch = params.first_batch + tile.z / column_blocks;
  let first_vector = (tile.z % column_blocks) * COLUMNS;
  // Lanes go on from one row to the next, so that a narrow picture leaves none idle.
  let row_lanes = (params.output.width + PIXELS - 1u) / PIXELS;
  let item = (tile.y * tiles.x + tile.x) * LANES + lane;
  if (item >= row_lanes * params.row_count) { return; }
  let row = params.first_row + item / row_lanes;
  let first_column = (item % row_lanes) * PIXELS;

  var sum: array<array<vec4<f32>, COLUMNS>, PIXELS>;
#for c COLUMNS
  let b = bias[min(first_vector + c, output_vectors - 1u)];
#for p PIXELS
  sum[p][c] = b;
#endfor
#endfor

  for (var ky = 0u; ky < params.kernel_height; ky++) {
    // Unsigned: positions before the picture wrap round and are past its end.
    let y = row * STRIDE + ky * DILATION - params.padding;
    if (y >= params.input_height) { continue; }
    let input_row = batch * params.input_height + y;
    for (var v = 0u; v < input_vectors; v++) {
      var x: array<vec4<f32>, SPAN>;
#for s SPAN
      let column = first_column * STRIDE + s - params.padding;
      let index = pixel_index(params.input, input_row, min(column, params.input.width - 1u)) + v;
      x[s] = select(vec4<f32>(0.0), vec4<f32>(input[index]), column < params.input.width);
#endfor
#for kx KERNEL_WIDTH
      // Past the last column this reads weights of the next row; their sums are not stored.
      let tap = ((ky * KERNEL_WIDTH + kx) * input_vectors + v) * 4u * output_vectors + first_vector;
#for i 4
#for c COLUMNS
      let w = vec4<f32>(weights[tap + i * output_vectors + c]);
#for p PIXELS
      sum[p][c] = fma(vec4<f32>(x[p * STRIDE + kx * DILATION][i]), w, sum[p][c]);
#endfor
#endfor
#endfor
#endfor
    }
  }

  let output_row = batch * params.output_height + row;
#for p PIXELS
  let column = first_column + p;
  if (column < params.output.width) {
#for c COLUMNS
    let vector = first_vector + c;
    if (vector < output_vectors) {
      var value = activate(sum[p][c], vec4<f32>(params.slope));
#if RESIDUAL
      value += vec4<f32>(residual[pixel_index(params.residual, output_row, column) + vector]);
#endif
      output[pixel_index(params.output, output_row, column) + vector] = Element4(keep_channels(value, vector, params.output_channels));
    }
#endfor
  }
#endfor
}
