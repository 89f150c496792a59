// Mean and 1/√(variance + epsilon) from mean and mean square. One vector a thread.
override LANES: u32 = 64;

struct Params {
  count: u32,
  // Vectors of a mean, after which as many of the mean square follow.
  vectors: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn pooled_statistics(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= params.count) { return; }
  var value = input[id.x];
  if ((id.x / params.vectors) % 2u == 1u) {
    let mean = input[id.x - params.vectors];
    value = 1.0 / sqrt(max(value - mean * mean, vec4<f32>(0.0)) + params.epsilon);
  }
  output[id.x] = value;
}
