// One level up a Gaussian pyramid: the 5×5 kernel at every other pixel. One vector of four channels of one pixel a thread.
override VECTORS: u32;
override CHANNELS: u32;
override LANES: u32 = 64;

struct Params {
  input: View,
  output: View,
  input_height: u32,
  output_height: u32,
  first_batch: u32,
  first_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
@group(0) @binding(2) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn pyramid_reduce(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let item = tile.x * LANES + lane;
  let vector = item % VECTORS;
  let column = item / VECTORS;
  let row = params.first_row + tile.y;
  let batch = params.first_batch + tile.z;
  if (column >= params.output.width) { return; }

  let centre = 2 * i32(row);
  var sum = vec4<f32>(0.0);
  // The bounds are not constants, so compilers unroll the inner loop alone: all 25 loads take a software adapter seconds to compile.
  for (var position = centre - 2; position <= centre + 2; position++) {
    let y = u32(mirror(position, i32(params.input_height)));
    for (var kx = -2; kx <= 2; kx++) {
      let x = u32(mirror(2 * i32(column) + kx, i32(params.input.width)));
      let value = vec4<f32>(input[pixel_index(params.input, batch * params.input_height + y, x) + vector]);
      sum = fma(value, vec4<f32>(tap(position - centre) * tap(kx)), sum);
    }
  }
  output[pixel_index(params.output, batch * params.output_height + row, column) + vector] = Element4(keep_channels(sum, vector, CHANNELS));
}
