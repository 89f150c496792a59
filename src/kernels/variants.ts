import type { DeviceClass, DeviceTraits } from "../runtime/device.ts";

/** Which variant of an operator each class of devices takes where nothing was measured on the device itself. */
export interface VariantTable {
  readonly operator: string;
  /** The jobs it is for. */
  readonly jobs: string;
  /** A variant, or a kind of variants (`tiled` for `tiled-64x64`), of which the job's shapes choose one. */
  readonly defaults: Readonly<Record<DeviceClass, string>>;
}

/** The classes on whose devices the defaults were measured; for the others they are reasoned. */
export const MEASURED_CLASSES: readonly DeviceClass[] = ["software"];

/**
 * The candidates for a device, the default of its class first.
 *
 * @param candidates of each kind the best first
 */
export function defaultFirst({ defaults }: VariantTable, candidates: readonly string[], { deviceClass }: DeviceTraits): readonly string[] {
  const kind = defaults[deviceClass];
  const standard = candidates.find((name) => name === kind || name.startsWith(`${kind}-`));
  return standard === undefined ? candidates : [standard, ...candidates.filter((name) => name !== standard)];
}
