// Mean or maximum of a window: one vector of four channels a thread.
// 1: the maximum; 0: the mean.
override MAXIMUM: u32;
override LANES: u32 = 64;

struct Params {
  input: View,
  output: View,
  input_height: u32,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
  kernel_size: u32,
  stride: u32,
  padding: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
@group(0) @binding(2) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn pool2d(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let batch = params.first_batch + tile.z;
  let row = params.first_row + tile.y;

  var result = vec4<f32>(select(0.0, -3.4e38, MAXIMUM == 1u));
  for (var ky = 0u; ky < params.kernel_size; ky++) {
    // Unsigned: positions before the picture wrap round and are past its end.
    let y = row * params.stride + ky - params.padding;
    if (y >= params.input_height) { continue; }
    for (var kx = 0u; kx < params.kernel_size; kx++) {
      let x = column * params.stride + kx - params.padding;
      if (x >= params.input.width) { continue; }
      let value = vec4<f32>(input[pixel_index(params.input, batch * params.input_height + y, x) + vector]);
      if (MAXIMUM == 1u) { result = max(result, value); } else { result += value; }
    }
  }
  if (MAXIMUM == 0u) { result /= f32(params.kernel_size * params.kernel_size); }
  output[pixel_index(params.output, batch * params.height + row, column) + vector] = Element4(result);
}
