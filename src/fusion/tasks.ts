/** What a pair of pictures is. The first side of each: infrared, functional (PET, SPECT, CT), under-exposed, near focus. */
export const TASKS = ["infrared-visible", "medical", "multi-exposure", "multi-focus"] as const;

export type Task = (typeof TASKS)[number];
