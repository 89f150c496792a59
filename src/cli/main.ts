import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { SinterError } from "../errors.ts";
import { packageRoot } from "../platform/files.ts";
import { registerConvert } from "./convert.ts";
import { registerDoctor } from "./doctor.ts";
import { registerEvaluate } from "./evaluate.ts";
import { registerFuse } from "./fuse.ts";
import { registerModels } from "./models.ts";
import { registerTune } from "./tune.ts";
import { errorJson, printError, printJson } from "./output.ts";

/**
 * Runs the `sinter` command and sets the exit code of the process: 0 done, 1 failed, 2 wrong usage.
 *
 * @param argv the whole `process.argv`
 */
export async function main(argv: readonly string[]): Promise<void> {
  const json = argv.includes("--json");
  try {
    await createProgram().parseAsync(argv);
  } catch (error) {
    if (!(error instanceof CommanderError)) {
      printError(error, json);
      process.exitCode = 1;
    } else if (error.exitCode !== 0) {
      // commander has said on stderr what is wrong.
      if (json) {
        const message = error.message.replace(/^error: /, "");
        const usage = new SinterError("WRONG_USAGE", message, { fix: "`sinter --help` and `sinter COMMAND --help` show the usage." });
        printJson({ error: errorJson(usage) });
      }
      process.exitCode = 2;
    }
  }
}

function createProgram(): Command {
  const { version, description } = JSON.parse(readFileSync(join(packageRoot(), "package.json"), "utf8")) as Record<string, string>;
  const program = new Command("sinter")
    .description(description ?? "")
    .version(version ?? "")
    .exitOverride()
    .showHelpAfterError("(add --help to see the usage)")
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "sinter: ")) });
  registerFuse(program);
  registerEvaluate(program);
  registerConvert(program);
  registerModels(program);
  registerDoctor(program);
  registerTune(program);
  return program;
}
