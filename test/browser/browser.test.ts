import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FuseOptions } from "../../src/fusion/model.ts";
import type { Picture } from "../../src/fusion/picture.ts";
import { Engine } from "../../src/node.ts";
import { startServer, type TestServer } from "./server.ts";

const ENTRY = "dist/index.js";

interface PlainPicture {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3;
  readonly data: readonly number[];
}

declare global {
  /** Of page.js. */
  function fusePair(
    pair: { readonly first: PlainPicture; readonly second: PlainPicture },
    options: FuseOptions,
  ): Promise<PlainPicture & { readonly adapter: string }>;
}

/** A built file and every built file that it imports, by path, with what it imports from elsewhere. */
function loadedFiles(entry: string, files = new Map<string, { text: string; foreign: string[] }>()): typeof files {
  if (files.has(entry)) return files;
  if (!existsSync(entry)) throw new Error(`There is no ${entry}, and this test looks at the build: \`npm run build\` first.`);
  const text = readFileSync(entry, "utf8");
  const imports = text.matchAll(/^\s*(?:import|export)\b[^"';]*?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)/gm);
  const imported = [...imports].map(([, one, two]) => one ?? two ?? "");
  files.set(entry, { text, foreign: imported.filter((name) => !name.startsWith("./")) });
  for (const name of imported.filter((path) => path.startsWith("./"))) loadedFiles(join(dirname(entry), name), files);
  return files;
}

describe("the built library", () => {
  it("imports nothing but its own files: no Node built-in, no package", () => {
    const files = loadedFiles(ENTRY);
    expect(files.size).toBeGreaterThan(1);
    expect([...files].flatMap(([path, { foreign }]) => foreign.map((name) => `${path} imports ${name}`))).toEqual([]);
    // The same look at the Node entry finds what it must, so the search works.
    const foreign = [...loadedFiles("dist/node.js").values()].flatMap((file) => file.foreign);
    expect(foreign).toEqual(expect.arrayContaining(["node:fs/promises", "sharp", "webgpu"]));
  });

  it("never makes code from text, and asks for nothing that only Node has", () => {
    for (const [path, { text }] of loadedFiles(ENTRY)) {
      expect(text.match(/(?<![.\w$])(?:eval|Function)\s*\(|\b(?:require\(|process\.|Buffer\.|__dirname)/g) ?? [], path).toEqual([]);
    }
  });
});

const candidates = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
const executablePath = candidates.find((path) => existsSync(path));
if (executablePath === undefined) console.warn("The browser tests are skipped: Chromium is not installed.");

const SIZE = 64;

/** A hot disc on a ramp, and a coloured texture. */
function pair(): { first: PlainPicture; second: PlainPicture } {
  const size = { width: SIZE, height: SIZE };
  const position = (i: number): [number, number] => [i % SIZE, Math.floor(i / SIZE)];
  const first = Array.from({ length: SIZE * SIZE }, (_, i) => {
    const [x, y] = position(i);
    return (x - 40) ** 2 + (y - 24) ** 2 < 90 ? 240 : 30 + y;
  });
  const second = Array.from({ length: SIZE * SIZE * 3 }, (_, i) => {
    const [x, y] = position(Math.floor(i / 3));
    return Math.round(120 + 60 * Math.sin(x / 3) * Math.cos(y / 4) + ([25, 0, -30][i % 3] ?? 0));
  });
  return { first: { ...size, channels: 1, data: first }, second: { ...size, channels: 3, data: second } };
}

describe.skipIf(executablePath === undefined)("a bare page in Chromium", () => {
  let server: TestServer;
  let browser: Browser;
  beforeAll(async () => {
    loadedFiles(ENTRY);
    server = await startServer();
    browser = await chromium.launch({
      ...(executablePath !== undefined && { executablePath }),
      args: [
        "--headless=new",
        "--no-sandbox",
        "--enable-unsafe-webgpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    });
  });
  afterAll(async () => {
    await browser.close();
    server.server.close();
  });

  it("fuses a 64×64 pair under a strict content security policy, equal to Node within one grey level", async () => {
    const page = await browser.newPage();
    const problems: string[] = [];
    page.on("pageerror", (error) => problems.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") problems.push(message.text());
    });
    await page.goto(`${server.origin}/page.html`);
    const fused = await page.evaluate((pictures) => globalThis.fusePair(pictures, {}), pair());
    await page.close();
    expect(problems).toEqual([]);

    const { first, second } = pair();
    const bytes = (picture: PlainPicture): Picture => ({ ...picture, data: Uint8Array.from(picture.data) });
    const engine = await Engine.open();
    const expected = await (await engine.load("refusion")).fuse({ first: bytes(first), second: bytes(second) });
    engine.dispose();
    expect([fused.width, fused.height, fused.channels]).toEqual([SIZE, SIZE, 3]);
    expect(fused.data).toHaveLength(expected.data.length);
    expect(new Set(fused.data).size).toBeGreaterThan(100);
    const differences = fused.data.map((value, i) => Math.abs(value - (expected.data[i] ?? Number.NaN)));
    expect(Math.max(...differences), `on ${fused.adapter}`).toBeLessThanOrEqual(1);
  });
});
