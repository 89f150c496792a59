// Merges the chunks of an image in the order of the rows; one vector of four channels a thread.
// 1: the maximum; 0: the sum or the mean.
override MAXIMUM: u32;
override LANES: u32 = 64;

struct Params {
  output: View,
  channels: u32,
  chunks: u32,
  pixels: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [image][chunk][vector]
@group(0) @binding(1) var<storage, read> partial_results: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn global_pool_merge(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let vector = tile.x * LANES + lane;
  if (vector >= channel_vectors) { return; }
  var result = vec4<f32>(select(0.0, -3.4e38, MAXIMUM == 1u));
  for (var chunk = 0u; chunk < params.chunks; chunk++) {
    let next = partial_results[(tile.z * params.chunks + chunk) * channel_vectors + vector];
    if (MAXIMUM == 1u) { result = max(result, next); } else { result += next; }
  }
  if (MAXIMUM == 0u) { result /= params.pixels; }
  output[pixel_index(params.output, tile.z, 0u) + vector] = Element4(keep_channels(result, vector, params.channels));
}
