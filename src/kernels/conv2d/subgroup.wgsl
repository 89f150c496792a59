// Convolution as implicit GEMM by subgroups: a subgroup makes PIXEL_GROUPS × SUBGROUP pixels × VECTOR_LANES vectors of output channels.
// A lane loads what few others do, a vector of input channels of a pixel of its own and the weights of an output vector of its own,
// and the subgroup hands the inputs round. On a software adapter a load is a sequence of scalar ones with a branch each, so that
// arithmetic per load is all that counts there; handing round is one instruction.
#define SUBGROUP 8
// Lanes that share a pixel; fewer than SUBGROUP where there are few output vectors.
#define VECTOR_LANES 8
#define PIXEL_GROUPS 2
// PIXEL_GROUPS * VECTOR_LANES
#define RESULTS 16
#define NORMALISE 0
#define RESIDUAL 0

override LANES: u32 = 32;

struct Params {
  input: View,
  residual: View,
  output: View,
  input_height: u32,
  output_height: u32,
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
  // Blocks of VECTOR_LANES output vectors that a workgroup makes one after the other.
  blocks: u32,
  // RESULTS, as a number that the compiler does not know: it would unroll the loop.
  results: u32,
  epsilon: f32,
  slope: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<Element4>;
// [kernel row][kernel column][input channel][vector of output channels]
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<Element4>;
#if RESIDUAL
@group(0) @binding(5) var<storage, read> residual: array<Element4>;
#endif

fn total(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(LANES)
fn conv2d_subgroup(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let input_vectors = (params.input_channels + 3u) / 4u;
  let output_vectors = (params.output_channels + 3u) / 4u;
  let column_blocks = (output_vectors + VECTOR_LANES - 1u) / VECTOR_LANES;
  let block_groups = (column_blocks + params.blocks - 1u) / params.blocks;
  let batch = params.first_batch + tile.z / block_groups;
  // Pixels are counted on from one row to the next, so that a narrow picture leaves no lane idle.
  let pixels = params.row_count * params.output.width;
  let first = ((tile.y * tiles.x + tile.x) * (LANES / SUBGROUP) + index / SUBGROUP) * (PIXEL_GROUPS * SUBGROUP);
  let first_lane = lane - lane % VECTOR_LANES;

  // Of the kernel's first tap. Unsigned: positions before the picture wrap round and are past its end.
  var row: array<u32, PIXEL_GROUPS>;
  var column: array<u32, PIXEL_GROUPS>;
#for g PIXEL_GROUPS
  let pixel = min(first + g * SUBGROUP + lane, pixels - 1u);
  row[g] = (params.first_row + pixel / params.output.width) * params.stride - params.padding;
  column[g] = (pixel % params.output.width) * params.stride - params.padding;
#endfor

#if NORMALISE
  var mean: array<f32, PIXEL_GROUPS>;
  var scale: array<f32, PIXEL_GROUPS>;
#for g PIXEL_GROUPS
  let source = pixel_index(params.input, batch * params.input_height + row[g], column[g]);
  var sum = vec4<f32>(0.0);
  for (var v = 0u; v < input_vectors; v++) { sum += vec4<f32>(input[source + v]); }
  mean[g] = total(sum) / f32(params.input_channels);
  var squares = vec4<f32>(0.0);
  for (var v = 0u; v < input_vectors; v++) {
    let d = keep_channels(vec4<f32>(input[source + v]) - mean[g], v, params.input_channels);
    squares = fma(d, d, squares);
  }
  scale[g] = 1.0 / sqrt(total(squares) / f32(params.input_channels) + params.epsilon);
#endfor
#endif

  for (var turn = 0u; turn < params.blocks; turn++) {
    let vector = (tile.z % block_groups * params.blocks + turn) * VECTOR_LANES + lane % VECTOR_LANES;
    let inside_vector = min(vector, output_vectors - 1u);
    let start = bias[inside_vector];
    var sum: array<array<vec4<f32>, VECTOR_LANES>, PIXEL_GROUPS>;
#for g PIXEL_GROUPS
#for m VECTOR_LANES
    sum[g][m] = start;
#endfor
#endfor

    for (var tap = 0u; tap < params.kernel_height * params.kernel_width; tap++) {
      let ky = tap / params.kernel_width * params.dilation;
      let kx = tap % params.kernel_width * params.dilation;
      var inside: array<bool, PIXEL_GROUPS>;
      var source: array<u32, PIXEL_GROUPS>;
#for g PIXEL_GROUPS
      inside[g] = row[g] + ky < params.input_height && column[g] + kx < params.input.width;
      source[g] = select(0u, pixel_index(params.input, batch * params.input_height + row[g] + ky, column[g] + kx), inside[g]);
#endfor
      var weight = batch * params.matrix_stride + tap * input_vectors * 4u * output_vectors + inside_vector;
      for (var v = 0u; v < input_vectors; v++) {
        var x: array<vec4<f32>, PIXEL_GROUPS>;
#for g PIXEL_GROUPS
        x[g] = select(vec4<f32>(0.0), vec4<f32>(input[source[g] + v]), inside[g]);
#if NORMALISE
        // The padding needs no mask: its weights are zero.
        x[g] = (x[g] - mean[g]) * scale[g];
#endif
#endfor
        var w: array<vec4<f32>, 4>;
#for i 4
        w[i] = vec4<f32>(weights[weight + i * output_vectors]);
#endfor
        weight += 4u * output_vectors;
#for g PIXEL_GROUPS
#for m VECTOR_LANES
        let b = subgroupShuffle(x[g], first_lane + m);
        sum[g][m] = fma(vec4<f32>(b.w), w[3], fma(vec4<f32>(b.z), w[2], fma(vec4<f32>(b.y), w[1], fma(vec4<f32>(b.x), w[0], sum[g][m]))));
#endfor
#endfor
      }
    }

    // A loop over memory: unrolled stores would take a software adapter longer to compile than all the rest.
    var results: array<vec4<f32>, RESULTS>;
#for g PIXEL_GROUPS
#for m VECTOR_LANES
    results[g * VECTOR_LANES + m] = sum[g][m];
#endfor
#endfor
    for (var i = 0u; i < params.results; i++) {
      let pixel = first + i / VECTOR_LANES * SUBGROUP + first_lane + i % VECTOR_LANES;
      if (pixel < pixels && vector < output_vectors) {
        let stored = (batch * params.output_height + params.first_row) * params.output.width + pixel;
        var value = activate(results[i], vec4<f32>(params.slope));
#if RESIDUAL
        let added = (stored - params.residual.first_row * params.residual.width) * params.residual.pixel_vectors + params.residual.first_vector;
        value += vec4<f32>(residual[added + vector]);
#endif
        let destination = (stored - params.output.first_row * params.output.width) * params.output.pixel_vectors + params.output.first_vector;
        output[destination + vector] = Element4(keep_channels(value, vector, params.output_channels));
      }
    }
  }
}
