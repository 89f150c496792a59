// The parts of setup.mjs that touch nothing: what the system's files say, and what follows from it.

/** Reads /etc/os-release: its names as keys, quotes taken off. */
export function parseOsRelease(text) {
  const values = {};
  for (const line of text.split("\n")) {
    const match = /^([A-Z_]+)=(.*)$/.exec(line.trim());
    if (match) values[match[1]] = match[2].replace(/^(["'])(.*)\1$/, "$2");
  }
  return values;
}

/**
 * Reads apt's sources, one-line files (`.list`) and deb822 files (`.sources`).
 *
 * @param files { name, text } of every file
 * @returns the binary package sources: { uri, suite, components, options }, options as in a one-line file
 */
export function parseSources(files) {
  return files.flatMap(({ name, text }) => (name.endsWith(".sources") ? parseStanzas(text) : parseLines(text)));
}

/**
 * What apt must do so that Mesa's software adapter is there and new enough for Dawn (Mesa 22 is not).
 *
 * @returns { packages, suite?, sourceLine? }: with `suite` they come from there, and `sourceLine` is what apt's sources lack;
 * or { problem } in words
 */
export function mesaPlan(osRelease, sources) {
  const packages = ["mesa-vulkan-drivers", "libvulkan1"];
  const name = osRelease.PRETTY_NAME || osRelease.ID || "this system";
  const family = [osRelease.ID, ...(osRelease.ID_LIKE || "").split(/\s+/)];
  if (!family.includes("debian") && !family.includes("ubuntu")) {
    return { problem: `Install Mesa's software Vulkan driver (lavapipe), version 24 or later, and the Vulkan loader with the package manager of ${name}.` };
  }
  const codename = osRelease.ID === "debian" ? osRelease.VERSION_CODENAME : osRelease.DEBIAN_CODENAME;
  const tooOld = osRelease.ID === "ubuntu" && Number.parseInt(osRelease.VERSION_ID, 10) < 22;
  if (tooOld || ["stretch", "buster", "bullseye"].includes(codename)) {
    return { problem: `${name} has no Mesa that is new enough; Sinter needs Debian 12, Ubuntu 22.04 or later, or a GPU with a Vulkan driver.` };
  }
  if (codename !== "bookworm") return { packages };

  const suite = `${codename}-backports`;
  if (sources.some((source) => source.suite === suite && source.components.includes("main"))) return { packages, suite };
  const base = sources.find((source) => source.suite === codename && source.components.includes("main"));
  if (!base) return { problem: `apt's sources have no suite ${codename}; add ${suite} to them, then install ${packages.join(" and ")} from it.` };
  const options = base.options === "" ? "" : `[${base.options}] `;
  return { packages, suite, sourceLine: `deb ${options}${base.uri} ${suite} main` };
}

/**
 * True when node_modules holds what package-lock.json asks for. Packages for other platforms may be missing.
 *
 * @param lock package-lock.json  @param installed node_modules/.package-lock.json, which npm writes
 */
export function installedMatches(lock, installed) {
  return Object.entries(lock.packages).every(([path, wanted]) => {
    if (path === "") return true;
    const found = installed.packages[path];
    return found === undefined ? wanted.optional === true || wanted.devOptional === true : found.version === wanted.version;
  });
}

/** True when a Node version such as `v20.19.0` is the minimum or later. */
export function nodeIsEnough(version, [major, minor]) {
  const [foundMajor, foundMinor] = version.replace(/^v/, "").split(".").map(Number);
  return foundMajor > major || (foundMajor === major && foundMinor >= minor);
}

function parseLines(text) {
  const sources = [];
  for (const line of text.split("\n")) {
    const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)([^#]*)/.exec(line.trim());
    if (!match) continue;
    const [, options = "", uri, suite, components] = match;
    sources.push({ uri, suite, components: words(components), options: words(options).join(" ") });
  }
  return sources;
}

function parseStanzas(text) {
  const sources = [];
  const withoutComments = text.split("\n").filter((line) => !line.startsWith("#"));
  for (const stanza of withoutComments.join("\n").split(/\n\s*\n/)) {
    const fields = {};
    let last = "";
    for (const line of stanza.split("\n")) {
      const match = /^([A-Za-z-]+):(.*)$/.exec(line);
      if (match) {
        last = match[1].toLowerCase();
        fields[last] = match[2].trim();
      } else if (/^\s/.test(line) && last !== "") {
        fields[last] += ` ${line.trim()}`;
      }
    }
    if (!words(fields.types).includes("deb") || /^(no|false|0)$/i.test(fields.enabled || "")) continue;
    // A key written into the file itself cannot stand in a one-line source.
    const options = ["signed-by", "trusted", "check-valid-until"]
      .filter((name) => fields[name] && !fields[name].includes("BEGIN PGP"))
      .map((name) => `${name}=${words(fields[name]).join(",")}`)
      .join(" ");
    for (const uri of words(fields.uris)) {
      for (const suite of words(fields.suites)) sources.push({ uri, suite, components: words(fields.components), options });
    }
  }
  return sources;
}

function words(text = "") {
  return text.split(/\s+/).filter((word) => word !== "");
}
