import { mapPlane, pad, sobel, type Plane } from "./plane.ts";

export interface EdgePreservationOptions {
  /** The constants of the two sigmoids (height, slope, centre), for strength and for orientation. */
  sigmoids: ".9994 15 .5, .9879 22 .8" | "1 10 .5, 1 20 .75";
  /** Range of the grey levels; it matters only through `equalStrength`. */
  range: "0–255" | "0–1" | "0–65025";
  equalStrength: "G = gradient of F" | "G = 1";
  average: "Σ Q·w / Σ w" | "mean of Q·w / w over the pixels";
}

interface Edges {
  strength: Float64Array;
  angle: Float64Array;
}

/**
 * Sobel edges with zero border. The sums run in the order of MATLAB's conv2 (columns of the flipped mask): with levels
 * on 0–1 their rounding decides which gradients are equal or 0, and Qabf follows it in the third digit.
 */
function edges(plane: Plane, range: number): Edges {
  const { width, height } = plane;
  const { data, width: stride } = pad(mapPlane(plane, (level) => (level / 255) * range), 1, "zero");
  const strength = new Float64Array(width * height);
  const angle = new Float64Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const above = y * stride + x;
      const beside = above + stride;
      const below = beside + stride;
      const right = -(data[below + 2] as number) - 2 * (data[beside + 2] as number) - (data[above + 2] as number);
      const gx = right + (data[below] as number) + 2 * (data[beside] as number) + (data[above] as number);
      const corner = (data[below + 2] as number) - (data[above + 2] as number);
      const middle = corner + 2 * (data[below + 1] as number) - 2 * (data[above + 1] as number);
      const gy = middle + (data[below] as number) - (data[above] as number);
      const i = y * width + x;
      strength[i] = Math.sqrt(gx * gx + gy * gy);
      angle[i] = gx === 0 ? Math.PI / 2 : Math.atan(gy / gx);
    }
  }
  return { strength, angle };
}

/** Sobel edges of the Liu toolkit: a horizontal gradient of 0 becomes 1e-5. */
function liuEdges(plane: Plane): Edges {
  const { x, y } = sobel(plane, "zero");
  const strength = new Float64Array(x.data.length);
  const angle = new Float64Array(x.data.length);
  for (let i = 0; i < strength.length; i++) {
    const gx = x.data[i] as number;
    const gy = y.data[i] as number;
    strength[i] = Math.sqrt(gx * gx + gy * gy);
    angle[i] = Math.atan(gy / (gx === 0 ? 1e-5 : gx));
  }
  return { strength, angle };
}

/**
 * Qabf, how much of the sources' edge strength and orientation the fused picture keeps, weighted by the sources'
 * gradients. Range 0–1; higher is better.
 * Source: Xydeas, Petrovic 2000, Electronics Letters 36(4). NaN where both sources are flat.
 */
export function edgePreservation(a: Plane, b: Plane, fused: Plane, options: EdgePreservationOptions): number {
  if (options.average !== "Σ Q·w / Σ w") return liuEdgePreservation(a, b, fused);
  const range = { "0–1": 1, "0–255": 255, "0–65025": 65025 }[options.range];
  const f = edges(fused, range);
  let [kept, weight] = [0, 0];
  for (const source of [a, b]) {
    const s = edges(source, range);
    for (let i = 0; i < f.strength.length; i++) {
      const gs = s.strength[i] as number;
      const gf = f.strength[i] as number;
      weight += gs;
      if (gs === 0) continue;
      let ratio = gs > gf ? gf / gs : gs / gf;
      if (gs === gf && options.equalStrength === "G = gradient of F") ratio = gf;
      const alignment = 1 - Math.abs((s.angle[i] as number) - (f.angle[i] as number)) / (Math.PI / 2);
      const strength = 0.9994 / (1 + Math.exp(-15 * (ratio - 0.5)));
      const orientation = 0.9879 / (1 + Math.exp(-22 * (alignment - 0.8)));
      kept += strength * orientation * gs;
    }
  }
  return kept / weight;
}

