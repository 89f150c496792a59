// Last pass of Winograd convolution: Aᵀ m A makes 4×4 output pixels of a tile's 6×6 products, then bias, activation and residual.
// One vector of channels of a tile a thread.
// As in winograd-input.wgsl.
#define UNROLLED 1
#define RESIDUAL 0

override LANES: u32 = 64;

struct Params {
  residual: View,
  output: View,
  output_height: u32,
  output_channels: u32,
  first_batch: u32,
  // Output row of the first tile.
  first_row: u32,
  // Of the strip, which has whole images or a part of one.
  tile_rows: u32,
  tile_columns: u32,
  tiles: u32,
  // Tiles between two positions of `products`.
  position_tiles: u32,
  // 6
  span: u32,
  // 4
  output_span: u32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [position, column by column][tile][vector]
@group(0) @binding(1) var<storage, read> products: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
#if RESIDUAL
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
#endif

// Aᵀ m for the points 0, ±√½, ±√2 and infinity.
fn transform(m: array<vec4<f32>, 6>) -> array<vec4<f32>, 4> {
  let even1 = m[1] + m[2];
  let odd1 = 0.70710678 * (m[1] - m[2]);
  let even2 = m[3] + m[4];
  let odd2 = 1.41421356 * (m[3] - m[4]);
  return array<vec4<f32>, 4>(
    m[0] + even1 + even2,
    odd1 + odd2,
    0.5 * even1 + 2.0 * even2,
    0.5 * odd1 + 2.0 * odd2 + m[5],
  );
}

@compute @workgroup_size(LANES)
fn winograd_output(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let channel_vectors = (params.output_channels + 3u) / 4u;
  let item = (group.y * groups.x + group.x) * LANES + lane;
  let tile = item / channel_vectors;
  let vector = item % channel_vectors;
  if (tile >= params.tiles) { return; }
  let image_tiles = params.tile_rows * params.tile_columns;
  let batch = params.first_batch + tile / image_tiles;
  let first_row = params.first_row + tile % image_tiles / params.tile_columns * 4u;
  let first_column = tile % params.tile_columns * 4u;

#if UNROLLED
  let span = 6u;
  let output_span = 4u;
#else
  let span = params.span;
  let output_span = params.output_span;
#endif
  // Aᵀ times the columns of m, and then the rows of that times A.
  var columns: array<vec4<f32>, 24>;
  var source = tile * channel_vectors + vector;
  for (var x = 0u; x < span; x++) {
    var m: array<vec4<f32>, 6>;
#for y 6
    m[y] = products[source];
    source += params.position_tiles * channel_vectors;
#endfor
    let column_values = transform(m);
#for y 4
    columns[x * 4u + y] = column_values[y];
#endfor
  }
  let start = bias[vector];
  for (var y = 0u; y < output_span; y++) {
    let row = first_row + y;
    let values = transform(array<vec4<f32>, 6>(columns[y], columns[y + 4u], columns[y + 8u], columns[y + 12u], columns[y + 16u], columns[y + 20u]));
#for x 4
    if (row < params.output_height && first_column + x < params.output.width) {
      var value = activate(values[x] + start, vec4<f32>(params.slope));
      let pixel = batch * params.output_height + row;
#if RESIDUAL
      value += residual[pixel_index(params.residual, pixel, first_column + x) + vector];
#endif
      output[pixel_index(params.output, pixel, first_column + x) + vector] = keep_channels(value, vector, params.output_channels);
    }
#endfor
  }
}
