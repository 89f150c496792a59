// Merges statistics of parts (Chan, Golub and LeVeque 1979).

// Number of values, their mean, their squared deviations from it.
var<workgroup> results: array<vec4<f32>, LANES>;

fn merge(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  let count = a.x + b.x;
  if (count == 0.0) { return a; }
  let share = b.x / count;
  let d = b.y - a.y;
  return vec4<f32>(count, fma(d, share, a.y), a.z + b.z + d * d * a.x * share, 0.0);
}

// Of all lanes; called by all of them.
fn merge_lanes(lane: u32, result: vec4<f32>) -> vec4<f32> {
  results[lane] = result;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) { results[lane] = merge(results[lane], results[lane + half]); }
    workgroupBarrier();
  }
  return results[0];
}
