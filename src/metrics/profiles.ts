import type { GreyRule } from "./grey.ts";
import type { MetricName, MetricOptions } from "./metrics.ts";

/** What one published toolkit computes. */
export interface Profile {
  title: string;
  /** Where the definitions come from. */
  source: string;
  /** Which published or measured values this profile was compared with, and how closely. */
  checked: string;
  grey: GreyRule;
  /** Whether a coloured fused picture is compared channel by channel instead of in grey. */
  colour: "grey" | "each channel, averaged";
  /** The metrics it has, with the variant of each. */
  metrics: { readonly [Name in MetricName]?: MetricOptions[Name] };
  /** Those computed unless asked otherwise. */
  defaults: readonly MetricName[];
  /** What a reader of its numbers should know beyond the options. */
  notes: { readonly [Name in MetricName]?: string };
}

export type ProfileName = "tang-matlab" | "tang-2022-uint8" | "cddfuse-py" | "ivif-zoo" | "vifb" | "liu2012";

const MATLAB_GREY = "MATLAB rgb2gray: .2989360213 .5870430745 .1140209043, rounded";

const EDGES = { feature: "Sobel edges, threshold 2 × root mean square", window: "3×3" } as const;
const COSINES = { feature: "cosine transform", window: "3×3" } as const;
const WAVELETS = { feature: "discrete Meyer wavelet", window: "3×3" } as const;

const XYDEAS = {
  sigmoids: ".9994 15 .5, .9879 22 .8",
  range: "0–255",
  equalStrength: "G = gradient of F",
  average: "Σ Q·w / Σ w",
} as const;

const FMI_NOTE = "from the published code, with MATLAB's edge and dwt2 rewritten; not compared with its numbers";

