// Peak bandwidth: copies a buffer, one vec4 a lane and turn, in strides of the whole grid.
override LANES: u32;

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
  let count = arrayLength(&input);
  for (var i = id.x; i < count; i += workgroups.x * LANES) {
    output[i] = input[i];
  }
}
