// Mean and 1/deviation of a group of channels of z = W x + b over all pixels, from mean μ and covariance Σ of x: channel c has the mean
// w·μ + b and the variance w·Σw, with w row c of W. One group of one image a group of lanes.
override LANES: u32 = 64;

struct Params {
  // Of x.
  channels: u32,
  // Of z.
  output_channels: u32,
  group_channels: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [image][means, then one row a channel][vector]
@group(0) @binding(1) var<storage, read> covariance: array<vec4<f32>>;
// [row of W][vector]
@group(0) @binding(2) var<storage, read> matrix: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
// [image][mean, scale][channel]
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

var<workgroup> sums: array<f32, LANES>;

fn total(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

// Row of W times row of the means or covariances.
fn product(matrix_row: u32, row: u32, channel_vectors: u32) -> f32 {
  var sum = vec4<f32>(0.0);
  for (var v = 0u; v < channel_vectors; v++) { sum = fma(matrix[matrix_row * channel_vectors + v], covariance[row * channel_vectors + v], sum); }
  return total(sum);
}

fn sum_of_lanes(value: f32, lane: u32) -> f32 {
  sums[lane] = value;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) { sums[lane] += sums[lane + half]; }
    workgroupBarrier();
  }
  let result = sums[0];
  workgroupBarrier();
  return result;
}

@compute @workgroup_size(LANES)
fn projected_statistics(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let means = tile.z * (params.channels + 1u);
  let first = tile.x * params.group_channels;
  let count = params.group_channels;

  var sum = 0.0;
  for (var c = lane; c < count; c += LANES) { sum += product(first + c, means, channel_vectors) + bias[first + c]; }
  let mean = sum_of_lanes(sum, lane) / f32(count);

  var variance = 0.0;
  for (var c = lane; c < count; c += LANES) {
    let d = product(first + c, means, channel_vectors) + bias[first + c] - mean;
    variance = fma(d, d, variance);
  }
  for (var item = lane; item < count * params.channels; item += LANES) {
    let row = first + item / params.channels;
    let channel = item % params.channels;
    let weight = matrix[row * channel_vectors + channel / 4u][channel % 4u];
    variance = fma(weight, product(row, means + 1u + channel, channel_vectors), variance);
  }
  let scale = 1.0 / sqrt(max(sum_of_lanes(variance, lane) / f32(count), 0.0) + params.epsilon);

  for (var c = first + lane; c < first + count; c += LANES) {
    output[tile.z * 2u * params.output_channels + c] = mean - bias[c];
    output[(tile.z * 2u + 1u) * params.output_channels + c] = scale;
  }
}
