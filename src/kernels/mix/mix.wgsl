// first × w + second × (1 − w) with w = sigmoid(channel + spatial): one vector of four channels a thread.
override LANES: u32 = 64;

struct Params {
  first: View,
  second: View,
  channel: View,
  spatial: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> first: array<Element4>;
@group(0) @binding(2) var<storage, read> second: array<Element4>;
// One pixel an image.
@group(0) @binding(3) var<storage, read> channel: array<Element4>;
@group(0) @binding(4) var<storage, read> spatial: array<Element4>;
@group(0) @binding(5) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn mix_features(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let batch = params.first_batch + tile.z;
  let row = batch * params.height + params.first_row + tile.y;
  let x = vec4<f32>(first[pixel_index(params.first, row, column) + vector]);
  let y = vec4<f32>(second[pixel_index(params.second, row, column) + vector]);
  let score = vec4<f32>(channel[pixel_index(params.channel, batch, 0u) + vector]) + vec4<f32>(spatial[pixel_index(params.spatial, row, column) + vector]);
  let weight = 1.0 / (1.0 + exp(-score));
  output[pixel_index(params.output, row, column) + vector] = Element4(keep_channels(x * weight + y * (1.0 - weight), vector, params.channels));
}
