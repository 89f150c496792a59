// Attention with online softmax (Milakov and Gimelshein 2018; Dao et al. 2022): keys are taken a tile at a time, and sums made
// with an older maximum are scaled down when a larger score turns up, so that no score is ever stored.
//
// A workgroup takes four queries a group of COLUMNS lanes. A lane scores its four queries with KEYS_PER_LANE keys of the tile;
// then it sums every COLUMNS-th vector of the values, VECTOR_TURNS in all, for the same four queries.
#define COLUMNS 16
#define GROUPS 4
#define KEYS_PER_LANE 2
// COLUMNS * KEYS_PER_LANE
#define KEYS 32
// KEYS * GROUPS
#define SCORES 128
#define VECTOR_TURNS 1

override LANES: u32 = 64;

// [key][group of lanes]: four queries
var<workgroup> scores: array<vec4<f32>, SCORES>;
var<workgroup> weights: array<vec4<f32>, SCORES>;

@compute @workgroup_size(LANES)
fn attention(@builtin(workgroup_id) tile: vec3<u32>, @builtin(num_workgroups) tiles: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let batch = params.first_batch + tile.z / params.heads;
  let head = tile.z % params.heads;
  let group = lane / COLUMNS;
  let column = lane % COLUMNS;
  let pixels = params.row_count * params.output.width;
  let first_pixel = (batch * params.height + params.first_row) * params.output.width;
  let first_query = ((tile.y * tiles.x + tile.x) * GROUPS + group) * 4u;
  let first_key = batch * params.keys * params.key.pixel_vectors + params.key.first_vector + head * params.query_vectors;
  let first_value = batch * params.keys * params.value.pixel_vectors + params.value.first_vector + head * params.value_vectors;

  var source: array<u32, 4>;
#for q 4
  let pixel = first_pixel + min(first_query + q, pixels - 1u) - params.query.first_row * params.query.width;
  source[q] = pixel * params.query.pixel_vectors + params.query.first_vector + head * params.query_vectors;
#endfor
  var largest = vec4<f32>(-3.4e38);
  var total = vec4<f32>(0.0);
  var sums: array<array<vec4<f32>, 4>, VECTOR_TURNS>;
#for t VECTOR_TURNS
#for q 4
  sums[t][q] = vec4<f32>(0.0);
#endfor
#endfor

  for (var first = 0u; first < params.keys; first += KEYS) {
    var mine: array<vec4<f32>, KEYS_PER_LANE>;
    var row: array<u32, KEYS_PER_LANE>;
#for k KEYS_PER_LANE
#if BIAS
    let biased = batch * params.keys + min(first + column + k * COLUMNS, params.keys - 1u);
    mine[k] = vec4<f32>(f32(bias[biased * params.bias.pixel_vectors + params.bias.first_vector].x));
#else
    mine[k] = vec4<f32>(0.0);
#endif
    row[k] = first_key + min(first + column + k * COLUMNS, params.keys - 1u) * params.key.pixel_vectors;
#endfor
    for (var v = 0u; v < params.query_vectors; v++) {
      let a = vec4<f32>(query[source[0] + v]);
      let b = vec4<f32>(query[source[1] + v]);
      let c = vec4<f32>(query[source[2] + v]);
      let d = vec4<f32>(query[source[3] + v]);
#for k KEYS_PER_LANE
      let x = vec4<f32>(key[row[k] + v]);
      mine[k] += vec4<f32>(dot(a, x), dot(b, x), dot(c, x), dot(d, x));
#endfor
    }
#for k KEYS_PER_LANE
    mine[k] = select(mine[k] * params.scale, vec4<f32>(-3.4e38), first + column + k * COLUMNS >= params.keys);
    scores[(column + k * COLUMNS) * GROUPS + group] = mine[k];
#endfor
    workgroupBarrier();

    // A count that the compiler does not know keeps it from unrolling the loops, which takes a software adapter seconds.
    let count = min(KEYS, params.keys - first);
    let before = largest;
    for (var k = 0u; k < count; k++) { largest = max(largest, scores[k * GROUPS + group]); }
#for k KEYS_PER_LANE
    let weight = select(exp(mine[k] - largest), vec4<f32>(0.0), first + column + k * COLUMNS >= params.keys);
    weights[(column + k * COLUMNS) * GROUPS + group] = weight;
#endfor
    workgroupBarrier();

    let kept = exp(before - largest);
    total *= kept;
#for t VECTOR_TURNS
#for q 4
    sums[t][q] *= kept[q];
#endfor
#endfor
    for (var k = 0u; k < count; k++) {
      let weight = weights[k * GROUPS + group];
      let values = first_value + (first + k) * params.value.pixel_vectors;
      total += weight;
#for t VECTOR_TURNS
      let x = vec4<f32>(value[values + min(column + t * COLUMNS, params.value_vectors - 1u)]);
#for q 4
      sums[t][q] = fma(vec4<f32>(weight[q]), x, sums[t][q]);
#endfor
#endfor
    }
  }

#for q 4
  if (first_query + q < pixels) {
    let pixel = first_pixel + first_query + q - params.output.first_row * params.output.width;
    let destination = pixel * params.output.pixel_vectors + params.output.first_vector + head * params.value_vectors;
#for t VECTOR_TURNS
    let vector = column + t * COLUMNS;
    if (vector < params.value_vectors) { output[destination + vector] = Element4(sums[t][q] / total[q]); }
#endfor
  }
#endfor
}
