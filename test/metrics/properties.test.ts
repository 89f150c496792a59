import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Picture } from "../../src/fusion/picture.ts";
import {
  evaluatePictures,
  METRIC_NAMES,
  PROFILE_NAMES,
  PROFILES,
  type MetricName,
  type ProfileName,
} from "../../src/metrics/index.ts";
import { filterInFrequency, cosineTransform } from "../../src/metrics/fourier.ts";
import { greyPicture } from "./pictures.ts";

function metricsOf(profile: ProfileName): MetricName[] {
  return METRIC_NAMES.filter((name) => PROFILES[profile].metrics[name] !== undefined);
}

/** `count` grey pictures of one random size, widths and heights from 1. */
function pictures(count: number, largest = 40): fc.Arbitrary<Picture[]> {
  const size = fc.integer({ min: 1, max: largest });
  return fc.tuple(size, size).chain(([width, height]) => {
    const data = fc.uint8Array({ minLength: width * height, maxLength: width * height });
    const picture = data.map((levels): Picture => ({ width, height, channels: 1, data: levels }));
    return fc.array(picture, { minLength: count, maxLength: count });
  });
}

describe.each(PROFILE_NAMES)("%s", (profile) => {
  const names = metricsOf(profile);

  it("gives a finite number or null for any size", () => {
    fc.assert(
      fc.property(pictures(3), ([first, second, fused]) => {
        if (first === undefined || second === undefined || fused === undefined) return;
        const values = evaluatePictures({ first, second, fused }, profile, names);
        expect(Object.keys(values)).toEqual(names);
        for (const name of names) expect(values[name] === null || Number.isFinite(values[name]), name).toBe(true);
      }),
      { numRuns: 15 },
    );
  });

  it("gives null, never NaN, where constant pictures leave a metric undefined", () => {
    for (const level of [0, 7, 255]) {
      const flat = greyPicture(30, 25, () => level);
      const values = evaluatePictures({ first: flat, second: flat, fused: flat }, profile, names);
      for (const name of ["CC", "SCD", "PSNR"] as const) if (names.includes(name)) expect(values[name], name).toBeNull();
      // CDDFuse counts a source without information as 1; ivif-zoo's zeros beyond the border are information.
      if (profile === "cddfuse-py") expect(values.VIF).toBe(2);
      if (profile === "tang-matlab") expect(values.VIF).toBeNull();
      // Zeros beyond the border are an edge, unless the picture is black.
      if (names.includes("Qabf") && profile !== "liu2012") expect(values.Qabf === null).toBe(level === 0);
      for (const name of names) expect(values[name] === null || Number.isFinite(values[name]), name).toBe(true);
    }
  });

  it("does not change when the sources are exchanged", () => {
    const symmetric = names.filter((name) => !(name === "Nabf" && profile === "tang-matlab") && !asymmetricQabf(name));
    fc.assert(
      fc.property(pictures(3), ([first, second, fused]) => {
        if (first === undefined || second === undefined || fused === undefined) return;
        const values = evaluatePictures({ first, second, fused }, profile, symmetric);
        const exchanged = evaluatePictures({ first: second, second: first, fused }, profile, symmetric);
        for (const name of symmetric) {
          const [a, b] = [values[name] ?? null, exchanged[name] ?? null];
          if (a === null || b === null) expect(b, name).toBe(a);
          else expect(Math.abs(a - b), name).toBeLessThanOrEqual(1e-6 * Math.max(1, Math.abs(a)));
        }
      }),
      { numRuns: 8 },
    );
  });

  it("takes 16-bit pictures as their 8-bit levels", () => {
    fc.assert(
      fc.property(pictures(3, 20), (list) => {
        const [first, second, fused] = list;
        const wide = list.map((picture): Picture => ({ ...picture, data: Uint16Array.from(picture.data, (v) => v * 257) }));
        const [first16, second16, fused16] = wide;
        if (first === undefined || second === undefined || fused === undefined) return;
        if (first16 === undefined || second16 === undefined || fused16 === undefined) return;
        expect(evaluatePictures({ first: first16, second: second16, fused: fused16 }, profile, names)).toEqual(
          evaluatePictures({ first, second, fused }, profile, names),
        );
      }),
      { numRuns: 5 },
    );
  });

  // Liu's metric replaces gradients of 0 in an order that depends on the sources.
  function asymmetricQabf(name: MetricName): boolean {
    return name === "Qabf" && profile === "liu2012";
  }
});

