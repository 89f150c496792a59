// How much of the first of two exposures to take at each pixel: contrast × saturation × well-exposedness of each (Mertens, Kautz
// and Van Reeth 2007, section 3.1), normalised to a sum of one. One pixel a thread; a pixel is one vector.
override FIRST_CHANNELS: u32;
override SECOND_CHANNELS: u32;
override LANES: u32 = 64;

struct Params {
  first: View,
  second: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  // Largest value of the pictures: 1 or 255.
  limit: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> first: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> second: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;

// Keeps the sum of the weights from zero, as in the authors' program.
const SMALLEST = 1e-12;
// What rounding to f32 makes of no contrast at all stays below it; the least contrast of an 8-bit picture lies above.
const ROUNDING = 1e-6;

fn first_pixel(row: u32, column: u32) -> vec3<f32> {
  let value = first[pixel_index(params.first, row, column)].xyz / params.limit;
  return select(value, vec3<f32>(value.x), FIRST_CHANNELS == 1u);
}

fn second_pixel(row: u32, column: u32) -> vec3<f32> {
  let value = second[pixel_index(params.second, row, column)].xyz / params.limit;
  return select(value, vec3<f32>(value.x), SECOND_CHANNELS == 1u);
}

fn luma(rgb: vec3<f32>) -> f32 {
  return 0.299 * rgb.x + 0.587 * rgb.y + 0.114 * rgb.z;
}

// The product of a normal curve about 0.5 with sigma 0.2 over the channels; where both pictures are grey over one.
fn well_exposedness(rgb: vec3<f32>) -> f32 {
  let square = (rgb - 0.5) * (rgb - 0.5);
  let sum = select(square.x + square.y + square.z, square.x, FIRST_CHANNELS == 1u && SECOND_CHANNELS == 1u);
  return exp(-sum / 0.08);
}

// Standard deviation of the three channels, from their differences so that it is exactly 0 for grey; 1, no preference, unless
// both pictures have colour.
fn saturation(rgb: vec3<f32>) -> f32 {
  let difference = rgb - rgb.yzx;
  return select(1.0, sqrt(dot(difference, difference)) / 3.0, FIRST_CHANNELS == 3u && SECOND_CHANNELS == 3u);
}

fn weight(pixel: vec3<f32>, laplacian: vec3<f32>) -> f32 {
  let contrast = abs(luma(laplacian));
  return select(0.0, contrast, contrast > ROUNDING) * saturation(pixel) * well_exposedness(pixel) + SMALLEST;
}

@compute @workgroup_size(LANES)
fn exposure_weights(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let column = tile.x * LANES + lane;
  if (column >= params.output.width) { return; }
  let first_row = (params.first_batch + tile.z) * params.height;
  let y = i32(params.first_row + tile.y);
  let row = first_row + u32(y);
  let above = first_row + u32(mirror(y - 1, i32(params.height)));
  let below = first_row + u32(mirror(y + 1, i32(params.height)));
  let left = u32(mirror(i32(column) - 1, i32(params.output.width)));
  let right = u32(mirror(i32(column) + 1, i32(params.output.width)));

  let a = first_pixel(row, column);
  let a_vertical = (first_pixel(above, column) - a) + (first_pixel(below, column) - a);
  let a_horizontal = (first_pixel(row, left) - a) + (first_pixel(row, right) - a);
  let a_weight = weight(a, a_vertical + a_horizontal);
  let b = second_pixel(row, column);
  let b_vertical = (second_pixel(above, column) - b) + (second_pixel(below, column) - b);
  let b_horizontal = (second_pixel(row, left) - b) + (second_pixel(row, right) - b);
  let b_weight = weight(b, b_vertical + b_horizontal);
  output[pixel_index(params.output, row, column)] = vec4<f32>(a_weight / (a_weight + b_weight), 0.0, 0.0, 0.0);
}
