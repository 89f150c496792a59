import { describe, expect, it } from "vitest";
import {
  evaluatePictures,
  explainMetrics,
  METRIC_NAMES,
  PROFILE_NAMES,
  PROFILES,
  type MetricName,
} from "../../src/metrics/index.ts";
import { fixture, fixturePictures, greyPicture, threeChannels } from "./pictures.ts";

describe("metrics against NumPy, SciPy and scikit-image", () => {
  for (const profile of PROFILE_NAMES) {
    const wanted = Object.entries(fixture.values[profile] ?? {}) as [MetricName, number][];
    const names = wanted.map(([name]) => name);
    if (wanted.length === 0) continue;
    it(`${profile}: ${names.join(", ")}`, () => {
      const values = evaluatePictures(fixturePictures(), profile, names);
      for (const [name, value] of wanted) {
        expect(Math.abs((values[name] ?? Number.NaN) / value - 1), name).toBeLessThan(1e-11);
      }
    });
  }

  it("ivif-zoo: MS_SSIM at a size that five scales fit", () => {
    const { MS_SSIM } = evaluatePictures(fixturePictures(4), "ivif-zoo", ["MS_SSIM"]);
    expect(MS_SSIM).toBeCloseTo(fixture.enlarged.MS_SSIM, 12);
    expect(evaluatePictures(fixturePictures(), "ivif-zoo", ["MS_SSIM"]).MS_SSIM).toBeNull();
  });
});

describe("what toolkits do differently", () => {
  it("2022: SD from saturating differences", () => {
    // Mean 100: differences 0 (from −100), 0 (from −50) and 150, whose square ends at 255.
    const fused = greyPicture(3, 1, (x) => [0, 50, 250][x] as number);
    const { SD } = evaluatePictures({ first: fused, second: fused, fused }, "tang-2022-uint8", ["SD"]);
    expect(SD).toBeCloseTo(Math.sqrt(255 / 3), 12);
  });

  it("MATLAB: levels 254 and 255 share a cell of the joint histogram", () => {
    const fused = greyPicture(2, 1, (x) => 254 + x);
    const pictures = { first: fused, second: fused, fused };
    // Marginals of 1 bit each, joint of 0 bits: 2 bits for each source.
    expect(evaluatePictures(pictures, "tang-matlab", ["MI"]).MI).toBeCloseTo(4, 12);
    expect(evaluatePictures(pictures, "ivif-zoo", ["MI"]).MI).toBeCloseTo(2, 12);
    expect(evaluatePictures(pictures, "cddfuse-py", ["MI"]).MI).toBeCloseTo(2 * Math.LN2, 12);
  });

  it("PSNR of the MATLAB toolkit is 48.13 dB above that of an error on 0–255", () => {
    const first = greyPicture(2, 2, () => 10);
    const fused = greyPicture(2, 2, () => 0);
    const { PSNR } = evaluatePictures({ first, second: first, fused }, "tang-matlab", ["PSNR"]);
    expect(PSNR).toBeCloseTo(10 * Math.log10(255 ** 2 / 100) + 20 * Math.log10(255), 10);
  });

  it("VIFB averages the channels of a coloured picture", () => {
    const first = greyPicture(4, 4, (x, y) => 16 * x + y);
    const red = threeChannels(first);
    const data = Uint8Array.from(red.data, (level, i) => (i % 3 === 0 ? level : 0));
    const fused = { ...red, data };
    const { SD } = evaluatePictures({ first: red, second: first, fused }, "vifb", ["SD"]);
    const grey = evaluatePictures({ first, second: first, fused: first }, "vifb", ["SD"]).SD ?? Number.NaN;
    expect(SD).toBeCloseTo(grey / 3, 12);
  });

  it.each([
    ["tang-matlab", [255, 0, 0], 76],
    ["cddfuse-py", [7, 11, 200], 31],
    ["ivif-zoo", [7, 11, 200], 31],
    ["ivif-zoo", [2, 3, 1], 2],
    ["tang-matlab", [2, 3, 1], 2],
  ] as const)("%s: grey level of %j is %i", (profile, pixel, level) => {
    const first = greyPicture(1, 1, () => 0);
    const fused = { width: 1, height: 1, channels: 3, data: Uint8Array.from(pixel) } as const;
    const { MSE } = evaluatePictures({ first, second: first, fused }, profile, ["MSE"]);
    expect(Math.sqrt((MSE ?? Number.NaN) * (profile === "cddfuse-py" ? 1 : 65025))).toBeCloseTo(level, 9);
  });
});

describe("the table of profiles", () => {
  it("lists only metrics that the profile has among its defaults", () => {
    for (const name of PROFILE_NAMES) {
      for (const metric of PROFILES[name].defaults) expect(PROFILES[name].metrics[metric], `${name} ${metric}`).toBeDefined();
    }
  });

  it("has every metric in some profile", () => {
    for (const metric of METRIC_NAMES) {
      expect(PROFILE_NAMES.some((name) => PROFILES[name].metrics[metric] !== undefined), metric).toBe(true);
    }
  });

  it("explains where profiles part from the options that they compute with", () => {
    const [explained] = explainMetrics(fixturePictures(), ["AG"]);
    expect(explained?.parts).toEqual(["divisor"]);
    const divisors = explained?.variants.map(({ profile, options }) => [profile, options["divisor"]]);
    expect(divisors).toContainEqual(["tang-matlab", "(h−1)(w−1)"]);
    expect(divisors).toContainEqual(["ivif-zoo", "h·w"]);
    const values = Object.fromEntries(explained?.variants.map(({ profile, value }) => [profile, value]) ?? []);
    expect((values["tang-matlab"] ?? 0) / (values["ivif-zoo"] ?? 0)).toBeCloseTo((45 * 48) / (44 * 47), 12);
  });
});

function catchError(action: () => void): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("bad input", () => {
  const small = greyPicture(4, 4, (x, y) => x + y);

  it("sizes that differ", () => {
    const fused = greyPicture(4, 5, () => 0);
    expect(() => evaluatePictures({ first: small, second: small, fused })).toThrow(
      "first 4×4, second 4×4, fused 4×5",
    );
  });

  it("a metric that the profile lacks", () => {
    const error = catchError(() => evaluatePictures({ first: small, second: small, fused: small }, "vifb", ["VIF"]));
    expect(error).toMatchObject({ code: "UNKNOWN_METRIC", message: "Profile vifb has no metric VIF." });
  });
});
