// Adds statistics of one part of a picture to those of the parts before, or keeps the larger. One vector a thread.
// 0: times a factor; 1: mean and 1/√(variance + epsilon) of groups, which are added as mean and mean square; 2: the maximum.
override KIND: u32;
override LANES: u32 = 64;

struct Params {
  count: u32,
  // Vectors of a mean, after which as many of 1/√(variance + epsilon) follow.
  vectors: u32,
  epsilon: f32,
  factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> before: array<Element4>;
@group(0) @binding(2) var<storage, read> part: array<Element4>;
// The part's share of the picture; whether it is the first.
@group(0) @binding(3) var<storage, read> share: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn pool(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.count) { return; }
  var value = vec4<f32>(part[id.x]);
  if (KIND == 1u && (id.x / params.vectors) % 2u == 1u) {
    let mean = vec4<f32>(part[id.x - params.vectors]);
    value = max(1.0 / (value * value) - params.epsilon, vec4<f32>(0.0)) + mean * mean;
  }
  if (KIND == 0u) { value *= params.factor; }
  if (KIND == 1u) { value *= share[0].x; }
  if (share[0].y == 0.0) {
    let old = vec4<f32>(before[id.x]);
    value = select(old + value, max(old, value), KIND == 2u);
  }
  output[id.x] = Element4(value);
}
