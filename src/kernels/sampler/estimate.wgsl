// The picture that a diffusion network sees in a noisy one: x0 = clamp(a × sample + b × output). One vector a thread.
override LANES: u32 = 64;

struct Params {
  sample: View,
  network: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sample: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> network: array<Element4>;
// a, b, lowest value, highest value
@group(0) @binding(3) var<storage, read> factors: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn sampler_estimate(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let row = (params.first_batch + tile.z) * params.height + params.first_row + tile.y;
  let f = factors[0];
  let x = sample[pixel_index(params.sample, row, column) + vector];
  let y = vec4<f32>(network[pixel_index(params.network, row, column) + vector]);
  let value = clamp(f.x * x + f.y * y, vec4<f32>(f.z), vec4<f32>(f.w));
  output[pixel_index(params.output, row, column) + vector] = keep_channels(value, vector, params.channels);
}
