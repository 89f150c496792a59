// Attention on matrix units: products in f16 with sums in f32, for devices with subgroup matrices.
//
// The elements of a matrix cannot be touched, so that sums cannot be scaled down when a larger score turns up, as tiled.wgsl does. Scores
// are therefore made twice, which costs half as much again: the first time for the largest score of each query and the sum of the
// exponentials, the second time for the weights, which are then at most 1 and never scaled.
//
// A workgroup takes QUERIES queries of a head and KEYS keys at a time. Each subgroup has QUERIES / SUBGROUPS queries of its own, with all
// keys of the tile and then with all value channels. Rows are 2 vectors longer than the data, against bank conflicts, as in
// conv2d/matrix.wgsl.
#define M 16
#define N 16
#define K 16
#define QUERIES 64
#define KEYS 32
#define SUBGROUPS 4
// Lanes that a subgroup must have; 0: what it has.
#define SUBGROUP_SIZE 0
// QUERIES / SUBGROUPS / M, KEYS / N, and value channels / N, rounded up
#define DOWN 1
#define ACROSS 2
#define VALUES_ACROSS 8
// Vectors of channels staged at a time for the scores
#define CHUNK 4
// The larger of (QUERIES + KEYS) * (CHUNK + 2) and K * (VALUES_ACROSS * N / 4 + 2)
#define STAGE 576

// A multiple of QUERIES and of the lanes of SUBGROUPS subgroups
override LANES: u32 = 128;

const CHUNK_ROW = CHUNK + 2;
const FIRST_KEY = QUERIES * CHUNK_ROW;
const VALUE_VECTORS = VALUES_ACROSS * N / 4;
const VALUE_ROW = VALUE_VECTORS + 2;
const SCORE_ROW = KEYS / 4 + 1;
const WEIGHT_ROW = KEYS / 4 + 2;

// Of queries and keys a chunk of channels, [query or key][vector], or of values K keys, [key][vector].
var<workgroup> stage: array<vec4<f16>, STAGE>;
// [query][vector of keys], and the results on their way out.
var<workgroup> scores: array<vec4<f32>, QUERIES * SCORE_ROW>;
var<workgroup> weights: array<vec4<f16>, QUERIES * WEIGHT_ROW>;
// Largest score and sum of exponentials that each lane found for its query.
var<workgroup> found: array<vec2<f32>, LANES>;

// A vector of a key or value; past the last key it is the last.
fn key_index(view: View, batch: u32, index: u32, head_vector: u32) -> u32 {
  return (batch * params.keys + min(index, params.keys - 1u)) * view.pixel_vectors + view.first_vector + head_vector;
}

// The scores of a vector of keys, far below all others past the last key.
fn scaled(batch: u32, score: vec4<f32>, index: u32) -> vec4<f32> {
  var s = score;
#if BIAS
#for j 4
  s[j] += f32(bias[key_index(params.bias, batch, index + j, 0u)].x);
#endfor
#endif
  return select(vec4<f32>(-3.4e38), s * params.scale, index + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.keys));
}

