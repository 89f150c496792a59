// Group norm in one dispatch, for tensors so small that starting dispatches takes longer than reading them. A workgroup takes a block of
// whole groups and whole vectors of channels with all pixels of one image.
// Pixels that a thread takes in a turn.
#define PIXELS 4
#define BLOCK_CHANNELS 32
#define RESIDUAL 0

override LANES: u32 = 256;

struct Params {
  input: View,
#if RESIDUAL
  residual: View,
#endif
  output: View,
  // Of one image.
  pixels: u32,
  channels: u32,
  group_channels: u32,
  // Vectors of a block, at most BLOCK_CHANNELS / 4.
  block_vectors: u32,
  // Neighbouring lanes take neighbouring vectors of a pixel; a power of two that divides block_vectors.
  vector_lanes: u32,
  // LANES / vector_lanes: a software adapter would divide in every turn of the inner loops.
  pixel_lanes: u32,
  epsilon: f32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<Element4>;
#endif

var<workgroup> sums: array<vec4<f32>, LANES>;
var<workgroup> squares: array<vec4<f32>, LANES>;
// Of each channel of the block: first its own mean and squared deviations, then its group's mean and 1/√(variance + epsilon).
var<workgroup> means: array<f32, BLOCK_CHANNELS>;
var<workgroup> scales: array<f32, BLOCK_CHANNELS>;

@compute @workgroup_size(LANES)
fn group_norm_whole(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let first_vector = tile.x * params.block_vectors;
  let source = tile.z * params.pixels * params.input.pixel_vectors + params.input.first_vector;
  let destination = tile.z * params.pixels * params.output.pixel_vectors + params.output.first_vector;
#if RESIDUAL
  let added = tile.z * params.pixels * params.residual.pixel_vectors + params.residual.first_vector;
#endif
  let count = f32(params.pixels);
  let first_pixel = lane / params.vector_lanes;

  for (var turn = 0u; turn < params.block_vectors; turn += params.vector_lanes) {
    let v = turn + (lane & (params.vector_lanes - 1u));
    let first = source + min(first_vector + v, channel_vectors - 1u);
    // Sums are shifted by the first value, so that a large mean costs no digits.
    let shift = vec4<f32>(input[first]);
    var sum = vec4<f32>(0.0);
    var square = vec4<f32>(0.0);
    for (var pixel = first_pixel; pixel < params.pixels; pixel += PIXELS * params.pixel_lanes) {
#for p PIXELS
      let next = pixel + p * params.pixel_lanes;
      let x = vec4<f32>(input[first + min(next, params.pixels - 1u) * params.input.pixel_vectors]);
      let d = select(vec4<f32>(0.0), x - shift, next < params.pixels);
      sum += d;
      square = fma(d, d, square);
#endfor
    }
    sums[lane] = sum;
    squares[lane] = square;
    workgroupBarrier();
    for (var half = LANES / 2u; half >= params.vector_lanes; half /= 2u) {
      if (lane < half) {
        sums[lane] += sums[lane + half];
        squares[lane] += squares[lane + half];
      }
      workgroupBarrier();
    }
    if (lane < params.vector_lanes) {
      let mean = sums[lane] / count;
      let deviations = max(squares[lane] - sums[lane] * mean, vec4<f32>(0.0));
#for i 4
      means[v * 4u + i] = shift[i] + mean[i];
      scales[v * 4u + i] = deviations[i];
#endfor
    }
  }
  workgroupBarrier();

  // Merges the channels of each group (Chan, Golub and LeVeque 1979).
  let groups = min(params.block_vectors * 4u, params.channels - first_vector * 4u) / params.group_channels;
  for (var group = lane; group < groups; group += LANES) {
    let first = group * params.group_channels;
    let end = first + params.group_channels;
    var mean = 0.0;
    for (var channel = first; channel < end; channel++) { mean += means[channel]; }
    mean /= f32(params.group_channels);
    var squared = 0.0;
    for (var channel = first; channel < end; channel++) {
      let d = means[channel] - mean;
      squared += fma(d * d, count, scales[channel]);
    }
    let scale = 1.0 / sqrt(squared / (count * f32(params.group_channels)) + params.epsilon);
    for (var channel = first; channel < end; channel++) {
      means[channel] = mean;
      scales[channel] = scale;
    }
  }
  workgroupBarrier();

  for (var turn = 0u; turn < params.block_vectors; turn += params.vector_lanes) {
    let v = turn + (lane & (params.vector_lanes - 1u));
    let vector = first_vector + v;
    if (vector < channel_vectors) {
      let c = v * 4u;
      let mean = vec4<f32>(means[c], means[c + 1u], means[c + 2u], means[c + 3u]);
      let scale = vec4<f32>(scales[c], scales[c + 1u], scales[c + 2u], scales[c + 3u]) * weight[vector];
      let offset = bias[vector];
      for (var pixel = first_pixel; pixel < params.pixels; pixel += PIXELS * params.pixel_lanes) {
#for p PIXELS
        let next = pixel + p * params.pixel_lanes;
        if (next < params.pixels) {
          let x = vec4<f32>(input[source + next * params.input.pixel_vectors + vector]);
          var value = activate(fma(x - mean, scale, offset), vec4<f32>(params.slope));
#if RESIDUAL
          value += vec4<f32>(residual[added + next * params.residual.pixel_vectors + vector]);
#endif
          output[destination + next * params.output.pixel_vectors + vector] = Element4(keep_channels(value, vector, params.channels));
        }
#endfor
      }
    }
  }
}
