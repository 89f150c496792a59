// A known sum of hashed integers, for `sinter doctor`: a GPU or driver that gets multiplication, shifts, workgroup memory,
// barriers or atomics wrong gets another sum. Each of the invocations hashes its index with ten rounds like those of Philox
// (the 64-bit product of the word and a constant, its halves crossed with a growing key), and all words are added modulo 2^32.

override WORKGROUP_SIZE: u32 = 64;

@group(0) @binding(0) var<storage, read_write> sum: atomic<u32>;

var<workgroup> words: array<u32, WORKGROUP_SIZE>;

// The upper 32 bits of a 64-bit product, from four products of 16-bit halves.
fn multiplyHigh(a: u32, b: u32) -> u32 {
  let aLow = a & 0xffffu;
  let aHigh = a >> 16u;
  let bLow = b & 0xffffu;
  let bHigh = b >> 16u;
  let middle = aHigh * bLow + ((aLow * bLow) >> 16u);
  let carry = aLow * bHigh + (middle & 0xffffu);
  return aHigh * bHigh + (middle >> 16u) + (carry >> 16u);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(global_invocation_id) global: vec3u, @builtin(local_invocation_index) local: u32) {
  var word = global.x;
  var key = 1u;
  for (var round = 0u; round < 10u; round++) {
    word = multiplyHigh(word ^ key, 0xd2511f53u) ^ (word * 0xcd9e8d57u) ^ key;
    key += 0x9e3779b9u;
  }
  words[local] = word;
  workgroupBarrier();
  for (var stride = WORKGROUP_SIZE / 2u; stride > 0u; stride /= 2u) {
    if (local < stride) {
      words[local] += words[local + stride];
    }
    workgroupBarrier();
  }
  if (local == 0u) {
    atomicAdd(&sum, words[0]);
  }
}
