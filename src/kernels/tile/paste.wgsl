// Adds a tile, each of whose rows and columns has a weight, to the picture at a place. One vector a thread.
override LANES: u32 = 64;

struct Params {
  picture: View,
  tile: View,
  output: View,
  // Of an image of the picture, and of the tile.
  height: u32,
  tile_height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> picture: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> tile: array<Element4>;
// Row and column of the picture at which the tile starts; 1 where it is the first, before which the picture is 0.
@group(0) @binding(3) var<storage, read> place: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> row_weights: array<f32>;
@group(0) @binding(5) var<storage, read> column_weights: array<f32>;
@group(0) @binding(6) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn paste(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = group.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let batch = params.first_batch + group.z;
  let row = params.first_row + group.y;
  var value = vec4<f32>(0.0);
  if (place[0].z == 0.0) { value = picture[pixel_index(params.picture, batch * params.height + row, column) + vector]; }
  let top = u32(place[0].x);
  let left = u32(place[0].y);
  if (row >= top && row < top + params.tile_height && column >= left && column < left + params.tile.width) {
    let weight = row_weights[row - top] * column_weights[column - left];
    let source = pixel_index(params.tile, batch * params.tile_height + row - top, column - left) + vector;
    value = fma(vec4<f32>(weight), vec4<f32>(tile[source]), value);
  }
  output[pixel_index(params.output, batch * params.height + row, column) + vector] = keep_channels(value, vector, params.channels);
}