function liuEdgePreservation(a: Plane, b: Plane, fused: Plane): number {
  const f = liuEdges(fused);
  const sources = [liuEdges(a), liuEdges(b)];
  let total = 0;
  for (let i = 0; i < f.strength.length; i++) {
    let [kept, weight] = [0, 0];
    // Strengths of 0 become 1e-5, F's only after it was compared with A's.
    let gf = f.strength[i] as number;
    for (const s of sources) {
      const strongerSource = (s.strength[i] as number) > gf;
      const gs = (s.strength[i] as number) || 1e-5;
      const lossRatio = gf / gs;
      gf = gf || 1e-5;
      const ratio = strongerSource ? lossRatio : gs / gf;
      const turn = Math.abs((s.angle[i] as number) - (f.angle[i] as number));
      const alignment = Math.abs(turn - Math.PI / 2) * (2 / Math.PI);
      const strength = 1 / (1 + Math.exp(-10 * (ratio - 0.5)));
      const orientation = 1 / (1 + Math.exp(-20 * (alignment - 0.75)));
      kept += strength * orientation * gs;
      weight += gs;
    }
    total += kept / weight;
  }
  return total / f.strength.length;
}

export interface FusionArtifactsOptions {
  range: "0–255" | "0–1";
  /** Which picture is taken for the fused one. */
  roles: "F fused, A and B sources" | "A taken for the fused picture, B and F for its sources";
  /** Weight of a pixel whose gradient is below 2. */
  weakWeight: 0.001 | 0;
}

interface ArtifactEdges {
  strength: Float64Array;
  angle: Float64Array;
}

function artifactEdges(plane: Plane, scale: number): ArtifactEdges {
  const { x, y } = sobel(plane, "mirror");
  const strength = new Float64Array(x.data.length);
  const angle = new Float64Array(x.data.length);
  for (let i = 0; i < strength.length; i++) {
    const gx = ((x.data[i] as number) / 8) * scale;
    const gy = ((y.data[i] as number) / 8) * scale;
    strength[i] = Math.sqrt(gx * gx + gy * gy);
    angle[i] = gx === 0 && gy === 0 ? 0 : Math.atan(gx / gy);
  }
  return { strength, angle };
}

function preservation(s: ArtifactEdges, f: ArtifactEdges, i: number): number {
  const gs = s.strength[i] as number;
  const gf = f.strength[i] as number;
  const ratio = gs === 0 || gf === 0 ? 0 : Math.min(gs, gf) / Math.max(gs, gf);
  const alignment = (Math.abs(Math.abs((s.angle[i] as number) - (f.angle[i] as number)) - Math.PI / 2) * 2) / Math.PI;
  const strength = 0.9999 / (1 + Math.exp(-19 * (ratio - 0.5)));
  const orientation = 0.9995 / (1 + Math.exp(-22 * (alignment - 0.5)));
  return Math.sqrt(strength * orientation);
}

/**
 * Nabf, the share of edges that the fusion added: lost preservation at the pixels where the fused gradient exceeds
 * both sources', weighted by the sources' gradients to the power 1.5.
 * Range 0–1; lower is better. Source: Shreyamsha Kumar 2013, Signal, Image and Video Processing 7(6), the modified
 * fusion artifacts measure. NaN where no pixel has weight.
 */
export function fusionArtifacts(a: Plane, b: Plane, fused: Plane, options: FusionArtifactsOptions): number {
  const scale = options.range === "0–255" ? 1 : 1 / 255;
  const planes = options.roles === "F fused, A and B sources" ? ([fused, a, b] as const) : ([a, b, fused] as const);
  const [f, s, t] = planes.map((plane) => artifactEdges(plane, scale)) as [ArtifactEdges, ArtifactEdges, ArtifactEdges];
  const weigh = (strength: number): number => (strength >= 2 ? strength ** 1.5 : options.weakWeight);
  let [added, weight] = [0, 0];
  for (let i = 0; i < f.strength.length; i++) {
    const gf = f.strength[i] as number;
    const weightS = weigh(s.strength[i] as number);
    const weightT = weigh(t.strength[i] as number);
    weight += weightS + weightT;
    if (gf > (s.strength[i] as number) && gf > (t.strength[i] as number)) {
      added += (1 - preservation(s, f, i)) * weightS + (1 - preservation(t, f, i)) * weightT;
    }
  }
  return added / weight;
}
