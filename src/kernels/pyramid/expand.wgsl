// Between two levels of a pyramid: the coarse level expanded (zeros between its pixels, then the 5×5 kernel, times 4) and
// OPERATION 0: subtracted from the fine level; 1: added to it. One vector of four channels of one pixel a thread.
override OPERATION: u32;
override VECTORS: u32;
override CHANNELS: u32;
override LANES: u32 = 64;

struct Params {
  fine: View,
  coarse: View,
  output: View,
  height: u32,
  coarse_height: u32,
  first_batch: u32,
  first_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> fine: array<Element4>;
@group(0) @binding(2) var<storage, read> coarse: array<Element4>;
@group(0) @binding(3) var<storage, read_write> output: array<Element4>;

@compute @workgroup_size(LANES)
fn pyramid_expand(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let item = tile.x * LANES + lane;
  let vector = item % VECTORS;
  let column = i32(item / VECTORS);
  let row = i32(params.first_row + tile.y);
  let batch = params.first_batch + tile.z;
  let width = i32(params.output.width);
  if (column >= width) { return; }

  // The coarse pixels lie at even positions; mirroring keeps an even position even.
  var expanded = vec4<f32>(0.0);
  for (var ky = (row & 1) - 2; ky <= 2; ky += 2) {
    let y = u32(mirror(row + ky, i32(params.height))) / 2u;
    for (var kx = (column & 1) - 2; kx <= 2; kx += 2) {
      let x = u32(mirror(column + kx, width)) / 2u;
      let value = vec4<f32>(coarse[pixel_index(params.coarse, batch * params.coarse_height + y, x) + vector]);
      expanded = fma(value, vec4<f32>(4.0 * tap(ky) * tap(kx)), expanded);
    }
  }
  let image_row = batch * params.height + u32(row);
  let value = vec4<f32>(fine[pixel_index(params.fine, image_row, u32(column)) + vector]);
  let result = select(value + expanded, value - expanded, OPERATION == 0u);
  output[pixel_index(params.output, image_row, u32(column)) + vector] = Element4(keep_channels(result, vector, CHANNELS));
}
