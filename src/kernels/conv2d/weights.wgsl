// The matrix of a convolution: [kernel row][kernel column][input channel][vector of output channels]. Up to WEIGHT_VECTORS it is a
// uniform buffer, in f32 because such an array has a stride of 16 bytes: all lanes read the same number, which is what constant
// memory is for (on a software adapter this alone nearly doubles the speed). Larger matrices are storage.
#define UNIFORM_WEIGHTS 1
#define WEIGHT_VECTORS 1024
#if UNIFORM_WEIGHTS
@group(0) @binding(2) var<uniform> weights: array<vec4<f32>, WEIGHT_VECTORS>;
#else
@group(0) @binding(2) var<storage, read> weights: array<Element4>;
#endif
