import { Engine } from "./dist/index.js";

/**
 * Fuses with ReFusion's shipped weights. Pictures come and go as plain arrays, because they cross from one process to another.
 *
 * @param pair `{ first, second }`, each `{ width, height, channels, data }` with 8-bit numbers in an array
 * @param options as `Model.fuse` takes them
 */
globalThis.fusePair = async ({ first, second }, options) => {
  const bytes = (picture) => ({ ...picture, data: Uint8Array.from(picture.data) });
  const engine = await Engine.open();
  const model = await engine.load("refusion");
  const { width, height, channels, data } = await model.fuse({ first: bytes(first), second: bytes(second) }, options);
  const { vendor, architecture } = engine.context.device.adapter;
  engine.dispose();
  return { width, height, channels, data: Array.from(data), adapter: `${vendor} ${architecture}` };
};
