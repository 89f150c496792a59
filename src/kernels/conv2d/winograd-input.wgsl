// First pass of Winograd convolution: Bᵀ d B of the 6×6 pixels that a tile of 4×4 outputs reads, one vector of channels a thread.
// Tiles are 4 pixels apart; outside the picture there are zeros.
// A GPU unrolls the loops and keeps all values in registers; 0 hides their length from a software adapter, which would take seconds to
// compile 36 loads and stores.
#define UNROLLED 1

override LANES: u32 = 64;

struct Params {
  input: View,
  input_height: u32,
  input_channels: u32,
  padding: u32,
  first_batch: u32,
  // Output row of the first tile.
  first_row: u32,
  // Of the strip, which has whole images or a part of one.
  tile_rows: u32,
  tile_columns: u32,
  tiles: u32,
  // Tiles between two positions of `transformed`.
  position_tiles: u32,
  // 6
  span: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
// [position, column by column][tile][vector]
@group(0) @binding(2) var<storage, read_write> transformed: array<vec4<f32>>;

// Bᵀ d for the points 0, ±√½, ±√2 and infinity.
fn transform(d: array<vec4<f32>, 6>) -> array<vec4<f32>, 6> {
  let even1 = d[4] - 2.0 * d[2];
  let odd1 = 0.70710678 * (d[3] - 2.0 * d[1]);
  let even2 = d[4] - 0.5 * d[2];
  let odd2 = 1.41421356 * (d[3] - 0.5 * d[1]);
  return array<vec4<f32>, 6>(
    d[0] - 2.5 * d[2] + d[4],
    even1 + odd1,
    even1 - odd1,
    even2 + odd2,
    even2 - odd2,
    d[1] - 2.5 * d[3] + d[5],
  );
}

@compute @workgroup_size(LANES)
fn winograd_input(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let channel_vectors = (params.input_channels + 3u) / 4u;
  let item = (group.y * groups.x + group.x) * LANES + lane;
  let tile = item / channel_vectors;
  let vector = item % channel_vectors;
  if (tile >= params.tiles) { return; }
  let image_tiles = params.tile_rows * params.tile_columns;
  let batch = params.first_batch + tile / image_tiles;
  // Unsigned: positions before the picture wrap round and are past its end.
  let first_row = params.first_row + tile % image_tiles / params.tile_columns * 4u - params.padding;
  let first_column = tile % params.tile_columns * 4u - params.padding;

#if UNROLLED
  let span = 6u;
#else
  let span = params.span;
#endif
  // The rows of d times B, and then Bᵀ times the columns of that.
  var rows: array<vec4<f32>, 36>;
  for (var y = 0u; y < span; y++) {
    let row = first_row + y;
    let inside_row = row < params.input_height;
    let source = pixel_index(params.input, batch * params.input_height + row, 0u) + vector;
    var d: array<vec4<f32>, 6>;
#for x 6
    let column = first_column + x;
    let inside = inside_row && column < params.input.width;
    let index = select(0u, source + column * params.input.pixel_vectors, inside);
    d[x] = select(vec4<f32>(0.0), input[index], inside);
#endfor
    let row_values = transform(d);
#for x 6
    rows[y * 6u + x] = row_values[x];
#endfor
  }
  var destination = tile * channel_vectors + vector;
  let step = params.position_tiles * channel_vectors;
  for (var x = 0u; x < span; x++) {
    let column = transform(array<vec4<f32>, 6>(rows[x], rows[x + 6u], rows[x + 12u], rows[x + 18u], rows[x + 24u], rows[x + 30u]));
#for y 6
    transformed[destination] = column[y];
    destination += step;
#endfor
  }
}
