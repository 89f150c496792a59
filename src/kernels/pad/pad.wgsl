// A tensor with another height and width: rows and columns past the last one mirror those before it. One vector a thread.
override LANES: u32 = 64;

struct Params {
  input: View,
  output: View,
  input_height: u32,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
@group(0) @binding(2) var<storage, read_write> output: array<Element4>;

// The first and last position are not repeated; where the side is shorter than the margin, it is mirrored back and forth.
fn reflect_index(index: u32, size: u32) -> u32 {
  let period = max(2u * (size - 1u), 1u);
  let place = index % period;
  return min(place, period - place);
}

@compute @workgroup_size(LANES)
fn pad(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let batch = params.first_batch + tile.z;
  let row = params.first_row + tile.y;
  let source_row = batch * params.input_height + reflect_index(row, params.input_height);
  let value = input[pixel_index(params.input, source_row, reflect_index(column, params.input.width)) + vector];
  output[pixel_index(params.output, batch * params.height + row, column) + vector] = value;
}
