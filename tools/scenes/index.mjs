/** The scenes. Each renderer is a pure function of its options: the same seed and size give the same bytes. */
import { renderBrainPhantom } from "./brain-phantom.mjs";
import { renderNearFar } from "./near-far.mjs";
import { renderNightStreet } from "./night-street.mjs";
import { renderWindow } from "./window.mjs";

export { renderBrainPhantom, renderNearFar, renderNightStreet, renderWindow };
