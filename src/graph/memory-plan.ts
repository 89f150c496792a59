/** Something that needs memory from step `first` to step `last` of a plan, both included. */
export interface MemoryRequest {
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
  /**
   * Requests bound together with this one by the step that writes it: WebGPU forbids to read and write one buffer in one dispatch,
   * even in disjoint parts, so these must lie in other buffers.
   */
  readonly apartFrom: readonly MemoryRequest[];
}

export interface MemoryPlan {
  /** Bytes of each buffer. */
  readonly buffers: readonly number[];
  /** Where each request lies, by its index. */
  readonly places: readonly { readonly buffer: number; readonly offset: number }[];
}

/** Binding offsets must be multiples of 256 bytes on most devices. */
const ALIGNMENT = 256;

/**
 * Packs requests with disjoint lifetimes into few buffers: each goes where the buffers grow least, at the lowest free offset.
 * Requests must come in the order of their first step.
 */
export function planMemory(requests: readonly MemoryRequest[], maxBufferSize: number): MemoryPlan {
  const buffers: number[] = [];
  const places: { buffer: number; offset: number }[] = [];
  const index = new Map(requests.map((request, i) => [request, i]));
  requests.forEach((request) => {
    const bytes = Math.ceil(request.bytes / ALIGNMENT) * ALIGNMENT;
    const forbidden = new Set(request.apartFrom.map((other) => places[index.get(other) ?? -1]?.buffer));
    let best: { buffer: number; offset: number; growth: number } | undefined;
    for (let buffer = 0; buffer < buffers.length; buffer++) {
      if (forbidden.has(buffer)) continue;
      const taken = requests
        .slice(0, places.length)
        .flatMap((other, i) => {
          const place = places[i];
          const overlaps = other.first <= request.last && request.first <= other.last;
          return place?.buffer === buffer && overlaps ? [{ start: place.offset, end: place.offset + Math.ceil(other.bytes / ALIGNMENT) * ALIGNMENT }] : [];
        })
        .toSorted((a, b) => a.start - b.start);
      let offset = 0;
      for (const { start, end } of taken) {
        if (start - offset >= bytes) break;
        offset = Math.max(offset, end);
      }
      const growth = Math.max(0, offset + bytes - (buffers[buffer] ?? 0));
      if (offset + bytes <= maxBufferSize && (!best || growth < best.growth)) best = { buffer, offset, growth };
    }
    if (!best || best.growth >= bytes) best = { buffer: buffers.length, offset: 0, growth: bytes };
    buffers[best.buffer] = Math.max(buffers[best.buffer] ?? 0, best.offset + bytes);
    places.push({ buffer: best.buffer, offset: best.offset });
  });
  return { buffers, places };
}