/** The one table of the variants; `--explain`, the documentation and the computation all read it. */
export const PROFILES: { readonly [Name in ProfileName]: Profile } = {
  "tang-matlab": {
    title: "the MATLAB toolkit of Linfeng Tang, since March 2023",
    source: "github.com/Linfeng-Tang/Evaluation-for-Image-Fusion",
    checked:
      "MI, VIF, Qabf, Nabf, MEF_SSIM and FMI_dct: its code run in Octave, to 12 digits; the rest but FMI by other programs",
    grey: MATLAB_GREY,
    colour: "grey",
    metrics: {
      EN: { base: "2 (bits)", floor: 0 },
      MI: { base: "2 (bits)", levels: "as they are", joint: "256 × 256, 255 counted as 254" },
      SD: { arithmetic: "real" },
      SF: { range: "0–255", divisor: "number of differences", colour: "grey" },
      AG: { divisor: "(h−1)(w−1)" },
      SCD: {},
      VIF: { border: "valid", gaussian: "N taps, sigma N/5", arithmetic: "real", flatSource: "undefined" },
      Qabf: XYDEAS,
      CC: {},
      MSE: { range: "0–1" },
      PSNR: { peak: "255", error: "MSE on 0–1 (48.13 dB more than on 0–255)" },
      SSIM: {
        dataRange: 1,
        window: "Gaussian 11×11, sigma 1.5",
        border: "replicate",
        combine: "(SSIM(A,F) + SSIM(B,F)) / 2",
      },
      MEF_SSIM: { scaleWeights: [0.0448, 0.2856, 0.3001] },
      Nabf: { range: "0–255", roles: "A taken for the fused picture, B and F for its sources", weakWeight: 0.001 },
      FMI_pixel: EDGES,
      FMI_dct: COSINES,
      FMI_w: WAVELETS,
    },
    defaults: ["EN", "MI", "SD", "SF", "AG", "SCD", "VIF", "Qabf", "CC", "MSE", "PSNR", "SSIM", "MEF_SSIM", "Nabf"],
    notes: {
      MI: "EN's histogram has 256 levels, the joint one 255: uint8 arithmetic ends at 255 when 1 is added for the index",
      PSNR: "subtract 48.13 to compare with the usual definition",
      SSIM: "MATLAB's ssim takes doubles for 0–1, so the constants are 255² times too small; with 255 it is about .8",
      MEF_SSIM: "the toolkit prints it as MS_SSIM",
      Nabf: "the toolkit calls analysis_nabf(A, B, F), whose first parameter is the fused picture",
      FMI_pixel: FMI_NOTE,
      FMI_w: FMI_NOTE,
    },
  },
  "tang-2022-uint8": {
    title: "the MATLAB toolkit of Linfeng Tang before March 2023, which mixed uint8 arithmetic and levels 0–1",
    source: "github.com/Linfeng-Tang/Image-Fusion, first version",
    checked: "the spreadsheet of the toolkit, nine TNO pictures of three methods: all eleven default metrics to 1e-10",
    grey: MATLAB_GREY,
    colour: "grey",
    metrics: {
      EN: { base: "2 (bits)", floor: 0 },
      MI: { base: "2 (bits)", levels: "as they are", joint: "256 × 256, 255 counted as 254" },
      SD: { arithmetic: "uint8: differences below 0 become 0, squares above 255 become 255" },
      SF: { range: "0–1", divisor: "number of differences", colour: "grey" },
      AG: { divisor: "(h−1)(w−1)" },
      SCD: {},
      VIF: {
        border: "valid",
        gaussian: "N taps, sigma N/5",
        arithmetic: "uint8: products at the first scale end at 255",
        flatSource: "undefined",
      },
      Qabf: { ...XYDEAS, range: "0–1" },
      CC: {},
      MSE: { range: "0–1" },
      PSNR: { peak: "255", error: "MSE on 0–1 (48.13 dB more than on 0–255)" },
      MEF_SSIM: { scaleWeights: [1] },
      Nabf: { range: "0–1", roles: "F fused, A and B sources", weakWeight: 0.001 },
      FMI_pixel: EDGES,
      FMI_dct: COSINES,
      FMI_w: WAVELETS,
    },
    defaults: ["EN", "MI", "SD", "SF", "AG", "SCD", "VIF", "Qabf", "CC", "MSE", "PSNR"],
    notes: {
      SD: "the author's own correction: Evaluation-for-Image-Fusion, issue 1",
      MEF_SSIM: "the toolkit printed one scale as SSIM, and three scales as MS_SSIM",
      Nabf: "no gradient of levels 0–1 reaches the threshold of 2, so all pixels weigh the same",
      Qabf: "on levels k/255 rounding decides which gradients are equal or 0; the sums follow MATLAB's conv2",
      VIF: "products of uint8 levels end at 255, so the first scale tells almost nothing",
      FMI_pixel: FMI_NOTE,
      FMI_w: FMI_NOTE,
    },
  },
  "cddfuse-py": {
    title: "CDDFuse's Evaluator.py, as MMIF papers quote it",
    source: "github.com/Zhaozixiang1228/MMIF-CDDFuse",
    checked: "Evaluator.py run on two pairs: to 1e-6, SSIM to 1e-5 (it runs in float32)",
    grey: "OpenCV BGR2GRAY in float32: .299 .587 .114, rounded half to even",
    colour: "grey",
    metrics: {
      EN: { base: "2 (bits)", floor: 0 },
      MI: { base: "e (nats)", levels: "as they are", joint: "256 × 256" },
      SD: { arithmetic: "real" },
      SF: { range: "0–255", divisor: "number of differences", colour: "grey" },
      AG: { divisor: "h·w" },
      SCD: {},
      VIF: { border: "valid", gaussian: "N taps, sigma N/5", arithmetic: "real", flatSource: "1" },
      Qabf: XYDEAS,
      CC: {},
      MSE: { range: "0–255" },
      PSNR: { peak: "largest level of F", error: "MSE on 0–255" },
      SSIM: {
        dataRange: 2,
        window: "uniform 7×7, sample covariance",
        border: "valid",
        combine: "SSIM(A,F) + SSIM(B,F)",
      },
    },
    defaults: ["EN", "MI", "SD", "SF", "AG", "SCD", "VIF", "Qabf", "CC", "MSE", "PSNR", "SSIM"],
    notes: {
      SSIM: "scikit-image took 2 for the range of float pictures before 0.20; later versions refuse",
      VIF: "called VIFF there; it is not Han's VIFF",
    },
  },
  "ivif-zoo": {
    title: "IVIF_ZOO's Metric_torch.py",
    source: "github.com/RollingPlain/IVIF_ZOO",
    checked: "Metric_torch.py run on two pairs: to 1e-5, MS_SSIM to 3e-4 (it runs in float32); Q_CB on one, see its note",
    grey: "Pillow convert('L'): (19595 R + 38470 G + 7471 B + 32768) / 65536, rounded down",
    colour: "grey",
    metrics: {
      EN: { base: "2 (bits)", floor: 1e-7 },
      MI: { base: "2 (bits)", levels: "as they are", joint: "256 × 256" },
      SD: { arithmetic: "real" },
      SF: { range: "0–255", divisor: "number of differences", colour: "grey" },
      AG: { divisor: "h·w" },
      SCD: {},
      VIF: {
        border: "zero",
        gaussian: "N taps, sigma N/5, on torch.linspace(−N//2, N//2, N)",
        arithmetic: "real",
        flatSource: "undefined",
      },
      Qabf: XYDEAS,
      CC: {},
      MSE: { range: "0–1" },
      PSNR: { peak: "255", error: "MSE on 0–1 (48.13 dB more than on 0–255)" },
      SSIM: {
        dataRange: 1,
        window: "Gaussian 11×11, sigma 1.5",
        border: "valid",
        combine: "SSIM(A,F) + SSIM(B,F)",
      },
      MS_SSIM: { dataRange: 1, combine: "MS-SSIM(A,F) + MS-SSIM(B,F)" },
      Nabf: { range: "0–255", roles: "F fused, A and B sources", weakWeight: 0 },
      NMI: { form: "2 [I(A,F) + I(B,F)] / (H(A) + H(B))", levels: "as they are" },
      NCIE: { correlation: "Pearson" },
      EI: { border: "zero" },
      Q_Y: {
        window: "Gaussian along rows × ones along columns (sum 7), zero border",
        constants: "C1 = 1e-4, C2 = 9e-4",
        floor: 1e-10,
      },
      Q_CB: { levels: "stretched to 0–1", frequency: "k / 30", floor: 1e-10 },
    },
    defaults: [
      "EN", "MI", "SD", "SF", "AG", "SCD", "VIF", "Qabf", "CC", "MSE", "PSNR", "SSIM", "MS_SSIM", "Nabf", "NMI", "NCIE",
      "EI", "Q_Y", "Q_CB",
    ],
    notes: {
      SSIM: "levels 0–255 are multiplied by 255 once more with L = 255, which is L = 1 on 0–255",
      MS_SSIM: "levels 0–255 are multiplied by 255 once more with L = 255, which is L = 1 on 0–255",
      Q_Y: "the window lacks its second dimension, so it weighs rows only and sums to 7",
      Q_CB: "where a picture is black over a wide area the contrast is rounding noise, which no two programs share",
    },
  },
  vifb: {
    title: "VIFB's 13 metrics, on each colour channel of the fused picture",
    source: "github.com/xingchenzhang/VIFB",
    checked: "the published single-picture values, 16 pictures of four methods: all 13 metrics to the five printed digits",
    grey: MATLAB_GREY,
    colour: "each channel, averaged",
    metrics: {
      EN: { base: "2 (bits)", floor: 0 },
      MI: { base: "e (nats)", levels: "stretched to 0–255", joint: "256 × 256" },
      SD: { arithmetic: "real" },
      SF: { range: "0–255", divisor: "h·w", colour: "channels side by side" },
      AG: { divisor: "(h−1)(w−1)" },
      Qabf: { ...XYDEAS, range: "0–65025" },
      PSNR: { peak: "255", error: "VIFB's RMSE, taken for an MSE" },
      SSIM: {
        dataRange: 255,
        window: "Gaussian 11×11, sigma 1.5",
        border: "valid",
        combine: "SSIM(A,F) + SSIM(B,F)",
      },
      CE: {},
      EI: { border: "replicate" },
      RMSE: {},
      Q_CB: { levels: "stretched to 0–255, rounded", frequency: "k / 15", floor: 0 },
      Q_CV: {},
    },
    defaults: ["EN", "MI", "SD", "SF", "AG", "Qabf", "PSNR", "SSIM", "CE", "EI", "RMSE", "Q_CB", "Q_CV"],
    notes: {
      SF: "a colour picture is read as one of three times the width",
      PSNR: "built on its RMSE, with a square root too many",
      Q_CB: "where a picture is black over a wide area the contrast is rounding noise, which no two programs share",
    },
  },
  liu2012: {
    title: "the metrics of Liu et al. 2012 (PAMI 34) by their author",
    source: "github.com/zhengliu6699/imageFusionMetrics",
    checked: "NMI, NCIE, Qabf and Q_Y: its code run in Octave, to 12 digits; Q_CB and Q_CV through vifb",
    grey: MATLAB_GREY,
    colour: "grey",
    metrics: {
      Qabf: {
        sigmoids: "1 10 .5, 1 20 .75",
        range: "0–255",
        equalStrength: "G = 1",
        average: "mean of Q·w / w over the pixels",
      },
      NMI: { form: "2 [I(A,F) / (H(A) + H(F)) + I(B,F) / (H(B) + H(F))]", levels: "stretched to 0–255" },
      NCIE: { correlation: "entropies to base 256 of levels stretched to 0–255" },
      Q_Y: { window: "Gaussian 7×7, sigma 1.5, valid", constants: "C1 = C2 = 2e-16", floor: 0 },
      Q_CB: { levels: "stretched to 0–255, rounded", frequency: "k / 15", floor: 0 },
      Q_CV: {},
    },
    defaults: ["NMI", "NCIE", "Qabf", "Q_Y", "Q_CV", "Q_CB"],
    notes: {
      Qabf: "called Q_G there; a different function from the others' Qabf",
      NMI: "called Q_MI there",
      Q_Y: "undefined where both sources are flat over 7×7 pixels, as on a black background",
      Q_CB: "where a picture is black over a wide area the contrast is rounding noise, which no two programs share",
    },
  },
};

export const PROFILE_NAMES = Object.keys(PROFILES) as ProfileName[];
