import { describe, expect, it } from "vitest";
import { installedMatches, mesaPlan, nodeIsEnough, parseOsRelease, parseSources } from "../../scripts/setup-lib.mjs";

const bookworm = parseOsRelease('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n');
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
const deb822 = `# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
# another
Components: main contrib
Signed-By: ${keyring}

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
`;

describe("parseOsRelease", () => {
  it("takes quotes off and leaves comments out", () => {
    expect(parseOsRelease("# x\nID=ubuntu\nNAME='Ubuntu'\nPRETTY_NAME=\"Ubuntu 24.04 LTS\"\n\n")).toEqual({
      ID: "ubuntu",
      NAME: "Ubuntu",
      PRETTY_NAME: "Ubuntu 24.04 LTS",
    });
  });
});

describe("parseSources", () => {
  it("reads one-line files", () => {
    const text = [
      "# deb http://old.example/debian bookworm main",
      "deb http://mirror.example/debian bookworm main contrib # note",
      `deb [ arch=amd64 signed-by=${keyring} ] http://mirror.example/debian bookworm-backports main`,
      "deb-src http://mirror.example/debian bookworm main",
      "",
    ].join("\n");
    expect(parseSources([{ name: "a.list", text }])).toEqual([
      { uri: "http://mirror.example/debian", suite: "bookworm", components: ["main", "contrib"], options: "" },
      {
        uri: "http://mirror.example/debian",
        suite: "bookworm-backports",
        components: ["main"],
        options: `arch=amd64 signed-by=${keyring}`,
      },
    ]);
  });

  it("reads deb822 files, one source for each address and suite", () => {
    const options = `signed-by=${keyring}`;
    const components = ["main", "contrib"];
    expect(parseSources([{ name: "debian.sources", text: deb822 }])).toEqual([
      { uri: "http://mirror.example/debian", suite: "bookworm", components, options },
      { uri: "http://mirror.example/debian", suite: "bookworm-updates", components, options },
      { uri: "http://mirror.example/debian-security", suite: "bookworm-security", components: ["main"], options: "" },
    ]);
  });

  it("leaves out disabled stanzas and sources of source code, and an embedded key", () => {
    const text = `Types: deb\nURIs: http://a.example\nSuites: x\nComponents: main\nEnabled: no

Types: deb-src\nURIs: http://b.example\nSuites: x\nComponents: main

Types: deb\nURIs:\n http://c.example\n http://d.example\nSuites: x\nComponents: main\nTrusted: yes\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n`;
    expect(parseSources([{ name: "x.sources", text }])).toEqual([
      { uri: "http://c.example", suite: "x", components: ["main"], options: "trusted=yes" },
      { uri: "http://d.example", suite: "x", components: ["main"], options: "trusted=yes" },
    ]);
  });
});

describe("mesaPlan", () => {
  const packages = ["mesa-vulkan-drivers", "libvulkan1"];
  const sources = parseSources([{ name: "debian.sources", text: deb822 }]);

  it("takes Debian 12's from the backports suite of the mirror apt uses", () => {
    expect(mesaPlan(bookworm, sources)).toEqual({
      packages,
      suite: "bookworm-backports",
      sourceLine: `deb [signed-by=${keyring}] http://mirror.example/debian bookworm-backports main`,
    });
    const oneLine = parseSources([{ name: "sources.list", text: "deb http://mirror.example/debian bookworm main" }]);
    expect(mesaPlan(bookworm, oneLine).sourceLine).toBe("deb http://mirror.example/debian bookworm-backports main");
  });

  it("adds no source when backports are there", () => {
    const more = parseSources([{ name: "b.list", text: "deb http://mirror.example/debian bookworm-backports main" }]);
    expect(mesaPlan(bookworm, [...sources, ...more])).toEqual({ packages, suite: "bookworm-backports" });
  });

  it("treats a system built on Debian 12 alike", () => {
    const derived = { ID: "linuxmint", ID_LIKE: "debian", VERSION_CODENAME: "faye", DEBIAN_CODENAME: "bookworm" };
    expect(mesaPlan(derived, sources).suite).toBe("bookworm-backports");
  });

  it("takes the ordinary package of newer Debian, Ubuntu and what is built on them", () => {
    for (const system of [
      { ID: "debian", VERSION_ID: "13", VERSION_CODENAME: "trixie" },
      { ID: "debian", VERSION_CODENAME: "forky" },
      { ID: "ubuntu", ID_LIKE: "debian", VERSION_ID: "24.04", VERSION_CODENAME: "noble" },
      { ID: "ubuntu", ID_LIKE: "debian", VERSION_ID: "22.04", VERSION_CODENAME: "jammy" },
      { ID: "linuxmint", ID_LIKE: "ubuntu debian", VERSION_ID: "22", VERSION_CODENAME: "wilma", UBUNTU_CODENAME: "noble" },
    ]) {
      expect(mesaPlan(system, []), system.VERSION_CODENAME).toEqual({ packages });
    }
  });

  it("says what it cannot do", () => {
    expect(mesaPlan({ ID: "fedora", PRETTY_NAME: "Fedora 42" }, []).problem).toContain("Fedora 42");
    expect(mesaPlan({}, []).problem).toContain("this system");
    expect(mesaPlan({ ID: "debian", VERSION_CODENAME: "bullseye" }, []).problem).toContain("Debian 12");
    expect(mesaPlan({ ID: "ubuntu", VERSION_ID: "20.04" }, []).problem).toContain("Ubuntu 22.04");
    expect(mesaPlan(bookworm, []).problem).toContain("bookworm-backports");
  });
});

describe("installedMatches", () => {
  const lock = { packages: { "": {}, "node_modules/a": { version: "1.0.0" }, "node_modules/b-win": { version: "2.0.0", optional: true } } };

  it("accepts what the lock asks for, without packages of other platforms", () => {
    expect(installedMatches(lock, { packages: { "node_modules/a": { version: "1.0.0" } } })).toBe(true);
  });

  it("notices a missing and a different package", () => {
    expect(installedMatches(lock, { packages: {} })).toBe(false);
    expect(installedMatches(lock, { packages: { "node_modules/a": { version: "1.0.1" } } })).toBe(false);
    const other = { "node_modules/a": { version: "1.0.0" }, "node_modules/b-win": { version: "1.0.0" } };
    expect(installedMatches(lock, { packages: other })).toBe(false);
  });
});

describe("nodeIsEnough", () => {
  it("compares major and minor versions as numbers", () => {
    const enough = ["v20.19.0", "v20.20.2", "v22.1.0"].map((version) => nodeIsEnough(version, [20, 19]));
    const tooOld = ["v18.20.0", "v20.9.0", "v20.18.3"].map((version) => nodeIsEnough(version, [20, 19]));
    expect([enough, tooOld]).toEqual([
      [true, true, true],
      [false, false, false],
    ]);
  });
});
