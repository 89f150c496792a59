// First pass of transposed channel attention: for a pair of channel vectors, the 4×4 products of q and k and the squares of
// both, summed over a fixed chunk of rows. The chunks do not depend on how the picture is banded, so neither do the sums.
override LANES: u32 = 64;

struct Params {
  query: View,
  key: View,
  height: u32,
  first_batch: u32,
  first_chunk: u32,
  // Rows of a chunk.
  chunk_rows: u32,
  chunks: u32,
  pairs: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> query: array<Element4>;
@group(0) @binding(2) var<storage, read> key: array<Element4>;
// Vector of q, vector of k for each pair that shares a head.
@group(0) @binding(3) var<storage, read> pairs: array<vec4<f32>>;
// [image][pair][chunk][4 rows of products, squares of q, squares of k]
@group(0) @binding(4) var<storage, read_write> partial_sums: array<vec4<f32>>;

var<workgroup> shared_sums: array<array<vec4<f32>, 6>, LANES>;

@compute @workgroup_size(LANES)
fn correlation(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let batch = params.first_batch + tile.z;
  let chunk = params.first_chunk + tile.x;
  let pair = pairs[tile.y];
  let first_row = chunk * params.chunk_rows;
  let end_row = min(first_row + params.chunk_rows, params.height);
  let width = params.query.width;

  var sums: array<vec4<f32>, 6>;
  for (var row = first_row; row < end_row; row++) {
    let query_row = pixel_index(params.query, batch * params.height + row, 0u) + u32(pair.x);
    let key_row = pixel_index(params.key, batch * params.height + row, 0u) + u32(pair.y);
    for (var column = lane; column < width; column += LANES) {
      let q = vec4<f32>(query[query_row + column * params.query.pixel_vectors]);
      let k = vec4<f32>(key[key_row + column * params.key.pixel_vectors]);
      sums[0] = fma(vec4<f32>(q.x), k, sums[0]);
      sums[1] = fma(vec4<f32>(q.y), k, sums[1]);
      sums[2] = fma(vec4<f32>(q.z), k, sums[2]);
      sums[3] = fma(vec4<f32>(q.w), k, sums[3]);
      sums[4] = fma(q, q, sums[4]);
      sums[5] = fma(k, k, sums[5]);
    }
  }
#for i 6
  shared_sums[lane][i] = sums[i];
#endfor
  workgroupBarrier();
  // Six threads add up one of the sums each: simpler than a tree, and far quicker to compile on a software adapter.
  if (lane < 6u) {
    var total = shared_sums[0][lane];
    for (var other = 1u; other < LANES; other++) { total += shared_sums[other][lane]; }
    partial_sums[((batch * params.pairs + tile.y) * params.chunks + chunk) * 6u + lane] = total;
  }
}
