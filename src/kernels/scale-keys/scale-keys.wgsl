// Group norm of the queries, done to the keys instead: (key × scale, bias − mean · (key × scale)). One key a group of lanes.
override LANES: u32 = 32;

struct Params {
  input: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  // Of a key, without its bias.
  key_vectors: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// A key's vectors, then its bias.
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [image][mean, scale][vector]
@group(0) @binding(2) var<storage, read> statistics: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<Element4>;

var<workgroup> sums: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn scale_keys(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let batch = params.first_batch + tile.z;
  let row = batch * params.height + params.first_row + tile.y;
  let source = pixel_index(params.input, row, tile.x);
  let destination = pixel_index(params.output, row, tile.x);
  let mean = batch * 2u * params.key_vectors;
  var sum = 0.0;
  for (var v = lane; v < params.key_vectors; v += LANES) {
    // As it is stored: a query that is the mean then scores what it should, however large the mean.
    let scaled = Element4(vec4<f32>(input[source + v]) * statistics[mean + params.key_vectors + v]);
    output[destination + v] = scaled;
    sum += dot(statistics[mean + v], vec4<f32>(scaled));
  }
  sums[lane] = sum;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) { sums[lane] += sums[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u) {
    let bias = f32(input[source + params.key_vectors].x) - sums[0];
    output[destination + params.key_vectors] = Element4(vec4<f32>(bias, 0.0, 0.0, 0.0));
  }
}
