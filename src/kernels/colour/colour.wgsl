// Colour as OpenCV computes it in float. One pixel a thread; a pixel is one vector.
// OPERATION 0: RGB to YCrCb; 1: luma of `first` and chroma of `second` to RGB, clipped to 0..limit;
// 2: chroma of both weighted by its distance from `neutral`; 3: RGB, or luma in one channel, to luma in 0..1.
#define SECOND 0

override OPERATION: u32;
// Of the first input.
override CHANNELS: u32;
override LANES: u32 = 64;

struct Params {
  first: View,
#if SECOND
  second: View,
#endif
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  // What is added to Cr and Cb.
  delta: f32,
  // Largest value of the range: 1 or 255.
  limit: f32,
  neutral: f32,
  // Keeps the sum of the weights from zero.
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> first: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> output: array<Element4>;
#if SECOND
@group(0) @binding(3) var<storage, read> second: array<vec4<f32>>;
#endif

fn luma(rgb: vec4<f32>) -> f32 {
  return 0.299 * rgb.x + 0.587 * rgb.y + 0.114 * rgb.z;
}

@compute @workgroup_size(LANES)
fn colour(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let column = tile.x * LANES + lane;
  if (column >= params.output.width) { return; }
  let row = (params.first_batch + tile.z) * params.height + params.first_row + tile.y;
  let a = first[pixel_index(params.first, row, column)];
  var value: vec4<f32>;
#if SECOND
  let b = second[pixel_index(params.second, row, column)];
  if (OPERATION == 1u) {
    let cr = b.y - params.delta;
    let cb = b.z - params.delta;
    let rgb = vec4<f32>(a.x + 1.403 * cr, a.x - 0.714 * cr - 0.344 * cb, a.x + 1.773 * cb, 0.0);
    value = clamp(rgb, vec4<f32>(0.0), vec4<f32>(params.limit));
  } else {
    let weight_a = abs(a - params.neutral);
    let weight_b = abs(b - params.neutral);
    let mean = (a * weight_a + b * weight_b) / (weight_a + weight_b + params.epsilon);
    value = vec4<f32>(a.x, mean.y, mean.z, 0.0);
  }
#else
  let y = luma(a);
  if (OPERATION == 0u) {
    value = vec4<f32>(y, (a.x - y) * 0.713 + params.delta, (a.z - y) * 0.564 + params.delta, 0.0);
  } else {
    value = vec4<f32>(select(a.x, y, CHANNELS == 3u) / params.limit, 0.0, 0.0, 0.0);
  }
#endif
  output[pixel_index(params.output, row, column)] = Element4(value);
}
