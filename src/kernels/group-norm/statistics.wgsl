// First pass of group norm: mean and sum of squared deviations of each channel in a fixed chunk of rows. Sums are shifted by
// the chunk's first value, so that a large mean costs no digits. The chunks do not depend on how the picture is banded.
// A turn of the loop takes PIXELS pixels.
#define PIXELS 4

// partial_results: [image][chunk][mean, squares][vector]
var<workgroup> sums: array<vec4<f32>, LANES>;
var<workgroup> squares: array<vec4<f32>, LANES>;

@compute @workgroup_size(LANES)
fn group_norm_statistics(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let vector = tile.y * params.vector_lanes + lane % params.vector_lanes;
  let first = first_index_of(tile, vector);
  let pixels = pixels_of(tile);

  let shift = vec4<f32>(input[first]);
  var sum = vec4<f32>(0.0);
  var square = vec4<f32>(0.0);
  for (var pixel = lane / params.vector_lanes; pixel < pixels; pixel += PIXELS * params.pixel_lanes) {
#for p PIXELS
    let next = pixel + p * params.pixel_lanes;
    let x = vec4<f32>(input[first + min(next, pixels - 1u) * params.input.pixel_vectors]);
    let d = select(vec4<f32>(0.0), x - shift, next < pixels);
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
  if (lane < params.vector_lanes && vector < params.channel_vectors) {
    let mean = sums[lane] / f32(pixels);
    let result = chunk_of(tile) * 2u * params.channel_vectors + vector;
    partial_results[result] = shift + mean;
    partial_results[result + params.channel_vectors] = max(squares[lane] - sums[lane] * mean, vec4<f32>(0.0));
  }
}
