// Peak arithmetic: CHAINS independent chains of fused multiply-adds a lane, STEPS of each in a turn of the loop.
#define F16 0
#define CHAINS 6
#define STEPS 16
#define FUSED 1
#if F16
enable f16;
alias Pair = vec2<f16>;
#else
alias Pair = vec2<f32>;
#endif

struct Parameters {
  iterations: u32,
  factor: f32,
}

override LANES: u32;

@group(0) @binding(0) var<uniform> parameters: Parameters;
@group(0) @binding(1) var<storage, read_write> output: array<vec2<f32>>;

@compute @workgroup_size(LANES)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  // From a uniform and the lane's number, so that no chain can be computed in advance.
  let factor = Pair(vec2<f32>(parameters.factor));
  let addend = Pair(vec2<f32>(f32(id.x % 7u) * 0.01));
  var chains: array<Pair, CHAINS>;
#for i CHAINS
  chains[i] = addend + Pair(vec2<f32>(f32(i)));
#endfor
  for (var iteration = 0u; iteration < parameters.iterations; iteration++) {
#for step STEPS
#for i CHAINS
#if FUSED
    chains[i] = fma(chains[i], factor, addend);
#else
    chains[i] = chains[i] * factor + addend;
#endif
#endfor
#endfor
  }
  var sum = Pair(vec2<f32>(0.0));
#for i CHAINS
  sum += chains[i];
#endfor
  output[id.x] = vec2<f32>(sum);
}
