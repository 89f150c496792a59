import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import envPaths from "env-paths";
import { SinterError } from "../errors.ts";
import { packageRoot, readError, writeFileAtomically } from "./files.ts";

/** What names a GPU and, in the description, its driver. */
export type AdapterName = Readonly<Record<"vendor" | "architecture" | "device" | "description", string>>;

interface TunedFile {
  /** Version of Sinter, whose variants these are. */
  readonly sinter: string;
  readonly adapter: AdapterName;
  readonly variants: Readonly<Record<string, string>>;
}

/** The platform's cache folder for Sinter, or `SINTER_CACHE`. */
export const cacheFolder = (): string => process.env["SINTER_CACHE"] ?? envPaths("sinter", { suffix: "" }).cache;

/** Where the variants that were measured on a GPU with its driver are remembered. */
export function tunedPath({ vendor, architecture, device, description }: AdapterName): string {
  const hash = createHash("sha256").update(JSON.stringify([vendor, architecture, device, description])).digest("hex");
  return join(cacheFolder(), "tuned", `${hash.slice(0, 16)}.json`);
}

/**
 * The variants that `sinter tune` remembered for a GPU; none where it was never tuned, or by another version of Sinter.
 *
 * @throws SinterError `TUNED_DAMAGED` when the file is not what `writeTuned` wrote
 */
export async function readTuned(adapter: AdapterName): Promise<ReadonlyMap<string, string>> {
  const path = tunedPath(adapter);
  if (!existsSync(path)) return new Map();
  let content: Partial<TunedFile>;
  try {
    content = JSON.parse(await readFile(path, "utf8")) as Partial<TunedFile>;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw readError(path, cause);
    throw damaged(path, cause.message, cause);
  }
  if (content.sinter !== (await version())) return new Map();
  if (typeof content.variants !== "object" || !Object.values(content.variants).every((variant) => typeof variant === "string")) {
    throw damaged(path, "it has no table of variants");
  }
  return new Map(Object.entries(content.variants));
}

const damaged = (path: string, found: string, cause?: unknown): SinterError =>
  new SinterError("TUNED_DAMAGED", `${path}: expected the variants that sinter tune remembered; ${found}.`, {
    where: path,
    fix: "Delete the file, or run `sinter tune` again.",
    cause,
  });

/**
 * Remembers variants for a GPU, beside those that other models needed.
 *
 * @param measured by `variantKey`; undefined takes back what was remembered
 * @returns the file
 */
export async function writeTuned(adapter: AdapterName, measured: ReadonlyMap<string, string | undefined>): Promise<string> {
  const path = tunedPath(adapter);
  const variants = new Map<string, string>(await readTuned(adapter).catch(() => new Map()));
  for (const [key, variant] of measured) {
    if (variant === undefined) variants.delete(key);
    else variants.set(key, variant);
  }
  const content: TunedFile = { sinter: await version(), adapter, variants: Object.fromEntries(variants) };
  await mkdir(dirname(path), { recursive: true });
  await writeFileAtomically(path, `${JSON.stringify(content, undefined, 2)}\n`, { overwrite: true });
  return path;
}

async function version(): Promise<string> {
  return (JSON.parse(await readFile(join(packageRoot(), "package.json"), "utf8")) as { version: string }).version;
}
