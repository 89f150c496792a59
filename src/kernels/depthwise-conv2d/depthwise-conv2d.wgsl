// Depthwise 3×3 convolution, stride 1, padding 1, of one vector of four channels a thread. A thread goes down ROWS rows of
// COLUMNS pixels: each input row is loaded once and added to the three output rows that it belongs to.
// With GATED it does the same for a second input and stores gelu(first) × second.
#define COLUMNS 2
#define ROWS 8
// COLUMNS + 2
#define SPAN 4
#define GATED 0

override LANES: u32 = 64;

struct Params {
  input: View,
  gated: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  end_row: u32,
  channels: u32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [kernel row][kernel column][vector of channels]
@group(0) @binding(2) var<storage, read> weights: array<Element4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;
#if GATED
@group(0) @binding(5) var<storage, read> gated: array<Element4>;
@group(0) @binding(6) var<storage, read> gated_weights: array<Element4>;
@group(0) @binding(7) var<storage, read> gated_bias: array<vec4<f32>>;
#endif

@compute @workgroup_size(LANES)
fn depthwise_conv2d(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  // Neighbouring lanes take neighbouring vectors of a pixel, so that they read neighbouring addresses.
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let first_column = (item / channel_vectors) * COLUMNS;
  let first_row = params.first_row + tile.y * ROWS;
  let end_row = min(first_row + ROWS, params.end_row);
  let batch = params.first_batch + tile.z;
  let width = params.output.width;
  if (first_column >= width) { return; }

  var w: array<vec4<f32>, 9>;
#for i 9
  w[i] = vec4<f32>(weights[i * channel_vectors + vector]);
#endfor
  let b = bias[vector];
#if GATED
  var gated_w: array<vec4<f32>, 9>;
#for i 9
  gated_w[i] = vec4<f32>(gated_weights[i * channel_vectors + vector]);
#endfor
  let gated_b = gated_bias[vector];
#endif

  // Sums of the output row above the input row (complete after it) and of the row itself; the row below starts with it.
  var above: array<vec4<f32>, COLUMNS>;
  var here: array<vec4<f32>, COLUMNS>;
#if GATED
  var gated_above: array<vec4<f32>, COLUMNS>;
  var gated_here: array<vec4<f32>, COLUMNS>;
#endif

  // Input rows first_row - 1 to end_row; the first two only start sums.
  for (var step = 0u; step <= end_row - first_row + 1u; step++) {
    let y = first_row + step - 1u;
    var below: array<vec4<f32>, COLUMNS>;
#if GATED
    var gated_below: array<vec4<f32>, COLUMNS>;
#endif
#for c COLUMNS
    below[c] = b;
#if GATED
    gated_below[c] = gated_b;
#endif
#endfor
    // Unsigned: positions before the picture wrap round and are past its end.
    if (y < params.height) {
      let input_row = batch * params.height + y;
#for s SPAN
      let column = first_column + s - 1u;
      let index = pixel_index(params.input, input_row, min(column, width - 1u)) + vector;
      let x = select(vec4<f32>(0.0), vec4<f32>(input[index]), column < width);
#for c COLUMNS
      // Tap s - c of output column c.
      if (s >= c && s < c + 3u) {
        above[c] = fma(x, w[min(6u + s - c, 8u)], above[c]);
        here[c] = fma(x, w[min(3u + s - c, 8u)], here[c]);
        below[c] = fma(x, w[min(s - c, 8u)], below[c]);
      }
#endfor
#endfor
#if GATED
#for s SPAN
      let column = first_column + s - 1u;
      let index = pixel_index(params.gated, input_row, min(column, width - 1u)) + vector;
      let x = select(vec4<f32>(0.0), vec4<f32>(gated[index]), column < width);
#for c COLUMNS
      if (s >= c && s < c + 3u) {
        gated_above[c] = fma(x, gated_w[min(6u + s - c, 8u)], gated_above[c]);
        gated_here[c] = fma(x, gated_w[min(3u + s - c, 8u)], gated_here[c]);
        gated_below[c] = fma(x, gated_w[min(s - c, 8u)], gated_below[c]);
      }
#endfor
#endfor
#endif
    }
    if (step >= 2u) {
      let output_row = batch * params.height + y - 1u;
#for c COLUMNS
      if (first_column + c < width) {
#if GATED
        let value = gelu(above[c]) * gated_above[c];
#else
        let value = activate(above[c], vec4<f32>(params.slope));
#endif
        output[pixel_index(params.output, output_row, first_column + c) + vector] = Element4(keep_channels(value, vector, params.channels));
      }
#endfor
    }
#for c COLUMNS
    above[c] = here[c];
    here[c] = below[c];
#if GATED
    gated_above[c] = gated_here[c];
    gated_here[c] = gated_below[c];
#endif
#endfor
  }
}
