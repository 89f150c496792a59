// An index up to two positions outside 0..size mirrored about the first and last position, which are not repeated. Where fewer
// than three positions leave no room for that, it is mirrored until it lies inside.
fn mirror(index: i32, size: i32) -> i32 {
  let last = size - 1;
  return min(abs(last - abs(last - abs(index))), last);
}
