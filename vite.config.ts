import { defineConfig } from "vite";
import { builtinModules } from "node:module";
import { readFileSync } from "node:fs";
import { wgsl } from "./wgsl-plugin.ts";

const { dependencies } = JSON.parse(readFileSync("package.json", "utf8")) as { dependencies: Record<string, string> };

export default defineConfig({
  plugins: [wgsl()],
  build: {
    target: "es2022",
    minify: false,
    emptyOutDir: true,
    outDir: "dist",
    lib: {
      entry: { index: "src/index.ts", node: "src/node.ts", cli: "src/cli/main.ts", "evaluate-worker": "src/cli/evaluate-worker.ts" },
      formats: ["es"],
    },
    rollupOptions: {
      external: [...builtinModules, /^node:/, "webgpu", ...Object.keys(dependencies)],
    },
  },
});
