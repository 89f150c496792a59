// Maps the range of each image to 0..scale: (x − minimum) / (maximum − minimum) × scale. A constant image becomes 0.
override LANES: u32 = 64;

struct Params {
  input: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
@group(0) @binding(2) var<storage, read> range: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn stretch(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let batch = params.first_batch + tile.z;
  let row = batch * params.height + params.first_row + tile.y;
  let smallest = range[batch].x;
  let extent = range[batch].y - smallest;
  let value = (vec4<f32>(input[pixel_index(params.input, row, column) + vector]) - smallest) / select(1.0, extent, extent > 0.0);
  output[pixel_index(params.output, row, column) + vector] = keep_channels(value * params.scale, vector, params.channels);
}
