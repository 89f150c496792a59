// Picks rows and columns of a tensor: output(y, x) = input(rows[y], columns[x]), 0 where either is negative. One vector a thread. Where the input does not fit a
// binding, a dispatch knows only a range of its rows and leaves the others alone.
override LANES: u32 = 64;

struct Params {
  input: View,
  output: View,
  // Of an image.
  input_height: u32,
  height: u32,
  first_batch: u32,
  first_row: u32,
  // Rows of the input, through the batch, that this dispatch knows.
  first_source: u32,
  end_source: u32,
  channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
@group(0) @binding(2) var<storage, read> rows: array<f32>;
@group(0) @binding(3) var<storage, read> columns: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn gather(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let batch = params.first_batch + tile.z;
  let row = params.first_row + tile.y;
  let source = batch * params.input_height + u32(max(rows[row], 0.0));
  if (source < params.first_source || source >= params.end_source) { return; }
  var value = vec4<f32>(input[pixel_index(params.input, source, u32(max(columns[column], 0.0))) + vector]);
  if (rows[row] < 0.0 || columns[column] < 0.0) { value = vec4<f32>(0.0); }
  output[pixel_index(params.output, batch * params.height + row, column) + vector] = Element4(keep_channels(value, vector, params.channels));
}
