// Depthwise convolution of any size, stride, padding and dilation: one vector of four channels of one pixel a thread.
override VECTORS: u32;
override CHANNELS: u32;
override KERNEL_HEIGHT: u32;
override KERNEL_WIDTH: u32;
override STRIDE: u32;
override DILATION: u32;
override LANES: u32 = 64;

struct Params {
  input: View,
  output: View,
  input_height: u32,
  output_height: u32,
  first_batch: u32,
  first_row: u32,
  padding: u32,
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
  let item = tile.x * LANES + lane;
  let vector = item % VECTORS;
  let column = item / VECTORS;
  let row = params.first_row + tile.y;
  let batch = params.first_batch + tile.z;
  if (column >= params.output.width) { return; }

  var sum = bias[vector];
  for (var ky = 0u; ky < KERNEL_HEIGHT; ky++) {
    // Unsigned: positions before the picture wrap round and are past its end.
    let y = row * STRIDE + ky * DILATION - params.padding;
    if (y >= params.input_height) { continue; }
    for (var kx = 0u; kx < KERNEL_WIDTH; kx++) {
      let x = column * STRIDE + kx * DILATION - params.padding;
      if (x >= params.input.width) { continue; }
      let value = vec4<f32>(input[pixel_index(params.input, batch * params.input_height + y, x) + vector]);
      sum = fma(value, vec4<f32>(weights[(ky * KERNEL_WIDTH + kx) * VECTORS + vector]), sum);
    }
  }
  let value = activate(sum, vec4<f32>(params.slope));
  output[pixel_index(params.output, batch * params.output_height + row, column) + vector] = Element4(keep_channels(value, vector, CHANNELS));
}
