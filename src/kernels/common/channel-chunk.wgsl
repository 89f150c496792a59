// First pass of a reduction for each channel. A workgroup takes a fixed chunk of the rows of one image, whatever the bands, and
// the vectors of four channels from tile.y × vector_lanes on; a second pass merges the chunks in the order of the rows.
override LANES: u32 = 64;

struct Params {
  input: View,
  height: u32,
  channel_vectors: u32,
  // Neighbouring lanes take neighbouring vectors of a pixel; a power of two.
  vector_lanes: u32,
  // LANES / vector_lanes: a software adapter would divide in every turn of a loop.
  pixel_lanes: u32,
  chunk_rows: u32,
  first_batch: u32,
  first_chunk: u32,
  chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [image][chunk]…[vector]
@group(0) @binding(2) var<storage, read_write> partial_results: array<vec4<f32>>;

// Counted through the batch.
fn chunk_of(tile: vec3<u32>) -> u32 {
  return (params.first_batch + tile.z) * params.chunks + params.first_chunk + tile.x;
}

fn first_row_of(tile: vec3<u32>) -> u32 {
  return (params.first_chunk + tile.x) * params.chunk_rows;
}

fn pixels_of(tile: vec3<u32>) -> u32 {
  return min(params.chunk_rows, params.height - first_row_of(tile)) * params.input.width;
}

// Index of a vector in the first pixel of the chunk; the next pixel's lies params.input.pixel_vectors further on.
fn first_index_of(tile: vec3<u32>, vector: u32) -> u32 {
  let row = (params.first_batch + tile.z) * params.height + first_row_of(tile);
  return pixel_index(params.input, row, 0u) + min(vector, params.channel_vectors - 1u);
}
