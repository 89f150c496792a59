#!/usr/bin/env node
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const built = new URL("../dist/cli.js", import.meta.url);
const folder = fileURLToPath(new URL("..", import.meta.url));

// `sinter models | head` closes the pipe early; that is no failure.
process.stdout.on("error", (error) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

if (existsSync(built)) {
  const { main } = await import(built.href).catch(explain);
  await main(process.argv);
} else {
  fail("Sinter is not built yet.", `Run \`npm run setup && npm run build\` in ${folder}`);
}

function explain(error) {
  if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
  fail(`a package that Sinter needs is missing (${error.message.split("\n")[0]}).`, `Run \`npm run setup\` in ${folder}`);
  process.exit();
}

function fail(message, fix) {
  console.error(`sinter: ${message}\n  fix: ${fix}`);
  process.exitCode = 1;
}
