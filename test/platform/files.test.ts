import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkOutput, listImages, packageRoot, pairFolders, writeFileAtomically } from "../../src/platform/files.ts";

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "sinter-files-"));
});
afterAll(async () => {
  await rm(root, { recursive: true });
});

async function folder(name: string, files: string[]): Promise<string> {
  const path = join(root, name);
  await mkdir(path, { recursive: true });
  for (const file of files) await writeFile(join(path, file), "");
  return path;
}

describe("listImages", () => {
  it("lists pictures by their ending, sorted, without hidden files", async () => {
    const path = await folder("list", ["b.PNG", "a.jpg", "notes.txt", ".hidden.png", "c.tif", "noending"]);
    expect(await listImages(path)).toEqual(["a.jpg", "b.PNG", "c.tif"].map((name) => join(path, name)));
  });

  it("has an error for a missing folder, a file and a folder without pictures", async () => {
    const path = await folder("empty", ["a.txt"]);
    await expect(listImages(join(root, "nowhere"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await expect(listImages(join(path, "a.txt"))).rejects.toMatchObject({ code: "NOT_A_FOLDER" });
    await expect(listImages(path)).rejects.toMatchObject({ code: "NO_IMAGES", where: path });
  });
});

describe("pairFolders", () => {
  it("pairs equal base names whatever their endings", async () => {
    const first = await folder("pair/ir", ["2.png", "1.tif", "scene.x.png"]);
    const second = await folder("pair/vis", ["1.jpg", "2.png", "scene.x.webp"]);
    expect(await pairFolders(first, second)).toEqual([
      { name: "1", first: join(first, "1.tif"), second: join(second, "1.jpg") },
      { name: "2", first: join(first, "2.png"), second: join(second, "2.png") },
      { name: "scene.x", first: join(first, "scene.x.png"), second: join(second, "scene.x.webp") },
    ]);
  });

  it("lists every file without a partner, of both folders", async () => {
    const first = await folder("lonely/ir", ["1.png", "2.png", "3.png"]);
    const second = await folder("lonely/vis", ["2.png", "4.jpg"]);
    const message = `Files without a partner of the same base name; only in ${first}: 1.png, 3.png; only in ${second}: 4.jpg.`;
    await expect(pairFolders(first, second)).rejects.toMatchObject({ code: "UNMATCHED_NAMES", message });
  });

  it("shortens a long list", async () => {
    const first = await folder("long/ir", Array.from({ length: 25 }, (_, i) => `${i}.png`));
    const second = await folder("long/vis", ["0.png"]);
    await expect(pairFolders(first, second)).rejects.toThrow(/and 14 more/);
  });

  it("refuses two pictures of one base name in a folder", async () => {
    const first = await folder("twice/ir", ["1.png", "1.jpg"]);
    const second = await folder("twice/vis", ["1.png"]);
    await expect(pairFolders(first, second)).rejects.toMatchObject({ code: "AMBIGUOUS_NAMES", where: first });
  });
});

describe("writeFileAtomically", () => {
  it("writes, keeps what is there, and overwrites when told; no temporary file stays", async () => {
    const path = join(await folder("write", []), "a.json");
    await writeFileAtomically(path, "one");
    await expect(writeFileAtomically(path, "two")).rejects.toMatchObject({ code: "OUTPUT_EXISTS", where: path });
    expect(await readFile(path, "utf8")).toBe("one");
    await writeFileAtomically(path, Uint8Array.of(51), { overwrite: true });
    expect(await readFile(path, "utf8")).toBe("3");
    expect(await readdir(join(root, "write"))).toEqual(["a.json"]);
  });

  it("leaves nothing when the system refuses", async () => {
    const path = join(await folder("refused", []), "n".repeat(300));
    await expect(writeFileAtomically(path, "x")).rejects.toMatchObject({ code: "UNWRITABLE_OUTPUT" });
    expect(await readdir(join(root, "refused"))).toEqual([]);
  });

  it("checks a path before work begins", async () => {
    const path = await folder("check", ["there.png"]);
    await expect(checkOutput(join(path, "new.png"))).resolves.toBeUndefined();
    await expect(checkOutput(join(path, "there.png"), { overwrite: true })).resolves.toBeUndefined();
    await expect(checkOutput(join(path, "there.png"))).rejects.toMatchObject({ code: "OUTPUT_EXISTS" });
    await expect(checkOutput(path)).rejects.toMatchObject({ code: "UNWRITABLE_OUTPUT" });
  });
});

describe("packageRoot", () => {
  it("is the folder of Sinter's package.json", async () => {
    expect(JSON.parse(await readFile(join(packageRoot(), "package.json"), "utf8"))).toMatchObject({ name: "sinter" });
  });
});
