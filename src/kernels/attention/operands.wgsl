// What every kernel of attention is given.
#define BIAS 0

struct Params {
  query: View,
  key: View,
  value: View,
  bias: View,
  output: View,
  height: u32,
  first_batch: u32,
  first_row: u32,
  row_count: u32,
  keys: u32,
  heads: u32,
  // VECTOR_TURNS, or 1, as a number that the compiler does not know: it would unroll the loop.
  turns: u32,
  // Vectors of a head.
  query_vectors: u32,
  value_vectors: u32,
  scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> query: array<Element4>;
@group(0) @binding(2) var<storage, read> key: array<Element4>;
@group(0) @binding(3) var<storage, read> value: array<Element4>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;
#if BIAS
// One number a key, in the first lane.
@group(0) @binding(5) var<storage, read> bias: array<Element4>;
#endif
