// One step of a sampler: a sum of what it knows, each with its factor. An operand whose factor is 0 is not looked at: it may be
// anything. One vector a thread.
override LANES: u32 = 64;

struct Params {
  sample: View,
  network: View,
  estimate: View,
  noise: View,
  previous: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sample: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> network: array<Element4>;
@group(0) @binding(3) var<storage, read> estimate: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> noise: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> previous: array<vec4<f32>>;
// Vector 1: of the estimate, the sample, the network's output and the noise; vector 2: of the previous estimate.
@group(0) @binding(6) var<storage, read> factors: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn sampler_next(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let row = (params.first_batch + tile.z) * params.height + params.first_row + tile.y;
  let f = factors[1];
  let before = factors[2].x;
  var value = f.x * estimate[pixel_index(params.estimate, row, column) + vector];
  if (f.y != 0.0) { value += f.y * sample[pixel_index(params.sample, row, column) + vector]; }
  if (f.z != 0.0) { value += f.z * vec4<f32>(network[pixel_index(params.network, row, column) + vector]); }
  if (f.w != 0.0) { value += f.w * noise[pixel_index(params.noise, row, column) + vector]; }
  if (before != 0.0) { value += before * previous[pixel_index(params.previous, row, column) + vector]; }
  output[pixel_index(params.output, row, column) + vector] = keep_channels(value, vector, params.channels);
}
