import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type MemoryRequest, planMemory } from "../../src/graph/memory-plan.ts";

const LARGE = 2 ** 40;

/** Requests of random sizes and lifetimes; a pair that lives together may have to lie apart. */
const requests = fc
  .array(fc.record({ bytes: fc.integer({ min: 1, max: 5000 }), first: fc.integer({ min: 0, max: 12 }), steps: fc.integer({ min: 0, max: 5 }) }), { minLength: 1, maxLength: 14 })
  .chain((list) => fc.tuple(fc.constant(list), fc.array(fc.tuple(fc.nat(list.length - 1), fc.nat(list.length - 1)), { maxLength: 10 })))
  .map(([list, pairs]) => {
    const made = list.map(({ bytes, first, steps }) => ({ bytes, first, last: first + steps, apartFrom: [] as MemoryRequest[] }));
    for (const [i, j] of pairs) {
      const [a, b] = [made[i], made[j]];
      if (!a || !b || a === b || a.apartFrom.includes(b) || a.first > b.last || b.first > a.last) continue;
      a.apartFrom.push(b);
      b.apartFrom.push(a);
    }
    return made;
  });

const rounded = (bytes: number): number => Math.ceil(bytes / 256) * 256;

describe("planMemory", () => {
  it("puts no two requests that live at a time in the same bytes, and keeps apart what must be", () => {
    fc.assert(
      fc.property(requests, (list) => {
        const { buffers, places } = planMemory(list, LARGE);
        list.forEach((a, i) => {
          const place = places[i];
          if (!place) throw new Error(`request ${i} has no place`);
          expect(place.offset % 256).toBe(0);
          expect(place.offset + a.bytes).toBeLessThanOrEqual(buffers[place.buffer] ?? 0);
          list.slice(0, i).forEach((b, j) => {
            const other = places[j];
            if (!other || other.buffer !== place.buffer) return;
            expect(a.apartFrom).not.toContain(b);
            const alive = a.first <= b.last && b.first <= a.last;
            const overlap = place.offset < other.offset + b.bytes && other.offset < place.offset + a.bytes;
            expect(alive && overlap).toBe(false);
          });
        });
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  it("never takes more than all requests side by side, nor less than what lives at one time", () => {
    fc.assert(
      fc.property(requests, (list) => {
        const total = planMemory(list, LARGE).buffers.reduce((a, b) => a + b, 0);
        expect(total).toBeLessThanOrEqual(list.reduce((sum, { bytes }) => sum + rounded(bytes), 0));
        for (let step = 0; step <= 17; step++) {
          const alive = list.filter(({ first, last }) => first <= step && step <= last);
          expect(total).toBeGreaterThanOrEqual(alive.reduce((sum, { bytes }) => sum + rounded(bytes), 0));
        }
      }),
      { numRuns: 200, seed: 2 },
    );
  });

  it("makes the same plan of the same requests", () => {
    fc.assert(
      fc.property(requests, (list) => {
        expect(planMemory(structuredClone(list), LARGE)).toEqual(planMemory(list, LARGE));
      }),
      { numRuns: 50, seed: 3 },
    );
  });

  it("makes no buffer larger than the device allows", () => {
    fc.assert(
      fc.property(requests, (list) => {
        expect(Math.max(...planMemory(list, 8192).buffers)).toBeLessThanOrEqual(8192);
      }),
      { numRuns: 100, seed: 4 },
    );
  });

  it("uses the memory of a chain again: two buffers, for reading and for writing", () => {
    const chain: (MemoryRequest & { apartFrom: MemoryRequest[] })[] = Array.from({ length: 10 }, (_, step) => ({ bytes: 1024, first: step, last: step + 1, apartFrom: [] }));
    chain.forEach((request, i) => request.apartFrom.push(...[chain[i - 1], chain[i + 1]].filter((other) => other !== undefined)));
    expect(planMemory(chain, LARGE).buffers).toEqual([1024, 1024]);
  });

  it("takes nothing for nothing", () => {
    expect(planMemory([], LARGE)).toEqual({ buffers: [], places: [] });
  });
});
