// Second pass of the covariance: merges the chunks of an image in the order of the rows (Chan, Golub and LeVeque 1979) and fills in what
// lies below the diagonal. One vector of four columns a thread.
override LANES: u32 = 64;

struct Params {
  height: u32,
  width: u32,
  channels: u32,
  chunk_rows: u32,
  chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [image][chunk][means, then one row a channel][column]
@group(0) @binding(1) var<storage, read> partial_results: array<f32>;
// [image][means, then one row a channel][vector]
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;

fn chunk_pixels(chunk: u32) -> f32 {
  let first_row = chunk * params.chunk_rows;
  return f32((min(first_row + params.chunk_rows, params.height) - first_row) * params.width);
}

@compute @workgroup_size(LANES)
fn covariance_merge(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let columns = channel_vectors * 4u;
  let vector = tile.x * LANES + lane;
  if (vector >= channel_vectors) { return; }
  let rows = params.channels + 1u;
  let batch = tile.z;
  let row = tile.y;
  // Row 0 is that of the means; its channel does not matter.
  let channel = max(row, 1u) - 1u;
  let pixels = f32(params.height * params.width);
  let first = batch * params.chunks * rows * columns;
  let row_shift = partial_results[first + channel];
  var shift = vec4<f32>(0.0);
#for i 4
  shift[i] = partial_results[first + vector * 4u + i];
#endfor
  var row_mean = 0.0;
  var mean = vec4<f32>(0.0);
  for (var chunk = 0u; chunk < params.chunks; chunk++) {
    let share = chunk_pixels(chunk) / pixels;
    let means = first + chunk * rows * columns;
    row_mean += share * (partial_results[means + channel] - row_shift);
#for i 4
    mean[i] += share * (partial_results[means + vector * 4u + i] - shift[i]);
#endfor
  }
  var result = shift + mean;
  if (row > 0u) {
    var sum = vec4<f32>(0.0);
    for (var chunk = 0u; chunk < params.chunks; chunk++) {
      let means = first + chunk * rows * columns;
      let row_deviation = partial_results[means + channel] - row_shift - row_mean;
#for i 4
      let column = vector * 4u + i;
      let deviation = partial_results[means + column] - shift[i] - mean[i];
      if (column < params.channels) {
        // Only tiles of 32 × 32 on and above the diagonal were computed.
        let above = channel / 32u <= column / 32u;
        let index = select((column + 1u) * columns + channel, (channel + 1u) * columns + column, above);
        sum[i] += partial_results[means + index] + chunk_pixels(chunk) * row_deviation * deviation;
      }
#endfor
    }
    result = sum / pixels;
  }
  output[(batch * rows + row) * channel_vectors + vector] = keep_channels(result, vector, params.channels);
}
