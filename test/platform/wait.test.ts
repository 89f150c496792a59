import { setTimeout as later } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { waitQuietly } from "../../src/platform/wait.ts";

describe("waitQuietly", () => {
  it("gives what the promise gives, and its error", async () => {
    await expect(waitQuietly(Promise.resolve(7))).resolves.toBe(7);
    await expect(waitQuietly(Promise.reject(new Error("lost")))).rejects.toThrow("lost");
  });

  it("leaves the processor alone and the event loop turning", async () => {
    let turns = 0;
    let waiting = true;
    const spin = (): void => {
      turns++;
      // As Dawn's binding does while a promise of its own is open.
      if (waiting) setImmediate(spin);
    };
    setImmediate(spin);
    const before = process.cpuUsage();
    await Promise.all([waitQuietly(later(100)), waitQuietly(later(200))]);
    waiting = false;
    const { user, system } = process.cpuUsage(before);
    expect(user + system).toBeLessThan(100_000);
    expect(turns).toBeGreaterThan(10);
  });
});
