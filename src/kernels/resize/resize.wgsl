// Resizing by nearest neighbour (TAPS 1), bilinear (2) or bicubic (4): one vector of four channels a thread. Positions are fractions
// of whole numbers, exact on every device.
#define TAPS 2
#define NEAREST 0
#define CUBIC 0

override LANES: u32 = 64;

// Input position of output i: (i × step + offset) / parts.
struct Axis {
  step: i32,
  offset: i32,
  parts: i32,
  // Last position of the input.
  last: i32,
}

struct Params {
  input: View,
  output: View,
  input_height: u32,
  height: u32,
  first_batch: u32,
  first_row: u32,
  channels: u32,
  vertical: Axis,
  horizontal: Axis,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
@group(0) @binding(2) var<storage, read_write> output: array<Element4>;

struct Taps {
  // Position of the first one.
  first: i32,
  weights: vec4<f32>,
}

fn taps_of(axis: Axis, index: u32) -> Taps {
  let position = i32(index) * axis.step + axis.offset;
#if NEAREST
  return Taps(position / axis.parts, vec4<f32>(1.0));
#else
#if CUBIC
  // Rounded down: a position lies at most half a pixel before the first one.
  let lower = (position + axis.parts) / axis.parts - 1;
  let s = f32(position - lower * axis.parts) / f32(axis.parts);
  let r = 1.0 - s;
  // Keys' kernel with a = −0.75 at the distances 1 + s, s, r and 1 + r.
  return Taps(lower - 1, vec4<f32>(-0.75 * s * r * r, (1.25 * s - 2.25) * s * s + 1.0, (1.25 * r - 2.25) * r * r + 1.0, -0.75 * r * s * s));
#else
  let inside = max(position, 0);
  let share = f32(inside % axis.parts) / f32(axis.parts);
  return Taps(inside / axis.parts, vec4<f32>(1.0 - share, share, 0.0, 0.0));
#endif
#endif
}

@compute @workgroup_size(LANES)
fn resize(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let batch = params.first_batch + tile.z;
  let row = params.first_row + tile.y;
  let vertical = taps_of(params.vertical, row);
  let horizontal = taps_of(params.horizontal, column);
  // Positions outside the picture read its border.
  var value = vec4<f32>(0.0);
#for y TAPS
  let input_row = batch * params.input_height + u32(clamp(vertical.first + i32(y), 0, params.vertical.last));
  var line = vec4<f32>(0.0);
#for x TAPS
  let input_column = u32(clamp(horizontal.first + i32(x), 0, params.horizontal.last));
  line = fma(vec4<f32>(input[pixel_index(params.input, input_row, input_column) + vector]), vec4<f32>(horizontal.weights[x]), line);
#endfor
  value = fma(line, vec4<f32>(vertical.weights[y]), value);
#endfor
  output[pixel_index(params.output, batch * params.height + row, column) + vector] = Element4(value);
}
