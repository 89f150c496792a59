// 1×1 convolution as matrix product, pixels counted through a whole image. The matrix is a weight, or one that was computed
// for each image (MATRIX_STRIDE vectors apart). With NORMALISE the input is layer-normalised over its channels on the way in.
#define PIXELS 2
#define COLUMNS 4
// Up to eight vectors of input stay in registers while the thread goes through all output channels.
#define IN_REGISTERS 1
#define INPUT_VECTORS 4
#define NORMALISE 0
#define RESIDUAL 0

override INPUT_CHANNELS: u32;
override OUTPUT_CHANNELS: u32;
override OUTPUT_VECTORS: u32 = (OUTPUT_CHANNELS + 3u) / 4u;
override LANES: u32 = 32;

struct Params {
  input: View,
  residual: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  row_count: u32,
  // Vectors between the matrices of two images; 0: one for all.
  matrix_stride: u32,
  epsilon: f32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [input channel][vector of output channels]
@group(0) @binding(2) var<storage, read> weights: array<Element4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<Element4>;
#endif

fn multiply_add(value: vec4<f32>, weight: u32, sum: vec4<f32>) -> vec4<f32> {
  var s = fma(vec4<f32>(value.x), vec4<f32>(weights[weight]), sum);
  s = fma(vec4<f32>(value.y), vec4<f32>(weights[weight + OUTPUT_VECTORS]), s);
  s = fma(vec4<f32>(value.z), vec4<f32>(weights[weight + 2u * OUTPUT_VECTORS]), s);
  return fma(vec4<f32>(value.w), vec4<f32>(weights[weight + 3u * OUTPUT_VECTORS]), s);
}

fn total(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(LANES)
fn pointwise(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let batch = params.first_batch + tile.z;
  let matrix = batch * params.matrix_stride;
  let first_pixel = (batch * params.height + params.first_row) * params.output.width;
  let pixels = params.row_count * params.output.width;

  var pixel: array<u32, PIXELS>;
  var source: array<u32, PIXELS>;
  for (var p = 0u; p < PIXELS; p++) {
    pixel[p] = (tile.x * PIXELS + p) * LANES + lane;
    let inside = first_pixel + min(pixel[p], pixels - 1u);
    source[p] = (inside - params.input.first_row * params.input.width) * params.input.pixel_vectors + params.input.first_vector;
  }

#if IN_REGISTERS
  var x: array<array<vec4<f32>, INPUT_VECTORS>, PIXELS>;
  for (var p = 0u; p < PIXELS; p++) {
    for (var v = 0u; v < INPUT_VECTORS; v++) { x[p][v] = vec4<f32>(input[source[p] + v]); }
#if NORMALISE
    var sum = vec4<f32>(0.0);
    for (var v = 0u; v < INPUT_VECTORS; v++) { sum += x[p][v]; }
    let mean = total(sum) / f32(INPUT_CHANNELS);
    var squares = vec4<f32>(0.0);
    for (var v = 0u; v < INPUT_VECTORS; v++) {
      x[p][v] = keep_channels(x[p][v] - mean, v, INPUT_CHANNELS);
      squares = fma(x[p][v], x[p][v], squares);
    }
    let scale = 1.0 / sqrt(total(squares) / f32(INPUT_CHANNELS) + params.epsilon);
    for (var v = 0u; v < INPUT_VECTORS; v++) { x[p][v] *= scale; }
#endif
  }
#else
  var mean: array<f32, PIXELS>;
  var scale: array<f32, PIXELS>;
#if NORMALISE
  for (var p = 0u; p < PIXELS; p++) {
    var sum = vec4<f32>(0.0);
    for (var v = 0u; v < INPUT_VECTORS; v++) { sum += vec4<f32>(input[source[p] + v]); }
    mean[p] = total(sum) / f32(INPUT_CHANNELS);
    var squares = vec4<f32>(0.0);
    for (var v = 0u; v < INPUT_VECTORS; v++) {
      let d = keep_channels(vec4<f32>(input[source[p] + v]) - mean[p], v, INPUT_CHANNELS);
      squares = fma(d, d, squares);
    }
    scale[p] = 1.0 / sqrt(total(squares) / f32(INPUT_CHANNELS) + params.epsilon);
  }
#endif
#endif

  for (var first_vector = 0u; first_vector < OUTPUT_VECTORS; first_vector += COLUMNS) {
    var sum: array<array<vec4<f32>, COLUMNS>, PIXELS>;
    for (var c = 0u; c < COLUMNS; c++) {
      let b = bias[min(first_vector + c, OUTPUT_VECTORS - 1u)];
      for (var p = 0u; p < PIXELS; p++) { sum[p][c] = b; }
    }
    for (var v = 0u; v < INPUT_VECTORS; v++) {
#if IN_REGISTERS
#else
      var x: array<vec4<f32>, PIXELS>;
      for (var p = 0u; p < PIXELS; p++) {
        x[p] = vec4<f32>(input[source[p] + v]);
#if NORMALISE
        x[p] = keep_channels((x[p] - mean[p]) * scale[p], v, INPUT_CHANNELS);
#endif
      }
#endif
      for (var c = 0u; c < COLUMNS; c++) {
        let weight = matrix + v * 4u * OUTPUT_VECTORS + min(first_vector + c, OUTPUT_VECTORS - 1u);
        for (var p = 0u; p < PIXELS; p++) {
#if IN_REGISTERS
          sum[p][c] = multiply_add(x[p][v], weight, sum[p][c]);
#else
          sum[p][c] = multiply_add(x[p], weight, sum[p][c]);
#endif
        }
      }
    }
    for (var p = 0u; p < PIXELS; p++) {
      if (pixel[p] >= pixels) { break; }
      let target_pixel = first_pixel + pixel[p];
      let target_index = (target_pixel - params.output.first_row * params.output.width) * params.output.pixel_vectors + params.output.first_vector;
      for (var c = 0u; c < COLUMNS; c++) {
        let vector = first_vector + c;
        if (vector >= OUTPUT_VECTORS) { break; }
        var value = activate(sum[p][c], vec4<f32>(params.slope));
#if RESIDUAL
        value += vec4<f32>(residual[(target_pixel - params.residual.first_row * params.residual.width) * params.residual.pixel_vectors
          + params.residual.first_vector + vector]);
#endif
        output[target_index + vector] = Element4(keep_channels(value, vector, OUTPUT_CHANNELS));
      }
    }
  }
}
