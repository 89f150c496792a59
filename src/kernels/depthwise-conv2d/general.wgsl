// Depthwise convolution of any size, stride, padding and dilation: one vector of four channels of one pixel a thread.
override LANES: u32 = 64;

struct Params {
  input: View,
  output: View,
  input_height: u32,
  output_height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride: u32,
  padding: u32,
  dilation: u32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [kernel row][kernel column][vector of channels]
@group(0) @binding(2) var<storage, read> weights: array<Element4>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn depthwise_conv2d(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  let row = params.first_row + tile.y;
  let batch = params.first_batch + tile.z;
  if (column >= params.output.width) { return; }

  var sum = bias[vector];
  for (var ky = 0u; ky < params.kernel_height; ky++) {
    // Unsigned: positions before the picture wrap round and are past its end.
    let y = row * params.stride + ky * params.dilation - params.padding;
    if (y >= params.input_height) { continue; }
    for (var kx = 0u; kx < params.kernel_width; kx++) {
      let x = column * params.stride + kx * params.dilation - params.padding;
      if (x >= params.input.width) { continue; }
      let value = vec4<f32>(input[pixel_index(params.input, batch * params.input_height + y, x) + vector]);
      sum = fma(value, vec4<f32>(weights[(ky * params.kernel_width + kx) * channel_vectors + vector]), sum);
    }
  }
  let value = activate(sum, vec4<f32>(params.slope));
  output[pixel_index(params.output, batch * params.output_height + row, column) + vector] = Element4(keep_channels(value, vector, params.channels));
}
