// Attention with online softmax (Milakov and Gimelshein 2018; Dao et al. 2022) by subgroups: keys are taken a tile at a time, and sums
// made with an older maximum are scaled down when a larger score turns up, so that no score is ever stored.
//
// A subgroup takes QUERY_GROUPS × SUBGROUP queries and a tile of 4 × SUBGROUP keys. For the scores a lane loads queries and keys of its own
// and the queries are handed round by broadcasts; it keeps the scores of its four keys with all queries. For the sums a lane has vectors of
// the values of its own, VECTOR_TURNS in all, and the weights are handed round. Nothing goes through memory but the operands.
#define SUBGROUP 8
#define QUERY_GROUPS 2
// QUERY_GROUPS * SUBGROUP / 4
#define QUERY_QUADS 4
#define VECTOR_TURNS 1
// VECTOR_TURNS * QUERY_GROUPS * SUBGROUP
#define RESULTS 16

override LANES: u32 = 32;

// The largest number, and the sum, over the lanes of a subgroup; reductions by butterfly are faster here than those of the language.
fn largest_of(v: vec4<f32>) -> vec4<f32> {
  let a = max(v, subgroupShuffleXor(v, 1u));
  let b = max(a, subgroupShuffleXor(a, 2u));
  return max(b, subgroupShuffleXor(b, 4u));
}
fn sum_of(v: vec4<f32>) -> vec4<f32> {
  let a = v + subgroupShuffleXor(v, 1u);
  let b = a + subgroupShuffleXor(a, 2u);
  return b + subgroupShuffleXor(b, 4u);
}

