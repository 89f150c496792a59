// First pass of the covariance: mean of each channel, and sums of products of deviations of two channels, over a fixed chunk of the rows
// of one image, whatever the bands. Values are shifted by the chunk's first pixel, so that a large mean costs no digits.
//
// A group of lanes takes a tile of 32 × 32 channels, a lane 4 × 4 of them; only tiles on and above the diagonal are computed.
override LANES: u32 = 64;

struct Params {
  input: View,
  height: u32,
  channels: u32,
  chunk_rows: u32,
  first_batch: u32,
  first_chunk: u32,
  chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [image][chunk][means, then one row a channel][vector]
@group(0) @binding(2) var<storage, read_write> partial_results: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn covariance_chunk(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let tiles = (channel_vectors + 7u) / 8u;
  var tile_row = 0u;
  var tile_column = tile.y;
  while (tile_column >= tiles - tile_row) {
    tile_column -= tiles - tile_row;
    tile_row++;
  }
  tile_column += tile_row;
  let row_vector = tile_row * 8u + lane / 8u;
  let column_vector = tile_column * 8u + lane % 8u;
  if (row_vector >= channel_vectors || column_vector >= channel_vectors) { return; }

  let batch = params.first_batch + tile.z;
  let chunk = params.first_chunk + tile.x;
  let first_row = chunk * params.chunk_rows;
  let pixels = (min(first_row + params.chunk_rows, params.height) - first_row) * params.input.width;
  let first = pixel_index(params.input, batch * params.height + first_row, 0u);
  let row_shift = vec4<f32>(input[first + row_vector]);
  let column_shift = vec4<f32>(input[first + column_vector]);

  var row_sum = vec4<f32>(0.0);
  var column_sum = vec4<f32>(0.0);
  var products: array<vec4<f32>, 4>;
#for i 4
  products[i] = vec4<f32>(0.0);
#endfor
  for (var pixel = 0u; pixel < pixels; pixel++) {
    let index = first + pixel * params.input.pixel_vectors;
    let a = vec4<f32>(input[index + row_vector]) - row_shift;
    let b = vec4<f32>(input[index + column_vector]) - column_shift;
    row_sum += a;
    column_sum += b;
#for i 4
    products[i] = fma(vec4<f32>(a[i]), b, products[i]);
#endfor
  }

  let result = (batch * params.chunks + chunk) * (params.channels + 1u);
  if (row_vector == column_vector) { partial_results[result * channel_vectors + row_vector] = row_shift + row_sum / f32(pixels); }
#for i 4
  let channel = row_vector * 4u + i;
  if (channel < params.channels) {
    partial_results[(result + 1u + channel) * channel_vectors + column_vector] = products[i] - row_sum[i] * (column_sum / f32(pixels));
  }
#endfor
}
