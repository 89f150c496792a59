// Mean and sum of squared deviations of each channel where a rectangle meets a fixed chunk of the picture's rows. Workgroup x counts chunks, y
// vectors of channels, z rectangles. Sums are shifted by a value of the chunk, so that a large mean costs no digits.
override LANES: u32 = 64;

struct Params {
  input: View,
  channel_vectors: u32,
  height: u32,
  chunk_rows: u32,
  first_chunk: u32,
  chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// Of each rectangle the first row, the row after the last, and the same for columns, as shares of the height and width.
@group(0) @binding(2) var<storage, read> regions: array<vec4<f32>>;
// [rectangle][chunk][number of pixels, mean, squares][vector]
@group(0) @binding(3) var<storage, read_write> partial_results: array<vec4<f32>>;

var<workgroup> sums: array<vec4<f32>, LANES>;
var<workgroup> squares: array<vec4<f32>, LANES>;

// First position and count, at least one.
fn span(share: vec2<f32>, size: u32) -> vec2<u32> {
  let first = min(u32(round(share.x * f32(size))), size - 1u);
  let end = min(u32(round(share.y * f32(size))), size);
  return vec2<u32>(first, max(end, first + 1u) - first);
}

@compute @workgroup_size(LANES)
fn region_statistics(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let region = tile.z;
  let vector = tile.y;
  let rows = span(regions[region].xy, params.height);
  let columns = span(regions[region].zw, params.input.width);
  let chunk = params.first_chunk + tile.x;
  let first_row = max(rows.x, chunk * params.chunk_rows);
  let end_row = max(first_row, min(rows.x + rows.y, (chunk + 1u) * params.chunk_rows));
  let count = (end_row - first_row) * columns.y;

  let shift = vec4<f32>(input[pixel_index(params.input, chunk * params.chunk_rows, columns.x) + vector]);
  var sum = vec4<f32>(0.0);
  var square = vec4<f32>(0.0);
  for (var i = lane; i < count; i += LANES) {
    let index = pixel_index(params.input, first_row + i / columns.y, columns.x + i % columns.y);
    let d = vec4<f32>(input[index + vector]) - shift;
    sum += d;
    square = fma(d, d, square);
  }
  sums[lane] = sum;
  squares[lane] = square;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      sums[lane] += sums[lane + half];
      squares[lane] += squares[lane + half];
    }
    workgroupBarrier();
  }
  if (lane == 0u) {
    let mean = sums[0] / max(f32(count), 1.0);
    let result = (region * params.chunks + chunk) * 3u * params.channel_vectors + vector;
    partial_results[result] = vec4<f32>(f32(count));
    partial_results[result + params.channel_vectors] = shift + mean;
    partial_results[result + 2u * params.channel_vectors] = max(squares[0] - sums[0] * mean, vec4<f32>(0.0));
  }
}
