// Merges the results of all chunks of an image; one image a thread.
struct Params {
  chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial_results: array<vec4<f32>>;
// [image]: minimum, maximum, number of values that are not finite
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(1)
fn min_max_merge(@builtin(global_invocation_id) id: vec3<u32>) {
  var result = vec4<f32>(3.4e38, -3.4e38, 0.0, 0.0);
  for (var chunk = 0u; chunk < params.chunks; chunk++) {
    let next = partial_results[id.x * params.chunks + chunk];
    result = vec4<f32>(min(result.x, next.x), max(result.y, next.y), result.z + next.z, 0.0);
  }
  output[id.x] = result;
}
