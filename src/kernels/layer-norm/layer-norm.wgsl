// Layer norm over the channels of each pixel; one pixel a thread, mean and variance in two passes in f32.
override CHANNELS: u32;
override VECTORS: u32 = (CHANNELS + 3u) / 4u;
override LANES: u32 = 64;

struct Params {
  input: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn layer_norm(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let column = tile.x * LANES + lane;
  if (column >= params.output.width) { return; }
  let row = (params.first_batch + tile.z) * params.height + params.first_row + tile.y;
  let source = pixel_index(params.input, row, column);
  let destination = pixel_index(params.output, row, column);

  var sum = vec4<f32>(0.0);
  for (var v = 0u; v < VECTORS; v++) { sum += vec4<f32>(input[source + v]); }
  let mean = ((sum.x + sum.y) + (sum.z + sum.w)) / f32(CHANNELS);
  var squares = vec4<f32>(0.0);
  for (var v = 0u; v < VECTORS; v++) {
    let d = keep_channels(vec4<f32>(input[source + v]) - mean, v, CHANNELS);
    squares = fma(d, d, squares);
  }
  let scale = 1.0 / sqrt(((squares.x + squares.y) + (squares.z + squares.w)) / f32(CHANNELS) + params.epsilon);
  for (var v = 0u; v < VECTORS; v++) {
    let value = (vec4<f32>(input[source + v]) - mean) * scale * weight[v] + bias[v];
    output[destination + v] = Element4(keep_channels(value, v, CHANNELS));
  }
}
