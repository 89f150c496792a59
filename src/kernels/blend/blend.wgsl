// Two pictures blended with weights that a network made, luma and chroma apart, and its correction added. One pixel a thread.
override LANES: u32 = 64;

struct Params {
  network: View,
  first: View,
  second: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// The correction of red, green and blue, the score of luma; the score of chroma.
@group(0) @binding(1) var<storage, read> network: array<Element4>;
@group(0) @binding(2) var<storage, read> first: array<Element4>;
@group(0) @binding(3) var<storage, read> second: array<Element4>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;

// Beyond 60 the result rounds to 0 or 1, and exp stays finite.
fn weight_of(score: f32) -> f32 {
  return 1.0 / (1.0 + exp(clamp(-score, -60.0, 60.0)));
}

@compute @workgroup_size(LANES)
fn blend_pictures(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let column = tile.x * LANES + lane;
  if (column >= params.output.width) { return; }
  let row = (params.first_batch + tile.z) * params.height + params.first_row + tile.y;
  let made = pixel_index(params.network, row, column);
  let scores = vec4<f32>(network[made]);
  let luma_weight = weight_of(scores.w);
  let chroma_weight = weight_of(f32(network[made + 1u].x));
  let a = vec4<f32>(first[pixel_index(params.first, row, column)]).rgb;
  let b = vec4<f32>(second[pixel_index(params.second, row, column)]).rgb;
  let bt601 = vec3<f32>(0.299, 0.587, 0.114);
  let luma_a = dot(a, bt601);
  let luma_b = dot(b, bt601);
  let luma = luma_weight * luma_a + (1.0 - luma_weight) * luma_b;
  let chroma = chroma_weight * (a - luma_a) + (1.0 - chroma_weight) * (b - luma_b);
  output[pixel_index(params.output, row, column)] = Element4(vec4<f32>(luma + chroma + scores.rgb, 0.0));
}
