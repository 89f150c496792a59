// Attention with online softmax (Milakov and Gimelshein 2018; Dao et al. 2022) for GPUs with memory of their own for a workgroup: queries,
// keys and values go through it, each vector read from global memory by one lane for all. Keys are taken a tile at a time, and sums made with an
// older maximum are scaled down when a larger score turns up, so that no score leaves the workgroup.
//
// A workgroup takes GROUPS × QUERY_VECTORS × 4 queries of a head. COLUMNS lanes share a group's queries: each scores them with
// KEYS_PER_LANE keys of the tile, and then sums VECTOR_TURNS vectors of the values for them. With 8 queries a lane reads 2 vectors of
// weights and 2 of values for 16 vector fma.
//
// Banks. Lanes of a group have neighbouring keys, then neighbouring vectors of values, and read the queries and weights of their group
// at one address: [vector][key], [group][key] and [key][vector] keep all that conflict-free. PAD as in conv2d/tiled.wgsl.
//
// Latency. What is staged next is loaded into registers before this part is used.
#define COLUMNS 16
#define GROUPS 8
#define QUERY_VECTORS 2
#define KEYS_PER_LANE 4
#define VECTOR_TURNS 2
// Vectors of channels staged at a time for the scores, and keys for the sums
#define CHUNK 4
#define VALUE_KEYS 8
#define PAD 2
// Vectors that a thread loads of either: CHUNK * queries / LANES and CHUNK * keys / LANES, rounded up; VALUE_KEYS * COLUMNS * VECTOR_TURNS / LANES
#define QUERY_LOADS 2
#define KEY_LOADS 2
#define VALUE_LOADS 2
// The larger of CHUNK * (queries + keys + 2 * PAD) and VALUE_KEYS * COLUMNS * VECTOR_TURNS
#define STAGE 528

// COLUMNS * GROUPS
override LANES: u32 = 128;

const QUERIES = GROUPS * QUERY_VECTORS * 4;
const KEYS = COLUMNS * KEYS_PER_LANE;
const QUERY_ROW = QUERIES + PAD;
const KEY_ROW = KEYS + PAD;
const FIRST_KEY = CHUNK * QUERY_ROW;
const VALUE_ROW = COLUMNS * VECTOR_TURNS;

// Of queries and keys a chunk, [vector][query] and [vector][key], or of values some keys, [key][vector].
var<workgroup> stage: array<Element4, STAGE>;
// [group][vector of queries][key]: largest scores of each lane, then weights, at last the sums of weights of each lane.
var<workgroup> weights: array<vec4<f32>, GROUPS * QUERY_VECTORS * KEYS>;

// A vector of a key or value; past the last key it is the last.
fn key_index(view: View, batch: u32, index: u32, head_vector: u32) -> u32 {
  return (batch * params.keys + min(index, params.keys - 1u)) * view.pixel_vectors + view.first_vector + head_vector;
}

