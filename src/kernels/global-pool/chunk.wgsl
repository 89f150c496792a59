// Sum or maximum of each channel over a chunk.
// 1: the maximum; 0: the sum or the mean.
override MAXIMUM: u32;

var<workgroup> results: array<vec4<f32>, LANES>;

fn merge(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  if (MAXIMUM == 1u) { return max(a, b); }
  return a + b;
}

@compute @workgroup_size(LANES)
fn global_pool_chunk(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let vector = tile.y * params.vector_lanes + lane % params.vector_lanes;
  let first = first_index_of(tile, vector);
  let pixels = pixels_of(tile);
  var result = vec4<f32>(select(0.0, -3.4e38, MAXIMUM == 1u));
  for (var pixel = lane / params.vector_lanes; pixel < pixels; pixel += params.pixel_lanes) {
    result = merge(result, vec4<f32>(input[first + pixel * params.input.pixel_vectors]));
  }
  results[lane] = result;
  workgroupBarrier();
  for (var half = LANES / 2u; half >= params.vector_lanes; half /= 2u) {
    if (lane < half) { results[lane] = merge(results[lane], results[lane + half]); }
    workgroupBarrier();
  }
  if (lane < params.vector_lanes && vector < params.channel_vectors) {
    partial_results[chunk_of(tile) * params.channel_vectors + vector] = results[lane];
  }
}