@compute @workgroup_size(LANES)
fn attention_subgroup(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let value_blocks = (params.value_vectors + SUBGROUP * VECTOR_TURNS - 1u) / (SUBGROUP * VECTOR_TURNS);
  let batch = params.first_batch + tile.z / (params.heads * value_blocks);
  let head = tile.z / value_blocks % params.heads;
  let first_vector = (tile.z % value_blocks) * (SUBGROUP * VECTOR_TURNS) + lane;
  let pixels = params.row_count * params.output.width;
  let first_pixel = (batch * params.height + params.first_row) * params.output.width;
  let first_query = ((tile.y * tiles.x + tile.x) * (LANES / SUBGROUP) + index / SUBGROUP) * (QUERY_GROUPS * SUBGROUP);
  let first_key = params.key.first_vector + head * params.query_vectors;
  let first_value = params.value.first_vector + head * params.value_vectors;

  var source: array<u32, QUERY_GROUPS>;
#for g QUERY_GROUPS
  let pixel = first_pixel + min(first_query + g * SUBGROUP + lane, pixels - 1u) - params.query.first_row * params.query.width;
  source[g] = pixel * params.query.pixel_vectors + params.query.first_vector + head * params.query_vectors;
#endfor
  // Four queries a vector; the totals are those of a lane's own keys.
  var largest: array<vec4<f32>, QUERY_QUADS>;
  var total: array<vec4<f32>, QUERY_QUADS>;
  var sums: array<array<array<vec4<f32>, 4>, QUERY_QUADS>, VECTOR_TURNS>;
#for a QUERY_QUADS
  largest[a] = vec4<f32>(-3.4e38);
  total[a] = vec4<f32>(0.0);
#for t VECTOR_TURNS
#for q 4
  sums[t][a][q] = vec4<f32>(0.0);
#endfor
#endfor
#endfor

  for (var first = 0u; first < params.keys; first += 4u * SUBGROUP) {
    // Of a lane's four keys, clamped where the last tile has none.
    let own = first + lane + vec4<u32>(0u, SUBGROUP, 2u * SUBGROUP, 3u * SUBGROUP);
    let present = own < vec4<u32>(params.keys);
    let key_pixel = batch * params.keys + min(own, vec4<u32>(params.keys - 1u));
    let key_row = key_pixel * params.key.pixel_vectors + first_key;
#if BIAS
    let biased = key_pixel * params.bias.pixel_vectors + params.bias.first_vector;
    let start = vec4<f32>(f32(bias[biased.x].x), f32(bias[biased.y].x), f32(bias[biased.z].x), f32(bias[biased.w].x));
#else
    let start = vec4<f32>(0.0);
#endif
    // Scores, later weights: [four queries][query], a vector of the lane's four keys.
    var scores: array<array<vec4<f32>, 4>, QUERY_QUADS>;
#for a QUERY_QUADS
#for q 4
    scores[a][q] = start;
#endfor
#endfor
    for (var v = 0u; v < params.query_vectors; v++) {
      var x: array<vec4<f32>, QUERY_GROUPS>;
#for g QUERY_GROUPS
      x[g] = vec4<f32>(query[source[g] + v]);
#endfor
      let k = transpose(mat4x4<f32>(vec4<f32>(key[key_row.x + v]), vec4<f32>(key[key_row.y + v]), vec4<f32>(key[key_row.z + v]), vec4<f32>(key[key_row.w + v])));
#for a QUERY_QUADS
#for q 4
      let b = subgroupBroadcast(x[(a * 4u + q) / SUBGROUP], (a * 4u + q) % SUBGROUP);
      scores[a][q] = fma(vec4<f32>(b.w), k[3], fma(vec4<f32>(b.z), k[2], fma(vec4<f32>(b.y), k[1], fma(vec4<f32>(b.x), k[0], scores[a][q]))));
#endfor
#endfor
    }

#for a QUERY_QUADS
    var most = vec4<f32>(-3.4e38);
#for q 4
    scores[a][q] = select(vec4<f32>(-3.4e38), scores[a][q] * params.scale, present);
    most[q] = max(max(scores[a][q].x, scores[a][q].y), max(scores[a][q].z, scores[a][q].w));
#endfor
    let before = largest[a];
    largest[a] = max(before, largest_of(most));
    let kept = exp(before - largest[a]);
    total[a] *= kept;
#for q 4
    scores[a][q] = select(vec4<f32>(0.0), exp(scores[a][q] - largest[a][q]), present);
    total[a][q] += (scores[a][q].x + scores[a][q].y) + (scores[a][q].z + scores[a][q].w);
#for t VECTOR_TURNS
    sums[t][a][q] *= kept[q];
#endfor
#endfor
#endfor

    // A count that the compiler does not know keeps it from unrolling.
    let count = min(SUBGROUP, params.keys - first);
    for (var turn = 0u; turn < count; turn++) {
      let value_pixel = batch * params.keys + min(first + turn + vec4<u32>(0u, SUBGROUP, 2u * SUBGROUP, 3u * SUBGROUP), vec4<u32>(params.keys - 1u));
      let value_row = value_pixel * params.value.pixel_vectors + first_value;
      var x: array<array<vec4<f32>, 4>, VECTOR_TURNS>;
#for t VECTOR_TURNS
      let vector = min(first_vector + t * SUBGROUP, params.value_vectors - 1u);
#for k 4
      x[t][k] = vec4<f32>(value[value_row[k] + vector]);
#endfor
#endfor
#for a QUERY_QUADS
#for q 4
      let w = subgroupShuffle(scores[a][q], turn);
#for t VECTOR_TURNS
      sums[t][a][q] = fma(vec4<f32>(w.w), x[t][3], fma(vec4<f32>(w.z), x[t][2], fma(vec4<f32>(w.y), x[t][1], fma(vec4<f32>(w.x), x[t][0], sums[t][a][q]))));
#endfor
#endfor
#endfor
    }
  }

  var results: array<vec4<f32>, RESULTS>;
#for a QUERY_QUADS
  let all = 1.0 / sum_of(total[a]);
#for q 4
#for t VECTOR_TURNS
  results[(t * QUERY_QUADS + a) * 4u + q] = sums[t][a][q] * all[q];
#endfor
#endfor
#endfor
  // Loops over memory: unrolled stores would take a software adapter longer to compile than all the rest.
  for (var t = 0u; t < params.turns; t++) {
    let vector = first_vector + t * SUBGROUP;
    for (var number = first_query; number < min(first_query + QUERY_GROUPS * SUBGROUP, pixels); number++) {
      let pixel = first_pixel + number - params.output.first_row * params.output.width;
      let destination = pixel * params.output.pixel_vectors + params.output.first_vector + head * params.value_vectors;
      if (vector < params.value_vectors) { output[destination + vector] = Element4(results[t * QUERY_GROUPS * SUBGROUP + number - first_query]); }
    }
  }
}
