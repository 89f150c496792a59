// Group norm with statistics from elsewhere: (x − mean) × scale × weight + bias, then the activation and the residual. One vector of four channels a thread.
#define RESIDUAL 0

override LANES: u32 = 64;

struct Params {
  input: View,
#if RESIDUAL
  residual: View,
#endif
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [image][mean, 1/deviation][vector]
@group(0) @binding(2) var<storage, read> statistics: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<Element4>;
#if RESIDUAL
@group(0) @binding(6) var<storage, read> residual: array<Element4>;
#endif

@compute @workgroup_size(LANES)
fn normalise(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let batch = params.first_batch + tile.z;
  let row = batch * params.height + params.first_row + tile.y;
  let mean = statistics[batch * 2u * channel_vectors + vector];
  let scale = statistics[(batch * 2u + 1u) * channel_vectors + vector] * weight[vector];
  let x = vec4<f32>(input[pixel_index(params.input, row, column) + vector]);
  var value = activate(fma(x - mean, scale, bias[vector]), vec4<f32>(params.slope));
#if RESIDUAL
  value += vec4<f32>(residual[pixel_index(params.residual, row, column) + vector]);
#endif
  output[pixel_index(params.output, row, column) + vector] = Element4(keep_channels(value, vector, params.channels));
}
