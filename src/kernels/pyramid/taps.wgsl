// Burt and Adelson's generating kernel (1, 4, 6, 4, 1) / 16 at an offset of −2 to 2.
fn tap(offset: i32) -> f32 {
  let distance = abs(offset);
  return select(select(0.0625, 0.25, distance == 1), 0.375, distance == 0);
}
