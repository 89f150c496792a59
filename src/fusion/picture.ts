/**
 * A decoded picture: rows from the top, channels interleaved, sRGB-encoded.
 * `data` has width × height × channels values: 0–255 (Uint8Array), 0–65535 (Uint16Array) or 0–1 (Float32Array).
 */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  readonly data: Uint8Array | Uint16Array | Float32Array;
}
