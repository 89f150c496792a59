// Merges the channels and chunks of each group to mean and 1/√(variance + epsilon). One group of one rectangle a
// workgroup.
override LANES: u32 = 64;

struct Params {
  channel_vectors: u32,
  group_channels: u32,
  chunks: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [rectangle][chunk][number of pixels, mean, squares][channel]
@group(0) @binding(1) var<storage, read> partial_results: array<f32>;
// [rectangle][mean, 1/deviation][channel]
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(LANES)
fn merge_statistics(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channels = params.channel_vectors * 4u;
  let first_channel = tile.x * params.group_channels;
  let region = tile.y;
  var result = vec4<f32>(0.0);
  for (var i = lane; i < params.group_channels * params.chunks; i += LANES) {
    let index = (region * params.chunks + i / params.group_channels) * 3u * channels + first_channel + i % params.group_channels;
    result = merge(result, vec4<f32>(partial_results[index], partial_results[index + channels], partial_results[index + 2u * channels], 0.0));
  }
  let group = merge_lanes(lane, result);
  let scale = 1.0 / sqrt(group.z / group.x + params.epsilon);
  for (var channel = first_channel + lane; channel < first_channel + params.group_channels; channel += LANES) {
    output[region * 2u * channels + channel] = group.y;
    output[(region * 2u + 1u) * channels + channel] = scale;
  }
}
