/** What a pair of pictures is. The first side of each: infrared, functional (PET, SPECT, CT), under-exposed, near focus, near-infrared, and
 * of a polarimetric camera the degree of linear polarization. */
export const TASKS = ["infrared-visible", "medical", "multi-exposure", "multi-focus", "near-infrared", "polarization"] as const;

export type Task = (typeof TASKS)[number];
