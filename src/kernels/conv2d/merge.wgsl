// Adds what the parts of a divided convolution summed, in their order, and finishes it.
#define RESIDUAL 0

override LANES: u32 = 64;

struct Params {
  // [pixel][part][vector]
  partial_sums: View,
  residual: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  row_count: u32,
  output_channels: u32,
  parts: u32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial_sums: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<Element4>;
#if RESIDUAL
@group(0) @binding(4) var<storage, read> residual: array<Element4>;
#endif

@compute @workgroup_size(LANES)
fn merge(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let output_vectors = (params.output_channels + 3u) / 4u;
  let item = (tile.y * tiles.x + tile.x) * LANES + lane;
  let pixel = item / output_vectors;
  let vector = item % output_vectors;
  if (pixel >= params.row_count * params.output.width) { return; }
  let row = (params.first_batch + tile.z) * params.height + params.first_row + pixel / params.output.width;
  let column = pixel % params.output.width;
  let source = pixel_index(params.partial_sums, row, column) + vector;
  var sum = vec4<f32>(0.0);
  for (var part = 0u; part < params.parts; part++) { sum += partial_sums[source + part * output_vectors]; }
  var value = activate(sum + bias[vector], vec4<f32>(params.slope));
#if RESIDUAL
  value += vec4<f32>(residual[pixel_index(params.residual, row, column) + vector]);
#endif
  output[pixel_index(params.output, row, column) + vector] = Element4(keep_channels(value, vector, params.output_channels));
}
