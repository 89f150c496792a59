/** Sinter's portable core: it takes any WebGPU device and imports nothing of Node. */
export { detectModel, type DetectedModel } from "./checkpoints/detect.ts";
export { readCheckpoint } from "./checkpoints/read.ts";
export { readSafetensors, writeSafetensors } from "./checkpoints/safetensors.ts";
export { fromFloat32, toFloat32, type Checkpoint, type StoredTensor } from "./checkpoints/tensor.ts";
export { SinterError } from "./errors.ts";
export { Engine, type EngineOptions } from "./fusion/engine.ts";
export type { FusedPicture, FuseOptions, FuseReport, Model, Preview, Progress } from "./fusion/model.ts";
export type { Picture } from "./fusion/picture.ts";
export type { Pair } from "./fusion/prepare.ts";
export { type Sampler, SAMPLERS } from "./fusion/sampling.ts";
export { SHIPPED_WEIGHTS, type ShippedWeights } from "./fusion/shipped.ts";
export { TASKS, type Task } from "./fusion/tasks.ts";
