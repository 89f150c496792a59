import { readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { defineConfig } from "vite";
import { wgsl } from "../wgsl-plugin.ts";

const { dependencies } = JSON.parse(readFileSync("package.json", "utf8")) as { dependencies: Record<string, string> };

/** Bundles the benchmark for Node, with the engine's sources, into `dist/bench/main.js` and the program that it starts beside it. */
export default defineConfig({
  plugins: [wgsl()],
  build: {
    target: "es2022",
    minify: false,
    emptyOutDir: false,
    outDir: "dist",
    lib: {
      entry: { "bench/main": "bench/main.ts", "bench/first-picture-process": "bench/first-picture-process.ts" },
      formats: ["es"],
    },
    rollupOptions: {
      output: { chunkFileNames: "bench/[name].js" },
      external: [...builtinModules, /^node:/, "webgpu", "echarts", ...Object.keys(dependencies)],
    },
  },
});
