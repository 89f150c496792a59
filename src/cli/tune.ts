import { readFile } from "node:fs/promises";
import { type Command, InvalidArgumentError, Option } from "commander";
import { SinterError } from "../errors.ts";
import type { Picture } from "../fusion/picture.ts";
import { TASKS, type Task } from "../fusion/tasks.ts";
import { tuneGraphs, type TunedNode } from "../graph/tune.ts";
import { Engine } from "../node.ts";
import { readError } from "../platform/files.ts";
import { findGpu } from "../platform/gpu.ts";
import { writeTuned } from "../platform/tuned.ts";
import { alignColumns, createOutput, formatSeconds } from "./output.ts";

interface TuneFlags {
  readonly model: string;
  readonly weights?: string;
  readonly task: Task;
  readonly size: { readonly width: number; readonly height: number };
  readonly precision: "f32" | "f16";
  readonly device?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Adds `sinter tune`: measures the kernel variants on this GPU and remembers the fastest. */
export function registerTune(program: Command): void {
  program
    .command("tune")
    .description("measure the kernel variants that a model can use on this GPU, and remember the fastest that are right")
    .option("--model <name>", "the model whose operators are measured", "refusion")
    .option("--weights <file>", "a checkpoint of your own instead: safetensors or PyTorch")
    .addOption(new Option("--task <task>", "what the pictures are").choices(TASKS).default("infrared-visible"))
    .addOption(new Option("--size <WxH>", "size of the pictures").argParser(parseSize).default({ width: 640, height: 480 }, "640x480"))
    .addOption(new Option("--precision <type>", "how tensors are stored on the GPU").choices(["f32", "f16"]).default("f32"))
    .option("--device <name>", "a part of the name of the GPU to tune for")
    .option("--json", "print one JSON object")
    .option("--quiet", "no notes and no progress")
    .action(tune);
}

function parseSize(text: string): TuneFlags["size"] {
  const [, width = 0, height = 0] = (/^(\d{1,5})x(\d{1,5})$/.exec(text) ?? []).map(Number);
  if (!(width > 0 && height > 0)) throw new InvalidArgumentError("expected width and height, such as 640x480.");
  return { width, height };
}

async function tune(flags: TuneFlags): Promise<void> {
  const out = createOutput(flags);
  // By itself Dawn rounds timestamps to 65 µs.
  const gpu = await findGpu({ device: flags.device, flags: ["disable-dawn-features=timestamp_quantization"] });
  const engine = await Engine.open({ gpu });
  const stop = new AbortController();
  const onSignal = (): void => stop.abort(new SinterError("STOPPED", "Stopped. Nothing was remembered."));
  process.once("SIGINT", onSignal);
  process.once("SIGTERM", onSignal);
  const bar = out.progress("measuring", 1);
  try {
    const { weights: path, size, task, precision } = flags;
    const source = path === undefined ? flags.model : { name: path, bytes: await readFile(path).catch((cause: unknown) => Promise.reject(readError(path, cause))) };
    const model = await engine.load(source);
    const { device, pipelines } = engine.context;
    out.note(`Measuring the kernels of ${model.name} at ${size.width}×${size.height}, ${precision}, on ${device.adapter.description || device.adapter.device}.`);
    const graphs = await model.graphs({ first: emptyPicture(size, 1), second: emptyPicture(size, 3) }, { task, precision });
    const nodes = await tuneGraphs(graphs, device, pipelines, { signal: stop.signal, onProgress: (done, total) => bar.update(done / Math.max(total, 1)) });
    const file = await writeTuned(device.adapter, new Map(nodes.map(({ key, best, standard }) => [key, best === standard ? undefined : best])));
    bar.stop();
    out.print(nodes.length === 0 ? "No operator of this model has more than one variant." : describe(nodes));
    out.print(`\nRemembered in ${file}; every fusion on this GPU uses it.`);
    out.result({ model: model.name, size, precision, adapter: device.adapter, file, operators: nodes });
  } finally {
    // Its timer would keep Node from ending.
    bar.stop();
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
    engine.dispose();
  }
}

/** What the pixels hold does not change how long they take. */
const emptyPicture = ({ width, height }: TuneFlags["size"], channels: 1 | 3): Picture => ({ width, height, channels, data: new Uint8Array(width * height * channels) });

function describe(nodes: readonly TunedNode[]): string {
  const time = (node: TunedNode, variant: string): number | undefined => node.candidates.find((candidate) => candidate.variant === variant)?.seconds;
  const rows = nodes.map((node) => {
    const [standard, best] = [time(node, node.standard), time(node, node.best)];
    const rejected = node.candidates.filter((candidate) => candidate.rejected !== undefined).map(({ variant, rejected: reason }) => `${variant}: ${reason?.split("\n")[0]}`);
    return [
      node.operator,
      node.label,
      `× ${node.count}`,
      `${node.standard}${standard === undefined ? "" : ` ${formatSeconds(standard)}`}`,
      node.best === node.standard ? "stays" : `${node.best}${best === undefined ? "" : ` ${formatSeconds(best)}`}`,
      rejected.length === 0 ? "" : `rejected: ${rejected.join("; ")}`,
    ];
  });
  return alignColumns([["operator", "first of them", "nodes", "default", "fastest", ""], ...rows]);
}
