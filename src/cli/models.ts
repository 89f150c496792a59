import type { Command } from "commander";
import { BASELINES } from "../fusion/baselines.ts";
import { SHIPPED_WEIGHTS } from "../fusion/shipped.ts";
import { alignColumns, createOutput, formatBytes } from "./output.ts";

/** Official checkpoints that Sinter reads as they are; they are not shipped, because no licence is stated for them. */
const OFFICIAL = [
  {
    model: "refusion",
    files: ["ReFusion_IVIF.pth", "ReFusion_MIF.pth", "ReFusion_MFIF.pth", "ReFusion_MEIF.pth"],
    from: "https://github.com/HaowenBai/ReFusion (folder models)",
  },
  {
    model: "mask-difuser",
    files: ["the checkpoint of the U-Net"],
    from: "the links in https://github.com/Linfeng-Tang/Mask-DiFuser (checkpoint/README.md)",
  },
] as const;

/** Adds `sinter models` to the program. */
export function registerModels(program: Command): void {
  program
    .command("models")
    .description("list the weights that come with Sinter, and where official checkpoints come from")
    .option("--json", "print one JSON object")
    .action((options: { json?: boolean }) => {
      const out = createOutput(options);
      out.print("Shipped weights:");
      const rows = SHIPPED_WEIGHTS.map(({ model, task, file, bytes, licence, card }) => [model, task === "any" ? "all tasks" : task, `weights/${file}`, formatBytes(bytes), licence, `weights/${card}`]);
      out.print(alignColumns([["model", "task", "file", "size", "licence", "model card"], ...rows]));
      out.print(`\nClassical methods, for --model: ${Object.keys(BASELINES).join(", ")}`);
      out.print("\nOfficial checkpoints, for --weights FILE:");
      for (const { model, files, from } of OFFICIAL) out.print(`${model}: ${files.join(", ")} from ${from}`);
      out.result({ shipped: SHIPPED_WEIGHTS, classical: Object.keys(BASELINES), official: OFFICIAL });
    });
}
