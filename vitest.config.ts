import { defineConfig } from "vitest/config";
import { wgsl } from "./wgsl-plugin.ts";

export default defineConfig({
  plugins: [wgsl()],
  test: {
    include: ["test/**/*.test.ts"],
    // A software adapter uses every core by itself, so two files at once only slow each other down.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
