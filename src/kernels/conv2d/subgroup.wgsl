// Convolution as implicit GEMM for devices whose subgroups have SUBGROUP_SIZE lanes. A subgroup makes ROWS neighbouring output
// pixels × COLUMNS × SUBGROUP_SIZE output channels, a lane one channel of each column. For SUBGROUP_SIZE input channels a row of
// the matrix is one load, each lane a channel, and every value is handed to all lanes by a broadcast: neighbouring lanes read
// neighbouring addresses throughout, and a load is followed by SUBGROUP_SIZE × COLUMNS multiply-adds.
// With NORMALISE (1×1 only) the input is layer-normalised over its channels on the way in.
#define SUBGROUP_SIZE 8
#define ROWS 16
#define COLUMNS 2
#define NORMALISE 0
#define RESIDUAL 0

// Most channels that are normalised.
#define NORMALISED_CHANNELS 128

// Sizes are uniforms: they only bound loops that stay loops, and one compiled kernel serves all layers.
struct Params {
  input: View,
  residual: View,
  output: View,
  input_height: u32,
  output_height: u32,
  first_batch: u32,
  first_row: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride: u32,
  padding: u32,
  dilation: u32,
  // A multiple of SUBGROUP_SIZE.
  input_channels: u32,
  output_channels: u32,
  // Vectors between the matrices of two images; 0: one for all.
  matrix_stride: u32,
  epsilon: f32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element>;
// [kernel row][kernel column][input channel][output channel]
@group(0) @binding(2) var<storage, read> weights: array<Element>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<Element>;
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<Element>;
#endif

#if NORMALISE
var<workgroup> normalised: array<f32, ROWS * NORMALISED_CHANNELS>;
#endif

@compute @workgroup_size(SUBGROUP_SIZE)
fn conv2d(@builtin(workgroup_id) tile: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
  let batch = params.first_batch + tile.z;
  let row = params.first_row + tile.y;
  let output_row = batch * params.output_height + row;
  let first_column = tile.x * ROWS;
  let last_column = params.output.width - 1u;
  let input_channels = params.input_channels;
  // With the padding.
  let output_width = (params.output_channels + 3u) / 4u * 4u;

#if NORMALISE
  for (var r = 0u; r < ROWS; r++) {
    let source = pixel_index(params.input, output_row, min(first_column + r, last_column)) * 4u + lane;
    var sum = 0.0;
    for (var k = 0u; k < input_channels; k += SUBGROUP_SIZE) { sum += f32(input[source + k]); }
    let mean = subgroupAdd(sum) / f32(input_channels);
    var squares = 0.0;
    for (var k = 0u; k < input_channels; k += SUBGROUP_SIZE) {
      let d = f32(input[source + k]) - mean;
      squares = fma(d, d, squares);
    }
    let scale = 1.0 / sqrt(subgroupAdd(squares) / f32(input_channels) + params.epsilon);
    for (var k = 0u; k < input_channels; k += SUBGROUP_SIZE) {
      normalised[r * NORMALISED_CHANNELS + k + lane] = (f32(input[source + k]) - mean) * scale;
    }
  }
  workgroupBarrier();
#endif

  for (var first_channel = 0u; first_channel < output_width; first_channel += COLUMNS * SUBGROUP_SIZE) {
    var channel: array<u32, COLUMNS>;
    var sum: array<array<f32, COLUMNS>, ROWS>;
#for c COLUMNS
    channel[c] = min(first_channel + c * SUBGROUP_SIZE + lane, output_width - 1u);
    let b = bias[channel[c]];
#for r ROWS
    sum[r][c] = b;
#endfor
#endfor

    for (var ky = 0u; ky < params.kernel_height; ky++) {
      // Unsigned: positions before the picture wrap round and are past its end.
      let y = row * params.stride + ky * params.dilation - params.padding;
      if (y >= params.input_height) { continue; }
      let input_row = batch * params.input_height + y;
      for (var kx = 0u; kx < params.kernel_width; kx++) {
        let matrix = batch * params.matrix_stride * 4u + (ky * params.kernel_width + kx) * input_channels * output_width;
#if !NORMALISE
        var source: array<u32, ROWS>;
        var inside: array<bool, ROWS>;
#for r ROWS
        let x = (first_column + r) * params.stride + kx * params.dilation - params.padding;
        inside[r] = x < params.input.width;
        source[r] = pixel_index(params.input, input_row, min(x, params.input.width - 1u)) * 4u + lane;
#endfor
#endif
        for (var k = 0u; k < input_channels; k += SUBGROUP_SIZE) {
          var w: array<array<f32, COLUMNS>, SUBGROUP_SIZE>;
#for j SUBGROUP_SIZE
#for c COLUMNS
          w[j][c] = f32(weights[matrix + (k + j) * output_width + channel[c]]);
#endfor
#endfor
#for r ROWS
#if NORMALISE
          let value = normalised[r * NORMALISED_CHANNELS + k + lane];
#else
          let value = select(0.0, f32(input[source[r] + k]), inside[r]);
#endif
#for j SUBGROUP_SIZE
          let broadcast = subgroupBroadcast(value, j);
#for c COLUMNS
          sum[r][c] = fma(broadcast, w[j][c], sum[r][c]);
#endfor
#endfor
#endfor
        }
      }
    }

#for r ROWS
    if (first_column + r <= last_column) {
      let destination = pixel_index(params.output, output_row, first_column + r) * 4u;
#for c COLUMNS
      let own = first_channel + c * SUBGROUP_SIZE + lane;
      if (own < output_width) {
        var value = activate(vec4<f32>(sum[r][c]), vec4<f32>(params.slope)).x;
#if RESIDUAL
        value += f32(residual[pixel_index(params.residual, output_row, first_column + r) * 4u + own]);
#endif
        output[destination + own] = Element(select(0.0, value, own < params.output_channels));
      }
#endfor
    }
#endfor
  }
}
