// Second pass of group norm: merges the channels and chunks of each group and turns them into what
// every pixel of a channel needs: the mean, and weight / √(variance + epsilon). One group of one image a workgroup.
override LANES: u32 = 64;

struct Params {
  height: u32,
  width: u32,
  channel_vectors: u32,
  group_channels: u32,
  chunks: u32,
  chunk_rows: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [image][chunk][mean, squares][channel]
@group(0) @binding(1) var<storage, read> partial_results: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
// [image][mean, scale][channel]
@group(0) @binding(3) var<storage, read_write> factors: array<f32>;

@compute @workgroup_size(LANES)
fn group_norm_merge(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channels = params.channel_vectors * 4u;
  let first_channel = tile.x * params.group_channels;
  let batch = tile.z;
  var result = vec4<f32>(0.0);
  for (var i = lane; i < params.group_channels * params.chunks; i += LANES) {
    let chunk = i / params.group_channels;
    let index = (batch * params.chunks + chunk) * 2u * channels + first_channel + i % params.group_channels;
    let rows = min(params.chunk_rows, params.height - chunk * params.chunk_rows);
    result = merge(result, vec4<f32>(f32(rows * params.width), partial_results[index], partial_results[index + channels], 0.0));
  }
  let group = merge_lanes(lane, result);
  let scale = 1.0 / sqrt(group.z / group.x + params.epsilon);
  for (var channel = first_channel + lane; channel < first_channel + params.group_channels; channel += LANES) {
    factors[batch * 2u * channels + channel] = group.y;
    factors[(batch * 2u + 1u) * channels + channel] = scale * weight[channel];
  }
}
