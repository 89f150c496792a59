import { attentionVariants } from "./attention/attention.ts";
import { convolutionVariants, winogradVariants } from "./conv2d/conv2d.ts";
import { fewOutputsVariants, weightStationaryVariants } from "./conv2d/narrow.ts";
import { gatedVariants, rollingVariants } from "./depthwise-conv2d/depthwise-conv2d.ts";
import { groupNormVariants, smallGroupNormVariants } from "./group-norm/group-norm.ts";
import type { VariantTable } from "./variants.ts";

/** All there is to know when Sinter meets a new GPU: what each class of devices takes by default. `sinter doctor --variants` prints it. */
export const VARIANT_TABLES: readonly VariantTable[] = [
  convolutionVariants,
  winogradVariants,
  fewOutputsVariants,
  weightStationaryVariants,
  rollingVariants,
  gatedVariants,
  groupNormVariants,
  smallGroupNormVariants,
  attentionVariants,
];
