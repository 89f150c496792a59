/** An 8-bit picture: rows from the top, channels interleaved. */
export interface Encoded {
  width: number;
  height: number;
  /** 1 (grey) or 3 (RGB, sRGB). */
  channels: number;
  data: Uint8Array;
}

/** The seed changes what is in the scene and where; width and height are in pixels. */
export interface SceneOptions {
  seed?: number;
  width?: number;
  height?: number;
}

/** What a pedestrian spans, in pixels; may reach beyond the picture, and other things may stand in front. */
export interface Span {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export function renderNightStreet(options?: SceneOptions): { visible: Encoded; infrared: Encoded; people: Span[] };
export function renderWindow(options?: SceneOptions): { under: Encoded; over: Encoded; truth: Encoded };
export function renderNearFar(options?: SceneOptions): { near: Encoded; far: Encoded; truth: Encoded };
/** `width` and `height` should be equal: the head fills the picture. */
export function renderBrainPhantom(options?: SceneOptions): { mri: Encoded; pet: Encoded };
