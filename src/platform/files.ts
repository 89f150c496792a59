import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, parse, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { SinterError } from "../errors.ts";

/** The endings of the picture files that Sinter reads and writes, lower case. */
export const imageExtensions: readonly string[] = [".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp"];

/** One pair of `pairFolders`: the common base name and the two paths. */
export interface FilePair {
  readonly name: string;
  readonly first: string;
  readonly second: string;
}

/**
 * The folder of Sinter's package, where `package.json` and `weights` are: the same from the sources and from the build.
 *
 * @throws SinterError `NO_PACKAGE_FOLDER` when this file was moved out of its package.
 */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const file = join(folder, "package.json");
    if (existsSync(file) && (JSON.parse(readFileSync(file, "utf8")) as { name?: string }).name === "sinter") return folder;
    const parent = dirname(folder);
    if (parent === folder) {
      throw new SinterError("NO_PACKAGE_FOLDER", "Sinter's own package.json was not found above its code.", {
        where: fileURLToPath(import.meta.url),
        fix: "Install the package again; its files must stay together.",
      });
    }
    folder = parent;
  }
}

/** True when the path is a folder; false for a file and for a path where nothing is. */
export async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    return false;
  }
}

/**
 * The picture files directly in a folder, by their ending, as paths in the order of their names. Hidden files are left out.
 *
 * @throws SinterError `FILE_NOT_FOUND`, `NOT_A_FOLDER`, `UNREADABLE_FILE`, or `NO_IMAGES` when there is none.
 */
export async function listImages(folder: string): Promise<string[]> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (cause) {
    throw readError(folder, cause);
  }
  const images = names
    .filter((name) => !name.startsWith(".") && imageExtensions.includes(extname(name).toLowerCase()))
    .toSorted()
    .map((name) => join(folder, name));
  if (images.length === 0) {
    throw new SinterError("NO_IMAGES", `${folder} has no picture file (${imageExtensions.join(", ")}).`, { where: folder });
  }
  return images;
}

/**
 * Pairs the pictures of two folders by equal base names (`a.png` with `a.jpg`), in the order of the names.
 *
 * @throws SinterError what `listImages` throws; `AMBIGUOUS_NAMES` when one folder has two files of one base name;
 * `UNMATCHED_NAMES` with the list when a file of either folder has no partner.
 */
export async function pairFolders(first: string, second: string): Promise<FilePair[]> {
  const firstByName = byName(first, await listImages(first));
  const secondByName = byName(second, await listImages(second));
  const lonelyFirst = [...firstByName].filter(([name]) => !secondByName.has(name)).map(([, path]) => basename(path));
  const lonelySecond = [...secondByName].filter(([name]) => !firstByName.has(name)).map(([, path]) => basename(path));
  if (lonelyFirst.length + lonelySecond.length > 0) {
    const parts = [
      [first, lonelyFirst],
      [second, lonelySecond],
    ] as const;
    const listed = parts.filter(([, names]) => names.length > 0).map(([folder, names]) => `only in ${folder}: ${someOf(names)}`);
    throw new SinterError("UNMATCHED_NAMES", `Files without a partner of the same base name; ${listed.join("; ")}.`, {
      where: `${first}, ${second}`,
      fix: "Give both files of a pair the same name (their endings may differ), and take the others out of the folders.",
    });
  }
  const pairs: FilePair[] = [];
  for (const [name, path] of firstByName) {
    const partner = secondByName.get(name);
    if (partner !== undefined) pairs.push({ name, first: path, second: partner });
  }
  return pairs;
}

/**
 * Checks, before any work is done, that a file could be written at `path`.
 *
 * @throws SinterError `OUTPUT_EXISTS` when a file is there and may not be overwritten; `UNWRITABLE_OUTPUT` when the path is a
 * folder or its folder is missing or is a file.
 */
export async function checkOutput(path: string, options: { overwrite?: boolean | undefined } = {}): Promise<void> {
  const folder = dirname(resolve(path));
  if (!(await isFolder(folder))) {
    throw new SinterError("UNWRITABLE_OUTPUT", `${path} cannot be written: there is no folder ${folder}.`, {
      where: path,
      fix: "Make the folder first, or name another one.",
    });
  }
  if (await isFolder(path)) {
    throw new SinterError("UNWRITABLE_OUTPUT", `${path} cannot be written: it is a folder, and a file was expected.`, {
      where: path,
      fix: "Name a file in that folder.",
    });
  }
  if (options.overwrite !== true && existsSync(path)) {
    throw new SinterError("OUTPUT_EXISTS", `${path} is there already.`, { where: path, fix: "Add --overwrite, or name another file." });
  }
}

/**
 * Writes a file so that its name holds the old content or the whole new content and never a part: into a temporary file in
 * the same folder, which is then renamed.
 *
 * @throws SinterError what `checkOutput` throws; `UNWRITABLE_OUTPUT` also when the system refuses (permission, full disk).
 */
export async function writeFileAtomically(
  path: string,
  content: Uint8Array | string,
  options: { overwrite?: boolean | undefined } = {},
): Promise<void> {
  await checkOutput(path, options);
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    await writeFile(temporary, content, { flag: "wx" });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw new SinterError("UNWRITABLE_OUTPUT", `${path} cannot be written: ${reason(cause)}.`, { where: path, cause });
  }
}

/** The SinterError for a file or folder that the system did not let us read. */
export function readError(path: string, cause: unknown): SinterError {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === "ENOENT") return new SinterError("FILE_NOT_FOUND", `There is no file or folder ${path}.`, { where: path, cause });
  if (code === "ENOTDIR") return new SinterError("NOT_A_FOLDER", `${path}: a folder was expected, and it is a file.`, { where: path, cause });
  return new SinterError("UNREADABLE_FILE", `${path} cannot be read: ${reason(cause)}.`, { where: path, cause });
}

const reasons: Record<string, string> = {
  EACCES: "permission denied",
  EPERM: "permission denied",
  EROFS: "the file system is read-only",
  ENOSPC: "no space is left on the device",
  EDQUOT: "the disk quota is used up",
  ENAMETOOLONG: "the name is too long",
  EISDIR: "it is a folder",
};

function reason(cause: unknown): string {
  const error = cause as NodeJS.ErrnoException;
  return reasons[error.code ?? ""] ?? error.message;
}

function byName(folder: string, paths: string[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const path of paths) {
    const { name } = parse(path);
    const other = found.get(name);
    if (other !== undefined) {
      throw new SinterError("AMBIGUOUS_NAMES", `${folder} has two pictures named ${name}: ${basename(other)} and ${basename(path)}.`, {
        where: folder,
        fix: "Keep one picture of each base name in a folder.",
      });
    }
    found.set(name, path);
  }
  return found;
}

function someOf(names: string[]): string {
  const shown = names.slice(0, 10).join(", ");
  return names.length > 10 ? `${shown} and ${names.length - 10} more` : shown;
}
