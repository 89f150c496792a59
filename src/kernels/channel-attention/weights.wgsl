// Last pass of transposed channel attention: normalises q and k to length 1 over the pixels, applies the head's temperature
// and the softmax. The result is the matrix of a 1×1 convolution, [input channel][vector of output channels], zero between
// heads. One thread makes the columns of four output channels.
override LANES: u32 = 64;

struct Params {
  pairs: u32,
  channels: u32,
  head_channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
// [image][pair][4 rows of products, squares of q, squares of k]
@group(0) @binding(1) var<storage, read> sums: array<vec4<f32>>;
// One number a head, four to a vector.
@group(0) @binding(2) var<storage, read> temperature: array<vec4<f32>>;
// Which pair holds the products of a vector of q and a vector of k: [vector of q][vector of k].
@group(0) @binding(3) var<storage, read> pair_of: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4<f32>>;

fn channel_vectors() -> u32 {
  return (params.channels + 3u) / 4u;
}

fn pair_base(batch: u32, query: u32, key: u32) -> u32 {
  let index = (query / 4u) * channel_vectors() + key / 4u;
  return (batch * params.pairs + u32(pair_of[index / 4u][index % 4u])) * 6u;
}

// torch.nn.functional.normalize divides by max(length, 1e-12).
fn query_length(batch: u32, channel: u32) -> f32 {
  return max(sqrt(sums[pair_base(batch, channel, channel) + 4u][channel % 4u]), 1e-12);
}

fn key_length(batch: u32, channel: u32) -> f32 {
  return max(sqrt(sums[pair_base(batch, channel, channel) + 5u][channel % 4u]), 1e-12);
}

fn score(batch: u32, query: u32, key: u32) -> f32 {
  let head = query / params.head_channels;
  let product = sums[pair_base(batch, query, key) + query % 4u][key % 4u];
  return product / query_length(batch, query) / key_length(batch, key) * temperature[head / 4u][head % 4u];
}

@compute @workgroup_size(LANES)
fn attention_weights(@builtin(global_invocation_id) id: vec3<u32>) {
  let batch = id.y;
  let vector = id.x;
  if (vector >= channel_vectors()) { return; }

  var largest = vec4<f32>(-3.4e38);
  var sum = vec4<f32>(0.0);
  for (var i = 0u; i < 4u; i++) {
    let query = vector * 4u + i;
    if (query >= params.channels) { break; }
    let first = (query / params.head_channels) * params.head_channels;
    for (var key = first; key < first + params.head_channels; key++) { largest[i] = max(largest[i], score(batch, query, key)); }
    for (var key = first; key < first + params.head_channels; key++) { sum[i] += exp(score(batch, query, key) - largest[i]); }
  }
  for (var key = 0u; key < channel_vectors() * 4u; key++) {
    var weight = vec4<f32>(0.0);
    for (var i = 0u; i < 4u; i++) {
      let query = vector * 4u + i;
      if (query < params.channels && key < params.channels && query / params.head_channels == key / params.head_channels) {
        weight[i] = exp(score(batch, query, key) - largest[i]) / sum[i];
      }
    }
    output[(batch * channel_vectors() * 4u + key) * channel_vectors() + vector] = weight;
  }
}
