/** Letters as strokes, for signs and neon tubes. */

/**
 * Each glyph is a list of polylines; a point is two digits, x from 0 to 4 and y from 0 (base line) to 6.
 * @type {Record<string, string>}
 */
const GLYPHS = {
  A: "00 14 26 34 40,12 32",
  B: "00 06 26 35 34 23 03,23 42 41 30 00",
  C: "41 30 10 01 05 16 36 45",
  D: "00 06 26 44 42 20 00",
  E: "40 00 06 46,03 33",
  F: "00 06 46,03 33",
  G: "45 36 16 05 01 10 30 41 43 23",
  H: "00 06,40 46,03 43",
  I: "20 26",
  J: "01 10 20 31 36",
  K: "00 06,46 03 40",
  L: "06 00 40",
  M: "00 06 23 46 40",
  N: "00 06 40 46",
  O: "10 01 05 16 36 45 41 30 10",
  P: "00 06 36 45 44 33 03",
  Q: "10 01 05 16 36 45 41 30 10,22 40",
  R: "00 06 36 45 44 33 03,23 40",
  S: "01 10 30 41 42 33 13 04 05 16 36 45",
  T: "20 26,06 46",
  U: "06 01 10 30 41 46",
  V: "06 20 46",
  W: "06 10 23 30 46",
  X: "00 46,06 40",
  Y: "06 23 46,23 20",
  Z: "06 46 00 40",
  0: "10 01 05 16 36 45 41 30 10",
  1: "15 26 20",
  2: "05 16 36 45 44 00 40",
  3: "05 16 36 45 44 33 42 41 30 10 01,13 33",
  4: "30 36 02 42",
  5: "46 06 04 34 43 41 30 00",
  6: "36 16 05 01 10 30 41 42 33 03",
  7: "06 46 10",
  8: "13 04 05 16 36 45 44 33 13 02 01 10 30 41 42 33",
  9: "10 30 41 45 36 16 05 04 13 43",
  "-": "13 33",
  ".": "20 20",
  "&": "40 05 16 25 02 01 10 20 42",
};

/** Width of a letter and of its following gap, in units of the height. */
const ADVANCE = 0.95;

/** @param {string} text @returns {number} width of a line of height 1 */
export const textWidth = (text) => (text.length - 1) * ADVANCE + 4 / 6;

/**
 * Distance from a point to the strokes of a line of text of height 1 whose lower left corner is the origin.
 * @param {string} text letters A to Z, digits, `-`, `.`, `&`, spaces
 * @returns {(x: number, y: number) => number}
 */
export function textDistance(text) {
  const segments = [...text].map((letter, index) =>
    strokes(letter).map(([a, b]) => [a[0] + index * ADVANCE, a[1], b[0] + index * ADVANCE, b[1]]),
  );
  return (x, y) => {
    const near = Math.floor(x / ADVANCE);
    let best = Infinity;
    for (let index = Math.max(0, near - 1); index <= Math.min(segments.length - 1, near + 1); index += 1) {
      for (const [ax, ay, bx, by] of segments[index]) best = Math.min(best, segmentDistance(x, y, ax, ay, bx, by));
    }
    return best;
  };
}

/** @param {string} letter @returns {[number, number][][]} pairs of end points */
function strokes(letter) {
  return (GLYPHS[letter] ?? "")
    .split(",")
    .filter((line) => line !== "")
    .flatMap((line) => {
      const points = line.split(" ").map((p) => /** @type {[number, number]} */ ([Number(p[0]) / 6, Number(p[1]) / 6]));
      return points.slice(1).map((p, i) => [points[i], p]);
    });
}

/**
 * @param {number} x @param {number} y @param {number} ax @param {number} ay @param {number} bx @param {number} by
 * @returns {number}
 */
export function segmentDistance(x, y, ax, ay, bx, by) {
  const dx = bx - ax;
  const dy = by - ay;
  const t = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - ax - t * dx, y - ay - t * dy);
}
