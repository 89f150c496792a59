// Convolution as implicit GEMM: rows of the matrix are output pixels, columns output channels, the inner dimension
// runs over taps and input channels. Nothing is gathered in memory: a thread keeps PIXELS neighbouring output pixels ×
// COLUMNS vectors of output channels in registers, and loads each input vector of its span once per kernel row.
// The index of a weight depends on nothing but the workgroup and the loops, so a workgroup loads it once.
#define PIXELS 4
#define COLUMNS 2
#define KERNEL_WIDTH 3
#define STRIDE 1
#define DILATION 1
// (PIXELS - 1) * STRIDE + (KERNEL_WIDTH - 1) * DILATION + 1
#define SPAN 6
#define RESIDUAL 0

override KERNEL_HEIGHT: u32;
override INPUT_VECTORS: u32;
override OUTPUT_CHANNELS: u32;
override OUTPUT_VECTORS: u32 = (OUTPUT_CHANNELS + 3u) / 4u;
override LANES: u32 = 32;

struct Params {
  input: View,
  residual: View,
  output: View,
  input_height: u32,
  output_height: u32,
  first_batch: u32,
  first_row: u32,
  padding_top: u32,
  padding_left: u32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [kernel row][kernel column][input channel][vector of output channels]
@group(0) @binding(2) var<storage, read> weights: array<Element4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<Element4>;
#endif

@compute @workgroup_size(LANES)
fn conv2d(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let column_blocks = (OUTPUT_VECTORS + COLUMNS - 1u) / COLUMNS;
  let batch = params.first_batch + tile.z / column_blocks;
  let first_vector = (tile.z % column_blocks) * COLUMNS;
  let row = params.first_row + tile.y;
  let first_column = (tile.x * LANES + lane) * PIXELS;

  var sum: array<array<vec4<f32>, COLUMNS>, PIXELS>;
  for (var c = 0u; c < COLUMNS; c++) {
    let b = bias[min(first_vector + c, OUTPUT_VECTORS - 1u)];
    for (var p = 0u; p < PIXELS; p++) { sum[p][c] = b; }
  }

  for (var ky = 0u; ky < KERNEL_HEIGHT; ky++) {
    // Unsigned: a row above the picture wraps round and is past the bottom.
    let y = row * STRIDE + ky * DILATION - params.padding_top;
    if (y >= params.input_height) { continue; }
    let input_row = batch * params.input_height + y;
    for (var v = 0u; v < INPUT_VECTORS; v++) {
      var x: array<vec4<f32>, SPAN>;
      for (var s = 0u; s < SPAN; s++) {
        let column = first_column * STRIDE + s - params.padding_left;
        let index = pixel_index(params.input, input_row, min(column, params.input.width - 1u)) + v;
        x[s] = select(vec4<f32>(0.0), vec4<f32>(input[index]), column < params.input.width);
      }
      for (var kx = 0u; kx < KERNEL_WIDTH; kx++) {
        let tap = ((ky * KERNEL_WIDTH + kx) * INPUT_VECTORS + v) * 4u * OUTPUT_VECTORS + first_vector;
        for (var c = 0u; c < COLUMNS; c++) {
          let column = min(tap + c, tap + OUTPUT_VECTORS - 1u - first_vector);
          let w0 = vec4<f32>(weights[column]);
          let w1 = vec4<f32>(weights[column + OUTPUT_VECTORS]);
          let w2 = vec4<f32>(weights[column + 2u * OUTPUT_VECTORS]);
          let w3 = vec4<f32>(weights[column + 3u * OUTPUT_VECTORS]);
          for (var p = 0u; p < PIXELS; p++) {
            let value = x[p * STRIDE + kx * DILATION];
            sum[p][c] = fma(vec4<f32>(value.x), w0, sum[p][c]);
            sum[p][c] = fma(vec4<f32>(value.y), w1, sum[p][c]);
            sum[p][c] = fma(vec4<f32>(value.z), w2, sum[p][c]);
            sum[p][c] = fma(vec4<f32>(value.w), w3, sum[p][c]);
          }
        }
      }
    }
  }

  let output_row = batch * params.output_height + row;
  for (var p = 0u; p < PIXELS; p++) {
    let column = first_column + p;
    if (column >= params.output.width) { break; }
    for (var c = 0u; c < COLUMNS; c++) {
      let vector = first_vector + c;
      if (vector >= OUTPUT_VECTORS) { break; }
      var value = activate(sum[p][c], vec4<f32>(params.slope));
#if RESIDUAL
      value += vec4<f32>(residual[pixel_index(params.residual, output_row, column) + vector]);
#endif
      output[pixel_index(params.output, output_row, column) + vector] = Element4(keep_channels(value, vector, OUTPUT_CHANNELS));
    }
  }
}
