import { describe, expect, it } from "vitest";
import {
  renderBrainPhantom,
  renderNearFar,
  renderNightStreet,
  renderWindow,
  type Encoded,
  type SceneOptions,
  type Span,
} from "../../tools/scenes/index.mjs";

const WIDTH = 64;
const HEIGHT = 48;

/** Mean of all values, over a part of the picture if one is named. */
function mean(
  { width, height, channels, data }: Encoded,
  part: Span = { left: 0, top: 0, right: width, bottom: height },
): number {
  let sum = 0;
  let count = 0;
  for (let y = Math.max(0, Math.floor(part.top)); y < Math.min(height, part.bottom); y += 1) {
    for (let x = Math.max(0, Math.floor(part.left)); x < Math.min(width, part.right); x += 1) {
      for (let c = 0; c < channels; c += 1) sum += data[(y * width + x) * channels + c] ?? 0;
      count += channels;
    }
  }
  return sum / count;
}

/** Mean difference between pixels side by side: high where a picture is sharp. */
function detail({ width, height, channels, data }: Encoded, top: number, bottom: number): number {
  let sum = 0;
  let count = 0;
  for (let y = Math.floor(top * height); y < bottom * height; y += 1) {
    for (let i = y * width * channels; i < (y + 1) * width * channels - channels; i += 1) {
      sum += Math.abs((data[i] ?? 0) - (data[i + channels] ?? 0));
      count += 1;
    }
  }
  return sum / count;
}

/** Share of pixels whose channels all have at least, or at most, a value. */
function share({ channels, data }: Encoded, holds: (value: number) => boolean): number {
  let count = 0;
  for (let i = 0; i < data.length; i += channels) if (data.subarray(i, i + channels).every(holds)) count += 1;
  return (count * channels) / data.length;
}

/** A scene's sides by name. */
function pictures(rendered: Record<string, Encoded | Span[]>): [string, Encoded][] {
  return Object.entries(rendered).filter((entry): entry is [string, Encoded] => !Array.isArray(entry[1]));
}

const isClipped = (value: number): boolean => value >= 250;

type Render = (options: SceneOptions) => Record<string, Encoded | Span[]>;

describe.each<[string, Render, Record<string, number>, number]>([
  ["night street", renderNightStreet, { visible: 3, infrared: 1 }, HEIGHT],
  ["window", renderWindow, { under: 3, over: 3, truth: 3 }, HEIGHT],
  ["near and far", renderNearFar, { near: 3, far: 3, truth: 3 }, HEIGHT],
  ["brain phantom", renderBrainPhantom, { mri: 1, pet: 3 }, WIDTH],
])("%s", (_, render, channels, height) => {
  const options = { seed: 3, width: WIDTH, height };
  const first = render(options);

  it("has the size and channels asked for", () => {
    const found = Object.fromEntries(pictures(first).map(([side, image]) => [side, image.channels]));
    expect(found).toEqual(channels);
    for (const [, image] of pictures(first)) {
      expect([image.width, image.height]).toEqual([WIDTH, height]);
      expect(image.data).toHaveLength(WIDTH * height * image.channels);
    }
  });

  it("is the same for the same seed and another for another seed", () => {
    expect(render(options)).toEqual(first);
    expect(render({ ...options, seed: 4 })).not.toEqual(first);
  });
});

describe("what the sides show", () => {
  it("pedestrians stand out in infrared and vanish in the visible picture", () => {
    const { visible, infrared, people } = renderNightStreet({ seed: 1, width: 160, height: 120 });
    const nearest = people.toSorted((a, b) => b.bottom - b.top - (a.bottom - a.top))[0];
    expect(nearest).toBeDefined();
    if (nearest === undefined) return;
    const middle = (nearest.left + nearest.right) / 2;
    const body = {
      ...nearest,
      left: middle - 2,
      right: middle + 2,
      bottom: nearest.top + 0.5 * (nearest.bottom - nearest.top),
    };
    expect(mean(infrared, body)).toBeGreaterThan(1.5 * mean(infrared));
    expect(mean(visible, body)).toBeLessThan(mean(infrared, body) / 3);
  });

  it("the short exposure keeps the view, the long one the room", () => {
    const { under, over, truth } = renderWindow({ seed: 1, width: WIDTH, height: HEIGHT });
    expect(share(over, isClipped)).toBeGreaterThan(0.05);
    expect(share(under, isClipped)).toBeLessThan(0.04);
    expect(mean(under)).toBeLessThan(mean(truth));
    expect(mean(truth)).toBeLessThan(mean(over));
  });

  it("each focus is sharp where the other is soft", () => {
    const { near, far, truth } = renderNearFar({ seed: 1, width: 160, height: 120 });
    expect(detail(near, 0, 0.4)).toBeLessThan(0.7 * detail(truth, 0, 0.4));
    expect(detail(far, 0, 0.4)).toBeGreaterThan(0.8 * detail(truth, 0, 0.4));
    expect(detail(far, 0.65, 1)).toBeLessThan(0.8 * detail(near, 0.65, 1));
  });

  it("the tracer shows colour inside the head and nothing in the air around", () => {
    const { mri, pet } = renderBrainPhantom({ seed: 1, width: WIDTH, height: WIDTH });
    const corner = { left: 0, top: 0, right: 6, bottom: 6 };
    const brain = { left: 20, top: 16, right: 44, bottom: 48 };
    expect(mean(mri, corner)).toBeLessThan(12);
    expect(mean(pet, corner)).toBeLessThan(12);
    expect(mean(mri, brain)).toBeGreaterThan(80);
    let coloured = 0;
    for (let i = 0; i < pet.data.length; i += 3) {
      const [r = 0, g = 0, b = 0] = pet.data.subarray(i, i + 3);
      if (Math.max(r, g, b) - Math.min(r, g, b) > 80) coloured += 1;
    }
    expect(coloured / (WIDTH * WIDTH)).toBeGreaterThan(0.2);
  });
});
