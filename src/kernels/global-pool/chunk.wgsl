// Sum or maximum of each channel over a fixed chunk of rows. The chunks do not depend on how the picture is banded.
// 1: the maximum; 0: the sum or the mean.
override MAXIMUM: u32;
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
// [image][chunk][vector]
@group(0) @binding(2) var<storage, read_write> partial_results: array<vec4<f32>>;

var<workgroup> results: array<vec4<f32>, LANES>;

fn merge(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  if (MAXIMUM == 1u) { return max(a, b); }
  return a + b;
}

@compute @workgroup_size(LANES)
fn global_pool_chunk(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let batch = params.first_batch + tile.z;
  let chunk = params.first_chunk + tile.x;
  let vector = tile.y * params.vector_lanes + lane % params.vector_lanes;
  let first_row = chunk * params.chunk_rows;
  let end_row = min(first_row + params.chunk_rows, params.height);
  let pixels = (end_row - first_row) * params.input.width;
  let first = pixel_index(params.input, batch * params.height + first_row, 0u) + min(vector, params.channel_vectors - 1u);

  var result = vec4<f32>(select(0.0, -3.4e38, MAXIMUM == 1u));
  for (var pixel = lane / params.vector_lanes; pixel < pixels; pixel += LANES / params.vector_lanes) {
    result = merge(result, vec4<f32>(input[first + pixel * params.input.pixel_vectors]));
  }
  results[lane] = result;
  workgroupBarrier();
  for (var half = LANES / 2u; half >= params.vector_lanes; half /= 2u) {
    if (lane < half) { results[lane] = merge(results[lane], results[lane + half]); }
    workgroupBarrier();
  }
  if (lane < params.vector_lanes && vector < params.channel_vectors) {
    partial_results[(batch * params.chunks + chunk) * params.channel_vectors + vector] = results[lane];
  }
}