#if SUBGROUP_SIZE
@subgroup_size(SUBGROUP_SIZE)
#endif
@compute @workgroup_size(LANES)
fn attention(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_size) subgroup_lanes: u32,
  @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
  let batch = params.first_batch + tile.z / params.heads;
  let head = tile.z % params.heads;
  let first_query = (tile.y * tiles.x + tile.x) * QUERIES;
  let pixels = params.row_count * params.output.width;
  let first_pixel = (batch * params.height + params.first_row) * params.output.width;
  if (first_query >= pixels) { return; }

  // Lanes that share a query take every so-many-th vector of its scores.
  let sharing = LANES / QUERIES;
  let lane_query = lane / sharing;
  let own_row = subgroup * DOWN * M;
  var largest = -3.4e38;
  var total = 0.0;
  var sum: array<array<subgroup_matrix_result<f32, N, M>, VALUES_ACROSS>, DOWN>;

  for (var round = 0u; round < 2u; round++) {
    for (var first = 0u; first < params.keys; first += KEYS) {
      var score: array<array<subgroup_matrix_result<f32, N, M>, ACROSS>, DOWN>;
#for r DOWN
#for c ACROSS
      score[r][c] = subgroup_matrix_result<f32, N, M>();
#endfor
#endfor
      for (var chunk = 0u; chunk < params.query_vectors; chunk += CHUNK) {
        for (var item = lane; item < (QUERIES + KEYS) * CHUNK; item += LANES) {
          let row = item / CHUNK;
          let v = chunk + item % CHUNK;
          let head_vector = head * params.query_vectors + min(v, params.query_vectors - 1u);
          var x = vec4<f16>();
          if (row < QUERIES) {
            let source = first_pixel + min(first_query + row, pixels - 1u) - params.query.first_row * params.query.width;
            x = query[source * params.query.pixel_vectors + params.query.first_vector + head_vector];
          } else {
            x = key[key_index(params.key, batch, first + row - QUERIES, head_vector)];
          }
          // Past the head's last vector: zeros.
          stage[row * CHUNK_ROW + item % CHUNK] = select(vec4<f16>(), x, v < params.query_vectors);
        }
        workgroupBarrier();
        for (var k = 0u; k < CHUNK * 4u; k += K) {
#for r DOWN
          let left = subgroupMatrixLoad<subgroup_matrix_left<f16, K, M>, row_major>(&stage, (own_row + r * M) * CHUNK_ROW + k / 4u, CHUNK_ROW);
#for c ACROSS
          // A key's channels are contiguous: a column of the right side.
          let right = subgroupMatrixLoad<subgroup_matrix_right<f16, N, K>, col_major>(&stage, FIRST_KEY + c * N * CHUNK_ROW + k / 4u, CHUNK_ROW);
          score[r][c] = subgroupMatrixMultiplyAccumulate(left, right, score[r][c]);
#endfor
#endfor
        }
        workgroupBarrier();
      }
#for r DOWN
#for c ACROSS
      subgroupMatrixStore<row_major>(&scores, (own_row + r * M) * SCORE_ROW + c * N / 4u, score[r][c], SCORE_ROW);
#endfor
#endfor
      workgroupBarrier();

      if (round == 0u) {
        for (var v = lane % sharing; v < KEYS / 4u; v += sharing) {
          let s = scaled(batch, scores[lane_query * SCORE_ROW + v], first + v * 4u);
          let before = largest;
          largest = max(max(largest, max(s.x, s.y)), max(s.z, s.w));
          let e = select(vec4<f32>(0.0), exp(s - largest), s > vec4<f32>(-3.4e38));
          total = total * exp(before - largest) + ((e.x + e.y) + (e.z + e.w));
        }
      } else {
        for (var v = lane % sharing; v < KEYS / 4u; v += sharing) {
          let s = scaled(batch, scores[lane_query * SCORE_ROW + v], first + v * 4u);
          weights[lane_query * WEIGHT_ROW + v] = vec4<f16>(exp(s - largest));
        }
        for (var k = 0u; k < KEYS; k += K) {
          for (var item = lane; item < K * VALUE_VECTORS; item += LANES) {
            let v = min(item % VALUE_VECTORS, params.value_vectors - 1u);
            stage[item / VALUE_VECTORS * VALUE_ROW + item % VALUE_VECTORS] =
              value[key_index(params.value, batch, first + k + item / VALUE_VECTORS, head * params.value_vectors + v)];
          }
          workgroupBarrier();
#for r DOWN
          let left = subgroupMatrixLoad<subgroup_matrix_left<f16, K, M>, row_major>(&weights, (own_row + r * M) * WEIGHT_ROW + k / 4u, WEIGHT_ROW);
#for c VALUES_ACROSS
          let right = subgroupMatrixLoad<subgroup_matrix_right<f16, N, K>, row_major>(&stage, c * N / 4u, VALUE_ROW);
          sum[r][c] = subgroupMatrixMultiplyAccumulate(left, right, sum[r][c]);
#endfor
#endfor
          workgroupBarrier();
        }
      }
      workgroupBarrier();
    }

    if (round == 0u) {
      // The lanes of a query add what they found in one order, so that they agree.
      found[lane] = vec2<f32>(largest, total);
      workgroupBarrier();
      total = 0.0;
      for (var i = 0u; i < sharing; i++) { largest = max(largest, found[lane_query * sharing + i].x); }
      for (var i = 0u; i < sharing; i++) {
        let other = found[lane_query * sharing + i];
        total += other.y * exp(other.x - largest);
      }
      workgroupBarrier();
      found[lane] = vec2<f32>(largest, total);
    }
  }

#for r DOWN
#for c VALUES_ACROSS
  subgroupMatrixStore<row_major>(&scores, (own_row + r * M) * SCORE_ROW, sum[r][c], SCORE_ROW);
  workgroupBarrier();
  for (var i = subgroup_lane; i < M * N / 4u; i += subgroup_lanes) {
    let row = own_row + r * M + i / (N / 4u);
    let vector = c * N / 4u + i % (N / 4u);
    if (first_query + row < pixels && vector < params.value_vectors) {
      let row_pixel = first_pixel + first_query + row - params.output.first_row * params.output.width;
      let destination = row_pixel * params.output.pixel_vectors + params.output.first_vector + head * params.value_vectors + vector;
      output[destination] = Element4(scores[row * SCORE_ROW + i % (N / 4u)] / found[row * sharing].y);
    }
  }
  workgroupBarrier();
#endfor
#endfor
}
