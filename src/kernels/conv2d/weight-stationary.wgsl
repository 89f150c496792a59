// Convolution with few weights an output channel, by subgroups. Each lane makes an output vector of its own and keeps all weights of that
// vector, so that a multiply-add needs no load. The lanes load what the kernel's rows read of SUBGROUP neighbouring columns, a column
// each, and hand it round: that gives STRIP output pixels of a row.
#define SUBGROUP 8
#define CHANNELS 3
// Vectors of CHANNELS.
#define CHANNEL_VECTORS 1
#define KERNEL_HEIGHT 3
#define KERNEL_WIDTH 3
// CHANNELS * KERNEL_HEIGHT * KERNEL_WIDTH
#define TERMS 27
// Lanes that share a pixel; fewer than SUBGROUP where there are few output vectors.
#define VECTOR_LANES 8
// (SUBGROUP - 1 - (KERNEL_WIDTH - 1) * dilation) / stride + 1
#define STRIP 6
#define NORMALISE 0
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
  stride: u32,
  padding: u32,
  dilation: u32,
  output_channels: u32,
  // Vectors between the matrices of two images; 0: one for all.
  matrix_stride: u32,
  epsilon: f32,
  // TERMS and STRIP, as numbers that the compiler does not know: it would unroll the loops.
  terms: u32,
  strip: u32,
  // That a subgroup makes one after the other.
  strips: u32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [kernel row][kernel column][input channel][vector of output channels]
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<Element4>;
#endif

fn total(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(LANES)
fn conv2d_weight_stationary(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let output_vectors = (params.output_channels + 3u) / 4u;
  let blocks = (output_vectors + VECTOR_LANES - 1u) / VECTOR_LANES;
  let batch = params.first_batch + tile.z / blocks;
  let vector = tile.z % blocks * VECTOR_LANES + lane % VECTOR_LANES;
  let inside_vector = min(vector, output_vectors - 1u);

  // Written by a loop and read at constant places only, it stays on a software adapter's stack, a register's width from each read.
  var w: array<vec4<f32>, TERMS>;
  for (var i = 0u; i < params.terms; i++) {
    w[i] = weights[batch * params.matrix_stride + (i / CHANNELS * 4u * CHANNEL_VECTORS + i % CHANNELS) * output_vectors + inside_vector];
  }
  let start = bias[inside_vector];

  let row_strips = (params.output.width + STRIP - 1u) / STRIP;
  let first_strip = (tile.y * tiles.x + tile.x) * params.strips;
  let end_strip = min(first_strip + params.strips, row_strips * params.row_count);
  for (var strip = first_strip; strip < end_strip; strip++) {
    let row = params.first_row + strip / row_strips;
    let first_column = strip % row_strips * STRIP;
    // Unsigned: positions before the picture wrap round and are past its end.
    let column = first_column * params.stride + lane - params.padding;
    var x: array<array<vec4<f32>, CHANNEL_VECTORS>, KERNEL_HEIGHT>;
#for y KERNEL_HEIGHT
    let input_row = row * params.stride + y * params.dilation - params.padding;
    let inside = input_row < params.input_height && column < params.input.width;
    let index = select(0u, pixel_index(params.input, batch * params.input_height + input_row, column), inside);
#for v CHANNEL_VECTORS
    x[y][v] = select(vec4<f32>(0.0), vec4<f32>(input[index + v]), inside);
#endfor
#endfor
#if NORMALISE
    var channel_sum = vec4<f32>(0.0);
#for v CHANNEL_VECTORS
    channel_sum += x[0][v];
#endfor
    let mean = total(channel_sum) / f32(CHANNELS);
    var squares = vec4<f32>(0.0);
#for v CHANNEL_VECTORS
    x[0][v] = keep_channels(x[0][v] - mean, v, CHANNELS);
    squares = fma(x[0][v], x[0][v], squares);
#endfor
    let scale = 1.0 / sqrt(total(squares) / f32(CHANNELS) + params.epsilon);
#for v CHANNEL_VECTORS
    x[0][v] *= scale;
#endfor
#endif

    let output_row = batch * params.output_height + row;
    for (var turn = 0u; turn < params.strip; turn += SUBGROUP / VECTOR_LANES) {
      let pixel = turn + lane / VECTOR_LANES;
      var sum = start;
#for kx KERNEL_WIDTH
      let source = (pixel * params.stride + kx * params.dilation) % SUBGROUP;
#for y KERNEL_HEIGHT
#for c CHANNELS
      sum = fma(vec4<f32>(subgroupShuffle(x[y][c / 4u][c % 4u], source)), w[(y * KERNEL_WIDTH + kx) * CHANNELS + c], sum);
#endfor
#endfor
#endfor
      if (pixel < STRIP && first_column + pixel < params.output.width && vector < output_vectors) {
        var value = activate(sum, vec4<f32>(params.slope));
#if RESIDUAL
        value += vec4<f32>(residual[pixel_index(params.residual, output_row, first_column + pixel) + vector]);
#endif
        output[pixel_index(params.output, output_row, first_column + pixel) + vector] = Element4(keep_channels(value, vector, params.output_channels));
      }
    }
  }
}
