// Layer norm over the channels of each pixel; one pixel a thread. Each of the four lanes of the vectors keeps a running mean and squared
// deviations from it (Welford 1962), which are merged in the end, so that a large mean costs no digits and the pixel is read once for both.
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

  var means = vec4<f32>(0.0);
  var squares = vec4<f32>(0.0);
  for (var v = 0u; v < VECTORS; v++) {
    let d = keep_channels(vec4<f32>(input[source + v]) - means, v, CHANNELS);
    let step = d * (1.0 / f32(v + 1u));
    means += step;
    squares = fma(d, d - step, squares);
  }
  // Channels in each lane.
  let counts = vec4<f32>((vec4<u32>(CHANNELS + 3u) - vec4<u32>(0u, 1u, 2u, 3u)) / vec4<u32>(4u));
  let mean = dot(means, counts) / f32(CHANNELS);
  let between = (means - mean) * (means - mean);
  let variance = (((squares.x + squares.y) + (squares.z + squares.w)) + dot(between, counts)) / f32(CHANNELS);
  let scale = 1.0 / sqrt(variance + params.epsilon);
  for (var v = 0u; v < VECTORS; v++) {
    let value = (vec4<f32>(input[source + v]) - mean) * scale * weight[v] + bias[v];
    output[destination + v] = Element4(keep_channels(value, v, CHANNELS));
  }
}
