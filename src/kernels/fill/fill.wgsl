// The same number in every channel: one vector of four channels a thread.
override LANES: u32 = 64;

struct Params {
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
  value: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn fill(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let row = (params.first_batch + tile.z) * params.height + params.first_row + tile.y;
  output[pixel_index(params.output, row, column) + vector] = Element4(keep_channels(vec4<f32>(params.value), vector, params.channels));
}
