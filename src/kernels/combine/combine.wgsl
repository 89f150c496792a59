// Two tensors made one, element by element: one vector of four channels a thread.
// OPERATION 0: mean; 1: maximum; 2: the one of larger magnitude, the first if they are equal; 3: weighted mean.
#define WEIGHTED 0

override OPERATION: u32;
override LANES: u32 = 64;

struct Params {
  first: View,
  second: View,
#if WEIGHTED
  weights: View,
#endif
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  // An input of one channel has it in place of every channel.
  first_channels: u32,
  second_channels: u32,
  channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> first: array<Element4>;
@group(0) @binding(2) var<storage, read> second: array<Element4>;
@group(0) @binding(3) var<storage, read_write> output: array<Element4>;
#if WEIGHTED
// Weight of the first tensor in channel 0; the second has the rest.
@group(0) @binding(4) var<storage, read> weights: array<Element4>;
#endif

@compute @workgroup_size(LANES)
fn combine(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let row = (params.first_batch + tile.z) * params.height + params.first_row + tile.y;

  var a = vec4<f32>(first[pixel_index(params.first, row, column) + select(vector, 0u, params.first_channels == 1u)]);
  var b = vec4<f32>(second[pixel_index(params.second, row, column) + select(vector, 0u, params.second_channels == 1u)]);
  if (params.first_channels == 1u) { a = vec4<f32>(a.x); }
  if (params.second_channels == 1u) { b = vec4<f32>(b.x); }
#if WEIGHTED
  let weight = f32(weights[pixel_index(params.weights, row, column)].x);
  let value = weight * a + (1.0 - weight) * b;
#else
  var value: vec4<f32>;
  switch OPERATION {
    case 0u: { value = 0.5 * (a + b); }
    case 1u: { value = max(a, b); }
    default: { value = select(b, a, abs(a) >= abs(b)); }
  }
#endif
  output[pixel_index(params.output, row, column) + vector] = Element4(keep_channels(value, vector, params.channels));
}
