// 1×1 convolution as matrix product, pixels counted through a whole image. The matrix is a weight, or one that was computed
// for each image (matrix_stride vectors apart). With NORMALISE the input is layer-normalised over its channels on the way in.
// A thread makes PIXELS pixels, COLUMNS vectors of output channels at a time.
#define PIXELS 4
#define COLUMNS 2
#define NORMALISE 0
#define RESIDUAL 0

override LANES: u32 = 32;

struct Params {
  input: View,
  residual: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  row_count: u32,
  input_channels: u32,
  output_channels: u32,
  // Vectors between the matrices of two images; 0: one for all.
  matrix_stride: u32,
  epsilon: f32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<Element4>;
#endif

fn total(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(LANES)
fn pointwise(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let input_vectors = (params.input_channels + 3u) / 4u;
  let output_vectors = (params.output_channels + 3u) / 4u;
  let batch = params.first_batch + tile.z;
  let first_pixel = (batch * params.height + params.first_row) * params.output.width;
  let pixels = params.row_count * params.output.width;
  let matrix = batch * params.matrix_stride;

  var pixel: array<u32, PIXELS>;
  var source: array<u32, PIXELS>;
#for p PIXELS
  pixel[p] = ((tile.y * tiles.x + tile.x) * PIXELS + p) * LANES + lane;
  let inside = first_pixel + min(pixel[p], pixels - 1u);
  source[p] = (inside - params.input.first_row * params.input.width) * params.input.pixel_vectors + params.input.first_vector;
#endfor

#if NORMALISE
  var mean: array<f32, PIXELS>;
  var scale: array<f32, PIXELS>;
#for p PIXELS
  var sum = vec4<f32>(0.0);
  for (var v = 0u; v < input_vectors; v++) { sum += vec4<f32>(input[source[p] + v]); }
  mean[p] = total(sum) / f32(params.input_channels);
  var squares = vec4<f32>(0.0);
  for (var v = 0u; v < input_vectors; v++) {
    let d = keep_channels(vec4<f32>(input[source[p] + v]) - mean[p], v, params.input_channels);
    squares = fma(d, d, squares);
  }
  scale[p] = 1.0 / sqrt(total(squares) / f32(params.input_channels) + params.epsilon);
#endfor
#endif

  for (var first_vector = 0u; first_vector < output_vectors; first_vector += COLUMNS) {
    var sum: array<array<vec4<f32>, COLUMNS>, PIXELS>;
    // WGSL does it, but Mesa's lavapipe keeps the sums of the last turn.
#for p PIXELS
#for c COLUMNS
    sum[p][c] = vec4<f32>(0.0);
#endfor
#endfor
    // Past the last column this reads weights of the next row; their sums are not stored.
    var weight = matrix + first_vector;
    for (var v = 0u; v < input_vectors; v++) {
      var x: array<vec4<f32>, PIXELS>;
#for p PIXELS
      x[p] = vec4<f32>(input[source[p] + v]);
#if NORMALISE
      // The padding needs no mask: its weights are zero.
      x[p] -= mean[p];
#endif
#endfor
#for i 4
#for c COLUMNS
      let w = vec4<f32>(weights[weight + c]);
#for p PIXELS
      sum[p][c] = fma(vec4<f32>(x[p][i]), w, sum[p][c]);
#endfor
#endfor
      weight += output_vectors;
#endfor
    }

#for p PIXELS
    if (pixel[p] < pixels) {
      let row_pixel = first_pixel + pixel[p];
      let destination = (row_pixel - params.output.first_row * params.output.width) * params.output.pixel_vectors + params.output.first_vector;
#if RESIDUAL
      let added = (row_pixel - params.residual.first_row * params.residual.width) * params.residual.pixel_vectors + params.residual.first_vector;
#endif
#for c COLUMNS
      let vector = first_vector + c;
      if (vector < output_vectors) {
#if NORMALISE
        var value = activate(sum[p][c] * scale[p] + bias[vector], vec4<f32>(params.slope));
#else
        var value = activate(sum[p][c] + bias[vector], vec4<f32>(params.slope));
#endif
#if RESIDUAL
        value += vec4<f32>(residual[added + vector]);
#endif
        output[destination + vector] = Element4(keep_channels(value, vector, params.output_channels));
      }
#endfor
    }
#endfor
  }
}
