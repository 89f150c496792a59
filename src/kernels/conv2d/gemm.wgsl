// What the kernels of implicit GEMM share (tiled.wgsl, matrix.wgsl). Rows of the product are output pixels, counted through the rows of
// a band; columns are output channels; the inner dimension runs over kernel rows, kernel columns and vectors of input channels, which is
// the order of the weights: its steps are simply counted, and a short channel count wastes nothing within a tap.
#define RESIDUAL 0
// The matrix was computed for each image: f32, whatever the tensors are.
#define F32_MATRIX 0
// The inner dimension is divided among workgroups; what each sums goes to memory as it is, and merge.wgsl does the rest.
#define DIVIDED 0
// Layer-normalises each pixel over its channels on the way in; 1×1 only.
#define NORMALISE 0
// What a workgroup makes and how many threads it has; vectors of the inner dimension that it takes at a time.
#define TILE_PIXELS 64
#define TILE_VECTORS 16
#define THREADS 128
#define CHUNK 4
// What a thread loads of a chunk: CHUNK * TILE_PIXELS / THREADS vectors of the input, CHUNK * 4 * TILE_VECTORS / THREADS of the weights
#define INPUT_LOADS 2
#define WEIGHT_LOADS 2

struct Params {
  input: View,
  residual: View,
  // With DIVIDED: of the sums, [pixel][part][vector].
  output: View,
  input_height: u32,
  height: u32,
  first_batch: u32,
  first_row: u32,
  row_count: u32,
  kernel_height: u32,
  kernel_width: u32,
  stride: u32,
  padding: u32,
  dilation: u32,
  input_channels: u32,
  output_channels: u32,
  // Vectors between the matrices of two images; 0: one for all.
  matrix_stride: u32,
  // Parts of the inner dimension.
  parts: u32,
  epsilon: f32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
#if F32_MATRIX
alias Weight4 = vec4<f32>;
#else
alias Weight4 = Element4;
#endif
@group(0) @binding(2) var<storage, read> weights: array<Weight4>;
#if DIVIDED
@group(0) @binding(4) var<storage, read_write> output: array<vec4<f32>>;
#else
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;
#endif
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<Element4>;
#endif

fn vectors_of(channels: u32) -> u32 { return (channels + 3u) / 4u; }

// What a workgroup makes.
struct Task {
  batch: u32,
  // Of the pixels of the band.
  first_pixel: u32,
  pixels: u32,
  first_vector: u32,
  part: u32,
  first_chunk: u32,
  chunks: u32,
}

fn task_of(tile: vec3<u32>, tiles: vec3<u32>) -> Task {
  // Columns first: workgroups that run together then read the same pixels, which are still in the cache.
  let column_tiles = (vectors_of(params.output_channels) + TILE_VECTORS - 1u) / TILE_VECTORS;
  let index = tile.y * tiles.x + tile.x;
  let part = tile.z % params.parts;
  let chunks = (inner_vectors() + CHUNK - 1u) / CHUNK;
  let part_chunks = (chunks + params.parts - 1u) / params.parts;
  let first_chunk = part * part_chunks;
  return Task(
    params.first_batch + tile.z / params.parts,
    (index / column_tiles) * TILE_PIXELS,
    params.row_count * params.output.width,
    (index % column_tiles) * TILE_VECTORS,
    part,
    first_chunk,
    min(part_chunks, chunks - first_chunk),
  );
}

fn inner_vectors() -> u32 { return params.kernel_height * params.kernel_width * vectors_of(params.input_channels); }

// Position in the inner dimension: kernel row, kernel column, vector of input channels.
struct Step {
  ky: u32,
  kx: u32,
  vector: u32,
}

fn step_at(index: u32) -> Step {
  let input_vectors = vectors_of(params.input_channels);
  let tap = index / input_vectors;
  return Step(tap / params.kernel_width, tap % params.kernel_width, index % input_vectors);
}

// A few subtractions where two divisions would cost as much as the loads.
fn step_ahead(step: Step, count: u32) -> Step {
  let input_vectors = vectors_of(params.input_channels);
  var ky = step.ky;
  var kx = step.kx;
  var vector = step.vector + count;
  loop {
    if (vector < input_vectors) { break; }
    vector -= input_vectors;
    kx++;
    if (kx == params.kernel_width) {
      kx = 0u;
      ky++;
    }
  }
  return Step(ky, kx, vector);
}

// Of each pixel of the tile: where the kernel's first tap lies, row of the image and column, and with NORMALISE mean and reciprocal
// deviation. Not in registers, which the sums need.
var<workgroup> first_taps: array<vec2<i32>, TILE_PIXELS>;
#if NORMALISE
var<workgroup> moments: array<vec2<f32>, TILE_PIXELS>;
var<workgroup> lane_sums: array<f32, THREADS>;

fn total(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

// The sum over the lanes that share a pixel, the same in all of them.
fn pixel_sum(lane: u32, sum: vec4<f32>) -> f32 {
  lane_sums[lane] = total(sum);
  workgroupBarrier();
  var result = 0.0;
  for (var k = 0u; k < CHUNK; k++) { result += lane_sums[lane - lane % CHUNK + k]; }
  workgroupBarrier();
  return result;
}
#endif

// Fills `first_taps` and `moments`, before anything is loaded.
fn prepare_pixels(task: Task, lane: u32) {
  let width = params.output.width;
  for (var p = lane; p < TILE_PIXELS; p += THREADS) {
    let pixel = min(task.first_pixel + p, task.pixels - 1u);
    first_taps[p] = vec2<i32>(vec2<u32>(params.first_row + pixel / width, pixel % width) * params.stride) - i32(params.padding);
  }
  workgroupBarrier();
#if NORMALISE
  // As in loading, CHUNK lanes share a pixel and read neighbouring vectors.
  let input_vectors = vectors_of(params.input_channels);
  let channels = f32(params.input_channels);
  for (var turn = 0u; turn < INPUT_LOADS; turn++) {
    let p = lane / CHUNK + turn * (THREADS / CHUNK);
    var sum = vec4<f32>(0.0);
    for (var v = lane % CHUNK; v < input_vectors; v += CHUNK) { sum += vec4<f32>(gather(task.batch, p, Step(0u, 0u, v))); }
    let mean = pixel_sum(lane, sum) / channels;
    var squares = vec4<f32>(0.0);
    for (var v = lane % CHUNK; v < input_vectors; v += CHUNK) {
      let d = keep_channels(vec4<f32>(gather(task.batch, p, Step(0u, 0u, v))) - mean, v, params.input_channels);
      squares = fma(d, d, squares);
    }
    let scale = 1.0 / sqrt(pixel_sum(lane, squares) / channels + params.epsilon);
    if (lane % CHUNK == 0u) { moments[p] = vec2<f32>(mean, scale); }
  }
  workgroupBarrier();
#endif
}

// The input that a step reads for a pixel of the tile; zero in the padding and past the last step. Without a branch, so that the loads
// of a thread are all on their way before the first is waited for.
fn gather(batch: u32, pixel: u32, step: Step) -> Element4 {
  // As unsigned numbers, positions before the picture are past its end.
  let y = u32(first_taps[pixel].x + i32(step.ky * params.dilation));
  let x = u32(first_taps[pixel].y + i32(step.kx * params.dilation));
  let inside = y < params.input_height && x < params.input.width && step.ky < params.kernel_height;
  let index = select(0u, pixel_index(params.input, batch * params.input_height + y, x) + step.vector, inside);
  return select(Element4(), input[index], inside);
}

fn load_input(batch: u32, pixel: u32, step: Step) -> Element4 {
#if NORMALISE
  // The padding of the last vector needs no mask, its weights are zero; but past the last step there are no weights.
  let x = (vec4<f32>(gather(batch, pixel, step)) - moments[pixel].x) * moments[pixel].y;
  return select(Element4(), Element4(x), step.ky < params.kernel_height);
#else
  return gather(batch, pixel, step);
#endif
}

// One vector of a row of the matrix. Rows past the last are multiplied by zeros, columns past the last are not stored: it only matters
// that there is a number.
fn load_weights(batch: u32, row: u32, vector: u32) -> Weight4 {
  let output_vectors = vectors_of(params.output_channels);
  let last = inner_vectors() * 4u * output_vectors - 1u;
  return weights[batch * params.matrix_stride + min(row * output_vectors + vector, last)];
}

// Stores the sum of one vector of a pixel, both counted from the tile's first, if it lies inside.
fn finish(sum: vec4<f32>, task: Task, tile_pixel: u32, tile_vector: u32) {
  let pixel = task.first_pixel + tile_pixel;
  let vector = task.first_vector + tile_vector;
  if (pixel >= task.pixels || vector >= vectors_of(params.output_channels)) { return; }
  let width = params.output.width;
  let row_pixel = (task.batch * params.height + params.first_row) * width + pixel;
  let destination = (row_pixel - params.output.first_row * width) * params.output.pixel_vectors + params.output.first_vector + vector;
#if DIVIDED
  output[destination + task.part * vectors_of(params.output_channels)] = sum;
#else
  var value = activate(sum + bias[vector], vec4<f32>(params.slope));
#if RESIDUAL
  value += vec4<f32>(residual[(row_pixel - params.residual.first_row * width) * params.residual.pixel_vectors + params.residual.first_vector + vector]);
#endif
  output[destination] = Element4(keep_channels(value, vector, params.output_channels));
#endif
}
