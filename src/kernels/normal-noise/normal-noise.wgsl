// Standard normal noise by Philox 4x32-10 and a table of quantiles. Integer arithmetic up to the last, exact,
// conversion: every device makes the same bits, equal to src/diffusion/normal-noise.ts, which explains the scheme.

override LANES: u32 = 64;

struct Params {
  output: View,
  first_row: u32,
  channels: u32,
  // Column and row of the tensor's first pixel in the picture.
  origin_x: u32,
  origin_y: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// Whole numbers in 16 bits each, low ones first: four of the seed, then two of the step (0 for the start of sampling, k for the k-th
// step).
@group(0) @binding(1) var<storage, read> settings: array<vec4<f32>>;
// normalQuantileTable(): whole numbers below 2^24.
@group(0) @binding(2) var<storage, read> quantiles: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;

const SEGMENT_BITS = 7u;
const FRACTION_BITS = 12u;

// The high 32 bits of a product, from products of 16-bit halves; none of the sums passes 32 bits.
fn multiply_high(a: u32, b: u32) -> u32 {
  let a_low = a & 0xffffu;
  let a_high = a >> 16u;
  let b_low = b & 0xffffu;
  let b_high = b >> 16u;
  let middle = a_high * b_low + ((a_low * b_low) >> 16u);
  let other_middle = a_low * b_high + (middle & 0xffffu);
  return a_high * b_high + (middle >> 16u) + (other_middle >> 16u);
}

fn philox4x32(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
  var words = counter;
  var key = seed;
  for (var round = 0u; round < 10u; round++) {
    let high_0 = multiply_high(0xd2511f53u, words.x);
    let low_0 = 0xd2511f53u * words.x;
    let high_1 = multiply_high(0xcd9e8d57u, words.z);
    let low_1 = 0xcd9e8d57u * words.z;
    words = vec4<u32>(high_1 ^ words.y ^ key.x, low_1, high_0 ^ words.w ^ key.y, low_0);
    key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
  }
  return words;
}

fn normal_deviate(word: u32) -> f32 {
  let tail = max(word & 0x7fffffffu, 1u);
  let octave = firstLeadingBit(tail);
  // Two shifts, since a shift by 32 is undefined.
  let below_leading_one = (tail << (31u - octave)) << 1u;
  let position = below_leading_one >> (32u - SEGMENT_BITS - FRACTION_BITS);
  let entry = (octave << SEGMENT_BITS) + (position >> FRACTION_BITS);
  let fraction = position & ((1u << FRACTION_BITS) - 1u);
  let here = u32(quantiles[entry]);
  let fall = here - u32(quantiles[entry + 1u]);
  let magnitude = here - ((fall * (2u * fraction + 1u) + (1u << FRACTION_BITS)) >> (FRACTION_BITS + 1u));
  // Below 2^24, so the conversion is exact, and so is the product with a power of two.
  return f32(select(i32(magnitude), -i32(magnitude), (word & 0x80000000u) != 0u)) * (1.0 / 2097152.0);
}

@compute @workgroup_size(LANES)
fn normal_noise(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let channel_vectors = (params.channels + 3u) / 4u;
  let item = tile.x * LANES + lane;
  let vector = item % channel_vectors;
  let column = item / channel_vectors;
  if (column >= params.output.width) { return; }
  let row = params.first_row + tile.y;
  let seed = vec4<u32>(settings[0]);
  let step = vec4<u32>(settings[1]);
  let counter = vec4<u32>(params.origin_x + column, params.origin_y + row, vector, step.x | (step.y << 16u));
  let words = philox4x32(counter, vec2<u32>(seed.x | (seed.y << 16u), seed.z | (seed.w << 16u)));
  let noise = vec4<f32>(
    normal_deviate(words.x),
    normal_deviate(words.y),
    normal_deviate(words.z),
    normal_deviate(words.w),
  );
  output[pixel_index(params.output, row, column) + vector] = keep_channels(noise, vector, params.channels);
}
