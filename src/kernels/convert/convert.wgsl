// scale × x + offset in another element type, one channel repeated where more are asked for. One vector a thread.
#define INPUT_F16 0
#define OUTPUT_F16 0
#if INPUT_F16
alias Input4 = Element4;
#else
alias Input4 = vec4<f32>;
#endif
#if OUTPUT_F16
alias Output4 = Element4;
#else
alias Output4 = vec4<f32>;
#endif

override LANES: u32 = 64;

struct Params {
  input: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
  // 1: the input's only channel stands for each.
  repeat: u32,
  scale: f32,
  offset: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Input4>;
@group(0) @binding(2) var<storage, read_write> output: array<Output4>;

@compute @workgroup_size(LANES)
fn convert(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let row = (params.first_batch + tile.z) * params.height + params.first_row + tile.y;
  let source = pixel_index(params.input, row, column);
  var x = vec4<f32>(input[source + select(vector, 0u, params.repeat == 1u)]);
  if (params.repeat == 1u) { x = vec4<f32>(x.x); }
  let value = fma(x, vec4<f32>(params.scale), vec4<f32>(params.offset));
  output[pixel_index(params.output, row, column) + vector] = Output4(keep_channels(value, vector, params.channels));
}
