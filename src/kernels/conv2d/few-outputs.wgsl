// Convolution of few output channels, stride and dilation 1. VECTOR_LANES neighbouring lanes share ROWS output pixels of a column and divide
// the vectors of input channels among themselves, so that together they read whole pixels; their sums meet in workgroup memory.
#define OUTPUTS 3
#define KERNEL_HEIGHT 3
#define KERNEL_WIDTH 3
#define ROWS 4
// ROWS + KERNEL_HEIGHT - 1
#define INPUT_ROWS 6
#define VECTOR_LANES 8
// Columns that a workgroup makes: THREADS / VECTOR_LANES
#define COLUMNS 8
#define THREADS 64
// OUTPUTS * ROWS * VECTOR_LANES * (COLUMNS + 1)
#define SUMS 864
#define RESIDUAL 0

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

// [row][output channel][vector lane][column]; the column more spares bank conflicts.
var<workgroup> sums: array<f32, SUMS>;

fn sum_index(row: u32, channel: u32, vector_lane: u32, column: u32) -> u32 {
  return ((row * OUTPUTS + channel) * VECTOR_LANES + vector_lane) * (COLUMNS + 1u) + column;
}

@compute @workgroup_size(THREADS)
fn conv2d_few_outputs(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let input_vectors = (params.input_channels + 3u) / 4u;
  let batch = params.first_batch + tile.z;
  let row_tiles = (params.output.width + COLUMNS - 1u) / COLUMNS;
  let item = tile.y * tiles.x + tile.x;
  let first_column = item % row_tiles * COLUMNS;
  // Within the band.
  let first_row = item / row_tiles * ROWS;

  var sum: array<array<f32, OUTPUTS>, ROWS>;
#for r ROWS
#for o OUTPUTS
  sum[r][o] = 0.0;
#endfor
#endfor
  for (var vector = lane % VECTOR_LANES; vector < input_vectors; vector += VECTOR_LANES) {
    for (var kx = 0u; kx < KERNEL_WIDTH; kx++) {
      // Unsigned: positions before the picture wrap round and are past its end.
      let column = first_column + lane / VECTOR_LANES + kx - params.padding;
      var x: array<vec4<f32>, INPUT_ROWS>;
#for y INPUT_ROWS
      let row = params.first_row + first_row + y - params.padding;
      let inside = first_row + y < params.row_count + KERNEL_HEIGHT - 1u && row < params.input_height && column < params.input.width;
      let index = select(0u, pixel_index(params.input, batch * params.input_height + row, column) + vector, inside);
      x[y] = select(vec4<f32>(0.0), vec4<f32>(input[index]), inside);
#endfor
#for y KERNEL_HEIGHT
#for o OUTPUTS
      let weight = weights[((y * KERNEL_WIDTH + kx) * OUTPUTS + o) * input_vectors + vector];
#for r ROWS
      sum[r][o] += dot(x[r + y], weight);
#endfor
#endfor
#endfor
    }
  }
#for r ROWS
#for o OUTPUTS
  sums[sum_index(r, o, lane % VECTOR_LANES, lane / VECTOR_LANES)] = sum[r][o];
#endfor
#endfor
  workgroupBarrier();

  for (var pixel = lane; pixel < COLUMNS * ROWS; pixel += THREADS) {
    let column = first_column + pixel % COLUMNS;
    let row = first_row + pixel / COLUMNS;
    if (column < params.output.width && row < params.row_count) {
      var value = bias[0];
      for (var vector_lane = 0u; vector_lane < VECTOR_LANES; vector_lane++) {
#for o OUTPUTS
        value[o] += sums[sum_index(pixel / COLUMNS, o, vector_lane, pixel % COLUMNS)];
#endfor
      }
      let output_row = batch * params.output_height + params.first_row + row;
      value = activate(value, vec4<f32>(params.slope));
#if RESIDUAL
      value += vec4<f32>(residual[pixel_index(params.residual, output_row, column)]);
#endif
      output[pixel_index(params.output, output_row, column)] = Element4(keep_channels(value, 0u, params.output_channels));
    }
  }
}
