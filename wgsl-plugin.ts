import type { Plugin } from "vite";

/** Imports a `.wgsl` file as its text; shared by Vitest, Vite and the package build. */
export function wgsl(): Plugin {
  return {
    name: "wgsl",
    transform(code, id) {
      if (id.split("?")[0]?.endsWith(".wgsl")) return { code: `export default ${JSON.stringify(code)};`, map: null };
      return undefined;
    },
  };
}
