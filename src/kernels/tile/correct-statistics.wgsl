// Statistics of a whole picture from those of a part of it, and from those of the whole and of the part in a reduced picture: one
// vector a thread makes the mean and 1/deviation of four channels.
override LANES: u32 = 64;

struct Params {
  vectors: u32,
  // Which of the parts.
  parts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [mean, 1/deviation][vector]
@group(0) @binding(1) var<storage, read> own: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> whole: array<vec4<f32>>;
// [part][mean, 1/deviation][vector]
@group(0) @binding(3) var<storage, read> regions: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> part: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn correct_statistics(@builtin(global_invocation_id) id: vec3<u32>) {
  let n = params.vectors;
  if (id.x >= n) { return; }
  let region = min(u32(part[0].x), params.parts - 1u) * 2u * n + id.x;
  let scale = own[id.x + n] * whole[id.x + n] / regions[region + n];
  output[id.x] = own[id.x] + (whole[id.x] - regions[region]) * whole[id.x + n] / scale;
  output[id.x + n] = scale;
}
