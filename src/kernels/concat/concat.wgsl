// The channels of two tensors side by side. One vector of four output channels a thread; a vector may hold channels of both.
override LANES: u32 = 64;

struct Params {
  first: View,
  second: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  first_channels: u32,
  channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> first: array<Element4>;
@group(0) @binding(2) var<storage, read> second: array<Element4>;
@group(0) @binding(3) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn concat(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let row = (params.first_batch + tile.z) * params.height + params.first_row + tile.y;
  let from_first = pixel_index(params.first, row, column);
  let from_second = pixel_index(params.second, row, column);

  var value = Element4();
  for (var i = 0u; i < 4u; i++) {
    let channel = vector * 4u + i;
    if (channel < params.first_channels) {
      value[i] = first[from_first + channel / 4u][channel % 4u];
    } else if (channel < params.channels) {
      let other = channel - params.first_channels;
      value[i] = second[from_second + other / 4u][other % 4u];
    }
  }
  output[pixel_index(params.output, row, column) + vector] = value;
}
