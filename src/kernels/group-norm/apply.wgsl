// Last pass of group norm: (x − mean) × scale + bias, then the activation and the residual. A thread takes one vector of four channels of TURNS × PIXELS
// neighbouring pixels, which share the factors.
// Pixels of a turn.
#define PIXELS 4
#define RESIDUAL 0

override LANES: u32 = 64;

struct Params {
  input: View,
#if RESIDUAL
  residual: View,
#endif
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  // Pixels of the band in one image.
  pixels: u32,
  turns: u32,
  channels: u32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [image][mean, scale][vector]
@group(0) @binding(2) var<storage, read> factors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<Element4>;
#endif

@compute @workgroup_size(LANES)
fn group_norm_apply(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = (tile.y * tiles.x + tile.x) * LANES + lane;
  let vector = item % channel_vectors;
  let first = item / channel_vectors * (params.turns * PIXELS);
  let end = min(first + params.turns * PIXELS, params.pixels);
  if (first >= end) { return; }
  let batch = params.first_batch + tile.z;
  let row = batch * params.height + params.first_row;
  let mean = factors[batch * 2u * channel_vectors + vector];
  let scale = factors[(batch * 2u + 1u) * channel_vectors + vector];
  let shift = bias[vector];
  // Rows follow one another without a gap, so that pixels are counted through the band.
  let source = pixel_index(params.input, row, 0u) + vector;
  let destination = pixel_index(params.output, row, 0u) + vector;
#if RESIDUAL
  let added = pixel_index(params.residual, row, 0u) + vector;
#endif
  for (var pixel = first; pixel < end; pixel += PIXELS) {
#for p PIXELS
    if (pixel + p < end) {
      let x = vec4<f32>(input[source + (pixel + p) * params.input.pixel_vectors]);
      var value = activate(fma(x - mean, scale, shift), vec4<f32>(params.slope));
#if RESIDUAL
      value += vec4<f32>(residual[added + (pixel + p) * params.residual.pixel_vectors]);
#endif
      output[destination + (pixel + p) * params.output.pixel_vectors] = Element4(keep_channels(value, vector, params.channels));
    }
#endfor
  }
}
