// Bilinear resizing: one vector of four channels a thread. Positions are fractions of whole numbers, exact on every device.
override LANES: u32 = 64;

// Input position of output i: (i × step + offset) / parts, not below 0.
struct Axis {
  step: i32,
  offset: i32,
  parts: i32,
  // Last position of the input.
  last: i32,
}

struct Params {
  input: View,
  output: View,
  input_height: u32,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
  vertical: Axis,
  horizontal: Axis,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
@group(0) @binding(2) var<storage, read_write> output: array<Element4>;

struct Place {
  lower: u32,
  upper: u32,
  // Share of the upper one.
  share: f32,
}

fn place(axis: Axis, index: u32) -> Place {
  let position = max(i32(index) * axis.step + axis.offset, 0);
  let lower = min(position / axis.parts, axis.last);
  return Place(u32(lower), u32(min(lower + 1, axis.last)), f32(position % axis.parts) / f32(axis.parts));
}

@compute @workgroup_size(LANES)
fn resize(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let batch = params.first_batch + tile.z;
  let row = params.first_row + tile.y;
  let vertical = place(params.vertical, row);
  let horizontal = place(params.horizontal, column);
  let upper_row = batch * params.input_height + vertical.lower;
  let lower_row = batch * params.input_height + vertical.upper;
  let a = vec4<f32>(input[pixel_index(params.input, upper_row, horizontal.lower) + vector]);
  let b = vec4<f32>(input[pixel_index(params.input, upper_row, horizontal.upper) + vector]);
  let c = vec4<f32>(input[pixel_index(params.input, lower_row, horizontal.lower) + vector]);
  let d = vec4<f32>(input[pixel_index(params.input, lower_row, horizontal.upper) + vector]);
  let value = mix(mix(a, b, horizontal.share), mix(c, d, horizontal.share), vertical.share);
  output[pixel_index(params.output, batch * params.height + row, column) + vector] = Element4(value);
}