@compute @workgroup_size(LANES)
fn attention(@builtin(workgroup_id) tile: vec3<u32>, @builtin(num_workgroups) tiles: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let batch = params.first_batch + tile.z / params.heads;
  let head = tile.z % params.heads;
  let first_query = (tile.y * tiles.x + tile.x) * QUERIES;
  let pixels = params.row_count * params.output.width;
  let first_pixel = (batch * params.height + params.first_row) * params.output.width;
  if (first_query >= pixels) { return; }
  let group = lane / COLUMNS;
  let column = lane % COLUMNS;
  let chunks = (params.query_vectors + CHUNK - 1u) / CHUNK;

  var largest: array<vec4<f32>, QUERY_VECTORS>;
  var lane_total: array<vec4<f32>, QUERY_VECTORS>;
  var sums: array<array<array<vec4<f32>, 4>, QUERY_VECTORS>, VECTOR_TURNS>;
#for h QUERY_VECTORS
  largest[h] = vec4<f32>(-3.4e38);
  lane_total[h] = vec4<f32>(0.0);
#for t VECTOR_TURNS
#for q 4
  sums[t][h][q] = vec4<f32>(0.0);
#endfor
#endfor
#endfor

  for (var first = 0u; first < params.keys; first += KEYS) {
    var mine: array<array<vec4<f32>, QUERY_VECTORS>, KEYS_PER_LANE>;
#for k KEYS_PER_LANE
#for h QUERY_VECTORS
#if BIAS
    mine[k][h] = vec4<f32>(f32(bias[key_index(params.bias, batch, first + column + k * COLUMNS, 0u)].x));
#else
    mine[k][h] = vec4<f32>(0.0);
#endif
#endfor
#endfor

    for (var turn = 0u; turn <= chunks; turn++) {
      var a: array<Element4, QUERY_LOADS>;
      var b: array<Element4, KEY_LOADS>;
      if (turn < chunks) {
        // Past the head's last vector: zeros.
        let v = turn * CHUNK + lane % CHUNK;
        let inside = v < params.query_vectors;
        let head_vector = head * params.query_vectors + min(v, params.query_vectors - 1u);
#for i QUERY_LOADS
        let source = first_pixel + min(first_query + lane / CHUNK + i * (LANES / CHUNK), pixels - 1u) - params.query.first_row * params.query.width;
        a[i] = select(Element4(), query[source * params.query.pixel_vectors + params.query.first_vector + head_vector], inside);
#endfor
#for i KEY_LOADS
        b[i] = select(Element4(), key[key_index(params.key, batch, first + lane / CHUNK + i * (LANES / CHUNK), head_vector)], inside);
#endfor
      }
      if (turn > 0u) {
        for (var v = 0u; v < CHUNK; v++) {
          var x: array<vec4<f32>, KEYS_PER_LANE>;
#for k KEYS_PER_LANE
          x[k] = vec4<f32>(stage[FIRST_KEY + v * KEY_ROW + column + k * COLUMNS]);
#endfor
#for h QUERY_VECTORS
#for q 4
          let y = vec4<f32>(stage[v * QUERY_ROW + (group * QUERY_VECTORS + h) * 4u + q]);
#for k KEYS_PER_LANE
          mine[k][h][q] += dot(x[k], y);
#endfor
#endfor
#endfor
        }
      }
      workgroupBarrier();
      if (turn < chunks) {
#for i QUERY_LOADS
        if (lane / CHUNK + i * (LANES / CHUNK) < QUERIES) { stage[(lane % CHUNK) * QUERY_ROW + lane / CHUNK + i * (LANES / CHUNK)] = a[i]; }
#endfor
#for i KEY_LOADS
        if (lane / CHUNK + i * (LANES / CHUNK) < KEYS) { stage[FIRST_KEY + (lane % CHUNK) * KEY_ROW + lane / CHUNK + i * (LANES / CHUNK)] = b[i]; }
#endfor
      }
      workgroupBarrier();
    }

#for h QUERY_VECTORS
    var best = vec4<f32>(-3.4e38);
#for k KEYS_PER_LANE
    mine[k][h] = select(mine[k][h] * params.scale, vec4<f32>(-3.4e38), first + column + k * COLUMNS >= params.keys);
    best = max(best, mine[k][h]);
#endfor
    weights[(group * QUERY_VECTORS + h) * KEYS + column] = best;
#endfor
    workgroupBarrier();
    var kept: array<vec4<f32>, QUERY_VECTORS>;
#for h QUERY_VECTORS
    let before = largest[h];
    for (var c = 0u; c < COLUMNS; c++) { largest[h] = max(largest[h], weights[(group * QUERY_VECTORS + h) * KEYS + c]); }
    kept[h] = exp(before - largest[h]);
    lane_total[h] *= kept[h];
#for t VECTOR_TURNS
#for q 4
    sums[t][h][q] *= kept[h][q];
#endfor
#endfor
#endfor
    workgroupBarrier();
#for h QUERY_VECTORS
#for k KEYS_PER_LANE
    let weight = select(exp(mine[k][h] - largest[h]), vec4<f32>(0.0), first + column + k * COLUMNS >= params.keys);
    weights[(group * QUERY_VECTORS + h) * KEYS + column + k * COLUMNS] = weight;
    lane_total[h] += weight;
#endfor
#endfor

    let parts = (min(KEYS, params.keys - first) + VALUE_KEYS - 1u) / VALUE_KEYS;
    for (var turn = 0u; turn <= parts; turn++) {
      var x: array<Element4, VALUE_LOADS>;
      if (turn < parts) {
#for i VALUE_LOADS
        let item = lane + i * LANES;
        let head_vector = head * params.value_vectors + min(item % VALUE_ROW, params.value_vectors - 1u);
        x[i] = value[key_index(params.value, batch, first + turn * VALUE_KEYS + item / VALUE_ROW, head_vector)];
#endfor
      }
      if (turn > 0u) {
        for (var k = 0u; k < VALUE_KEYS; k++) {
          var y: array<vec4<f32>, VECTOR_TURNS>;
#for t VECTOR_TURNS
          y[t] = vec4<f32>(stage[k * VALUE_ROW + column + t * COLUMNS]);
#endfor
#for h QUERY_VECTORS
          let weight = weights[(group * QUERY_VECTORS + h) * KEYS + (turn - 1u) * VALUE_KEYS + k];
#for t VECTOR_TURNS
#for q 4
          sums[t][h][q] = fma(vec4<f32>(weight[q]), y[t], sums[t][h][q]);
#endfor
#endfor
#endfor
        }
      }
      workgroupBarrier();
#for i VALUE_LOADS
      stage[lane + i * LANES] = x[i];
#endfor
      workgroupBarrier();
    }
  }

#for h QUERY_VECTORS
  weights[(group * QUERY_VECTORS + h) * KEYS + column] = lane_total[h];
#endfor
  workgroupBarrier();
#for h QUERY_VECTORS
  var total = vec4<f32>(0.0);
  for (var c = 0u; c < COLUMNS; c++) { total += weights[(group * QUERY_VECTORS + h) * KEYS + c]; }
#for q 4
  let pixel = first_query + (group * QUERY_VECTORS + h) * 4u + q;
  if (pixel < pixels) {
    let row_pixel = first_pixel + pixel - params.output.first_row * params.output.width;
    let destination = row_pixel * params.output.pixel_vectors + params.output.first_vector + head * params.value_vectors;
#for t VECTOR_TURNS
    let vector = column + t * COLUMNS;
    if (vector < params.value_vectors) { output[destination + vector] = Element4(sums[t][h][q] / total[q]); }
#endfor
  }
#endfor
#endfor
}
