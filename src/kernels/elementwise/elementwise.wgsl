// Functions of one or two tensors, element by element: one vector of four channels a thread.
// OPERATION 0: activate(first); 1: first + second; 2: first × second; 3: gelu(first) × second.
#define SECOND 0

override OPERATION: u32;
override CHANNELS: u32;
override VECTORS: u32 = (CHANNELS + 3u) / 4u;
override LANES: u32 = 64;

struct Params {
  first: View,
  second: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
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
  let item = tile.x * LANES + lane;
  let vector = item % VECTORS;
  let column = item / VECTORS;
  if (column >= params.output.width) { return; }
  let row = (params.first_batch + tile.z) * params.height + params.first_row + tile.y;

  let a = vec4<f32>(first[pixel_index(params.first, row, column) + vector]);
  var value = activate(a, slope[vector]);
#if SECOND
  let b = vec4<f32>(second[pixel_index(params.second, row, column) + vector]);
  switch OPERATION {
    case 1u: { value = a + b; }
    case 2u: { value = a * b; }
    case 3u: { value = gelu(a) * b; }
    default: {}
  }
#endif
  output[pixel_index(params.output, row, column) + vector] = Element4(keep_channels(value, vector, CHANNELS));
}