function near(value: number | null | undefined, wanted: number): void {
  expect(value).toBeCloseTo(wanted, 8);
}

function power(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value * value, 0);
}

describe("a picture with itself", () => {
  const picture = greyPicture(200, 180, (x, y) => (x * x + 3 * y + ((x * y) % 17) * 5) % 251);
  const same = { first: picture, second: picture, fused: picture };

  it("has the best values", () => {
    const tang = evaluatePictures(same, "tang-matlab", metricsOf("tang-matlab"));
    near(tang.SSIM, 1);
    near(tang.CC, 1);
    near(tang.MSE, 0);
    near(tang.VIF, 2);
    near(tang.Nabf, 0);
    near(tang.FMI_pixel, 1);
    near(tang.FMI_dct, 1);
    near(tang.FMI_w, 1);
    expect(tang.MEF_SSIM).toBeGreaterThan(0.999);
    expect(tang.PSNR).toBeNull();
    expect(tang.SCD).toBeNull();
    const zoo = evaluatePictures(same, "ivif-zoo", metricsOf("ivif-zoo"));
    near(zoo.SSIM, 2);
    near(zoo.MS_SSIM, 2);
    near(zoo.NMI, 2);
    near(zoo.NCIE, 1);
    const liu = evaluatePictures(same, "liu2012", metricsOf("liu2012"));
    near(liu.NMI, 2);
    near(liu.Q_CB, 1);
    near(liu.Q_CV, 0);
    near(liu.Q_Y, 1);
    const vifb = evaluatePictures(same, "vifb", metricsOf("vifb"));
    near(vifb.CE, 0);
    near(vifb.RMSE, 0);
    near(vifb.SSIM, 2);
  });

  it("has twice its own entropy as mutual information", () => {
    const { EN } = evaluatePictures(same, "tang-matlab", ["EN"]);
    const { MI } = evaluatePictures(same, "ivif-zoo", ["MI"]);
    expect(MI).toBeCloseTo(2 * (EN ?? Number.NaN), 10);
  });
});

describe("frequency transforms", () => {
  it("a gain of 1 changes nothing, at sizes with large prime factors too", () => {
    fc.assert(
      fc.property(pictures(2), (list) => {
        const [first, second] = list.map(({ width, height, data }) => ({ width, height, data: Float64Array.from(data) }));
        if (first === undefined || second === undefined) return;
        const filtered = filterInFrequency(first, second, () => 1);
        [first, second].forEach((plane, index) => {
          const result = filtered[index]?.data ?? new Float64Array();
          plane.data.forEach((value, i) => expect(result[i]).toBeCloseTo(value, 9));
        });
      }),
      { numRuns: 20 },
    );
  });

  it("the cosine transform keeps the sum of squares and puts the mean first", () => {
    fc.assert(
      fc.property(pictures(1), ([picture]) => {
        if (picture === undefined) return;
        const { width, height } = picture;
        const data = Float64Array.from(picture.data);
        const transformed = cosineTransform({ width, height, data }).data;
        const sum = data.reduce((total, value) => total + value, 0);
        expect(power(transformed)).toBeCloseTo(power(data), 4);
        expect(transformed[0]).toBeCloseTo(sum / Math.sqrt(width * height), 8);
      }),
      { numRuns: 20 },
    );
  });
});
