// Last pass of group norm: (x − mean) × scale + bias, then the activation. One vector of four channels of
// PIXELS neighbouring pixels a thread, which share the factors.
#define PIXELS 4

override LANES: u32 = 64;

struct Params {
  input: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [image][mean, scale][vector]
@group(0) @binding(2) var<storage, read> factors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn group_norm_apply(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let first_column = item / channel_vectors * PIXELS;
  if (first_column >= params.output.width) { return; }
  let batch = params.first_batch + tile.z;
  let row = batch * params.height + params.first_row + tile.y;
  let mean = factors[batch * 2u * channel_vectors + vector];
  let scale = factors[(batch * 2u + 1u) * channel_vectors + vector];
  let shift = bias[vector];
#for p PIXELS
  let column = first_column + p;
  if (column < params.output.width) {
    let x = vec4<f32>(input[pixel_index(params.input, row, column) + vector]);
    let value = activate(fma(x - mean, scale, shift), vec4<f32>(params.slope));
    output[pixel_index(params.output, row, column) + vector] = Element4(keep_channels(value, vector, params.channels));
  }
#endfor
}
