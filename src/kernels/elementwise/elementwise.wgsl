// Functions of one or two tensors, element by element: one vector of four channels a thread.
// OPERATION 0: activate(first); 1: first + second; 2: first × second; 3: gelu(first) × second.
#define SECOND 0

override OPERATION: u32;
override LANES: u32 = 64;

struct Params {
  first: View,
#if SECOND
  second: View,
#endif
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
  // 1: the second tensor has one number a channel.
  broadcast: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> first: array<Element4>;
// Slope of leaky ReLU or PReLU for each channel.
@group(0) @binding(2) var<storage, read> slope: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<Element4>;
#if SECOND
@group(0) @binding(4) var<storage, read> second: array<Element4>;
#endif

@compute @workgroup_size(LANES)
fn elementwise(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let batch = params.first_batch + tile.z;
  let row = batch * params.height + params.first_row + tile.y;

  let a = vec4<f32>(first[pixel_index(params.first, row, column) + vector]);
  var value = activate(a, slope[vector]);
#if SECOND
  let pixel = select(pixel_index(params.second, row, column), pixel_index(params.second, batch, 0u), params.broadcast == 1u);
  let b = vec4<f32>(second[pixel + vector]);
  switch OPERATION {
    case 1u: { value = a + b; }
    case 2u: { value = a * b; }
    case 3u: { value = gelu(a) * b; }
    default: {}
  }
#endif
  output[pixel_index(params.output, row, column) + vector] = Element4(keep_channels(value, vector, params.channels));
}
