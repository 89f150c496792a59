// Adds the partial sums of all chunks in the order of the rows: the same sum however the picture was banded.
override LANES: u32 = 64;

struct Params {
  chunks: u32,
  // Sums to make: images × pairs × 6.
  count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial_sums: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> sums: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn sum_chunks(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.count) { return; }
  let first = (id.x / 6u) * params.chunks * 6u + id.x % 6u;
  var sum = vec4<f32>(0.0);
  for (var chunk = 0u; chunk < params.chunks; chunk++) { sum += partial_sums[first + chunk * 6u]; }
  sums[id.x] = sum;
}
