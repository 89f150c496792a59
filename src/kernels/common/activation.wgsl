// Which function `activate` applies; activation.ts holds the same numbers.
override ACTIVATION: u32 = 0u;

// Rational approximation of erf on |x| <= 4, fitted for relative error; below 5e-7 in f32.
fn erf(x: vec4<f32>) -> vec4<f32> {
  let c = clamp(x, vec4<f32>(-4.0), vec4<f32>(4.0));
  let t = c * c;
  var p = vec4<f32>(1.914515779e-8);
  p = p * t - 1.939228986e-6;
  p = p * t + 1.462925105e-4;
  p = p * t + 3.948051796e-3;
  p = p * t + 5.138826040e-2;
  p = p * t + 2.061240098e-1;
  p = p * t + 1.128379099;
  var q = vec4<f32>(1.010920071e-3);
  q = q * t + 1.487092463e-2;
  q = q * t + 1.175534065e-1;
  q = q * t + 5.160040125e-1;
  q = q * t + 1.0;
  return c * p / q;
}

fn gelu(x: vec4<f32>) -> vec4<f32> {
  return 0.5 * x * (1.0 + erf(x * 0.70710678));
}

fn sigmoid(x: vec4<f32>) -> vec4<f32> {
  return 1.0 / (1.0 + exp(-x));
}

// `slope` is used by leaky ReLU (one number) and PReLU (one a channel).
fn activate(x: vec4<f32>, slope: vec4<f32>) -> vec4<f32> {
  switch ACTIVATION {
    case 1u: { return max(x, vec4<f32>(0.0)); }
    case 2u: { return select(x * slope, x, x > vec4<f32>(0.0)); }
    case 3u: { return gelu(x); }
    case 4u: { return x / (1.0 + exp(-x)); }
    case 5u: { return sigmoid(x); }
    case 6u: { return clamp(x, vec4<f32>(0.0), vec4<f32>(6.0)); }
    default: { return x; }
  }
}
