// Smallest and largest value of all channels in a fixed chunk of rows. WGSL lets a compiler assume that there is no NaN or
// infinity, so they are found by their exponent bits: z counts the values that are not finite.
override CHANNELS: u32;
override VECTORS: u32 = (CHANNELS + 3u) / 4u;
override LANES: u32 = 64;

struct Params {
  input: View,
  height: u32,
  first_batch: u32,
  first_chunk: u32,
  // Rows of a chunk.
  chunk_rows: u32,
  chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [image][chunk]: minimum, maximum, number of values that are not finite
@group(0) @binding(2) var<storage, read_write> partial_results: array<vec4<f32>>;

var<workgroup> results: array<vec4<f32>, LANES>;

fn merge(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(min(a.x, b.x), max(a.y, b.y), a.z + b.z, 0.0);
}

@compute @workgroup_size(LANES)
fn min_max_chunk(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let batch = params.first_batch + tile.z;
  let chunk = params.first_chunk + tile.x;
  let end_row = min((chunk + 1u) * params.chunk_rows, params.height);

  var smallest = vec4<f32>(3.4e38);
  var largest = vec4<f32>(-3.4e38);
  var not_finite = 0u;
  for (var row = chunk * params.chunk_rows; row < end_row; row++) {
    for (var column = lane; column < params.input.width; column += LANES) {
      let index = pixel_index(params.input, batch * params.height + row, column);
      for (var v = 0u; v < VECTORS; v++) {
        let value = vec4<f32>(input[index + v]);
        let exponent = bitcast<vec4<u32>>(value) & vec4<u32>(0x7f800000u);
        let finite = exponent != vec4<u32>(0x7f800000u);
        let counted = v * 4u + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(CHANNELS);
        let bad = select(vec4<u32>(0u), vec4<u32>(1u), counted & !finite);
        not_finite += bad.x + bad.y + bad.z + bad.w;
        smallest = min(smallest, select(vec4<f32>(3.4e38), value, counted & finite));
        largest = max(largest, select(vec4<f32>(-3.4e38), value, counted & finite));
      }
    }
  }
  results[lane] = vec4<f32>(
    min(min(smallest.x, smallest.y), min(smallest.z, smallest.w)),
    max(max(largest.x, largest.y), max(largest.z, largest.w)),
    f32(not_finite),
    0.0,
  );
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) { results[lane] = merge(results[lane], results[lane + half]); }
    workgroupBarrier();
  }
  if (lane == 0u) { partial_results[batch * params.chunks + chunk] = results[0]; }
}
