import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { cacheFolder, readTuned, tunedPath, writeTuned } from "../../src/platform/tuned.ts";

const adapter = { vendor: "nvidia", architecture: "hopper", device: "a GPU", description: "driver 1" };

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sinter-tuned-"));
  vi.stubEnv("SINTER_CACHE", folder);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

describe("tuned variants", () => {
  it("are remembered by adapter and driver", async () => {
    expect(await readTuned(adapter)).toEqual(new Map());
    expect(await writeTuned(adapter, new Map([["a", "1"], ["b", "2"]]))).toBe(tunedPath(adapter));
    expect(await readTuned(adapter)).toEqual(new Map([["a", "1"], ["b", "2"]]));
    expect(await readTuned({ ...adapter, description: "driver 2" })).toEqual(new Map());
  });

  it("add up over models, and a default takes back what was remembered", async () => {
    await writeTuned(adapter, new Map([["a", "1"], ["b", "2"]]));
    await writeTuned(adapter, new Map([["b", undefined], ["c", "3"]]));
    expect(await readTuned(adapter)).toEqual(new Map([["a", "1"], ["c", "3"]]));
  });

  it("of another version of Sinter are not used", async () => {
    const path = await writeTuned(adapter, new Map([["a", "1"]]));
    await writeFile(path, (await readFile(path, "utf8")).replace(/"sinter": "[^"]*"/, '"sinter": "0.0.0"'));
    expect(await readTuned(adapter)).toEqual(new Map());
  });

  it.each([
    ["{", "JSON"],
    ['{ "sinter": "VERSION", "variants": { "a": 1 } }', "no table of variants"],
  ])("that are damaged are an error that names the file: %s", async (content, found) => {
    const path = await writeTuned(adapter, new Map());
    const { sinter } = JSON.parse(await readFile(path, "utf8")) as { sinter: string };
    await writeFile(path, content.replace("VERSION", sinter));
    await expect(readTuned(adapter)).rejects.toMatchObject({ code: "TUNED_DAMAGED", where: path, message: expect.stringContaining(found) as unknown });
    await writeTuned(adapter, new Map([["a", "1"]]));
    expect(await readTuned(adapter)).toEqual(new Map([["a", "1"]]));
  });

  it("lie in the platform's cache folder when SINTER_CACHE is not set", () => {
    vi.stubEnv("SINTER_CACHE", undefined);
    expect(cacheFolder()).toMatch(/sinter/);
  });
});
