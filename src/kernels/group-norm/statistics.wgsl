// First pass of group norm: mean and sum of squared deviations of each channel in a fixed chunk of rows. Sums are shifted by
// the chunk's first value, so that a large mean costs no digits. The chunks do not depend on how the picture is banded.
// A turn of the loop takes PIXELS pixels.
#define PIXELS 4

override LANES: u32 = 64;

struct Params {
  input: View,
  height: u32,
  channel_vectors: u32,
  // Neighbouring lanes take neighbouring vectors of a pixel; a power of two.
  vector_lanes: u32,
  chunk_rows: u32,
  first_batch: u32,
  first_chunk: u32,
  chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [image][chunk][mean, squares][vector]
@group(0) @binding(2) var<storage, read_write> partial_results: array<vec4<f32>>;

var<workgroup> sums: array<vec4<f32>, LANES>;
var<workgroup> squares: array<vec4<f32>, LANES>;

@compute @workgroup_size(LANES)
fn group_norm_statistics(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let batch = params.first_batch + tile.z;
  let chunk = params.first_chunk + tile.x;
  let vector = tile.y * params.vector_lanes + lane % params.vector_lanes;
  let first_row = chunk * params.chunk_rows;
  let end_row = min(first_row + params.chunk_rows, params.height);
  let pixels = (end_row - first_row) * params.input.width;
  let first = pixel_index(params.input, batch * params.height + first_row, 0u) + min(vector, params.channel_vectors - 1u);

  let shift = vec4<f32>(input[first]);
  var sum = vec4<f32>(0.0);
  var square = vec4<f32>(0.0);
  let step = LANES / params.vector_lanes;
  for (var pixel = lane / params.vector_lanes; pixel < pixels; pixel += PIXELS * step) {
#for p PIXELS
    let next = pixel + p * step;
    let x = vec4<f32>(input[first + min(next, pixels - 1u) * params.input.pixel_vectors]);
    let d = select(vec4<f32>(0.0), x - shift, next < pixels);
    sum += d;
    square = fma(d, d, square);
#endfor
  }
  sums[lane] = sum;
  squares[lane] = square;
  workgroupBarrier();
  for (var half = LANES / 2u; half >= params.vector_lanes; half /= 2u) {
    if (lane < half) {
      sums[lane] += sums[lane + half];
      squares[lane] += squares[lane + half];
    }
    workgroupBarrier();
  }
  if (lane < params.vector_lanes && vector < params.channel_vectors) {
    let mean = sums[lane] / f32(pixels);
    let result = (batch * params.chunks + chunk) * 2u * params.channel_vectors + vector;
    partial_results[result] = shift + mean;
    partial_results[result + params.channel_vectors] = max(squares[lane] - sums[lane] * mean, vec4<f32>(0.0));
  }
}
