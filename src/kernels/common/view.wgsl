#define F16 0
#if F16
enable f16;
alias Element4 = vec4<f16>;
#else
alias Element4 = vec4<f32>;
#endif

// Where the pixels of a tensor lie in the bound range. Rows are counted through the batch.
struct View {
  width: u32,
  // Row of the tensor at which the bound range starts.
  first_row: u32,
  // Vectors of four channels from one pixel to the next, and up to the first one of this slice.
  pixel_vectors: u32,
  first_vector: u32,
}

// Index of vector 0 of a pixel.
fn pixel_index(view: View, row: u32, column: u32) -> u32 {
  return ((row - view.first_row) * view.width + column) * view.pixel_vectors + view.first_vector;
}

// Zero in the lanes past the last channel, so that every kernel finds zeros in the padding.
fn keep_channels(value: vec4<f32>, vector: u32, channels: u32) -> vec4<f32> {
  return select(vec4<f32>(0.0), value, vector * 4u + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(channels));
}
