"""The training pairs, and fused pictures made of two sources without any network, for recipes to aim at."""

import csv
import os

import cv2
import numpy as np

# Command-line task -> task of the data folder.
TASKS = {"infrared-visible": "ivf", "medical": "medical", "multi-focus": "mff", "multi-exposure": "mef"}

SPLIT_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "split.tsv")


def read_luma(path, longest=None):
    """Y of YCrCb, float32 in 0..1; halved (area mean) until no side is longer than `longest`."""
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit(f"cannot read the image {path}")
    luma = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2YCrCb)[:, :, 0]
    while longest is not None and max(luma.shape) > longest:
        luma = cv2.resize(luma, (luma.shape[1] // 2, luma.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return luma


def list_pairs(data, task, split):
    """(data set, name, path a, path b) of every pair of a task whose split is `split`."""
    with open(SPLIT_FILE, newline="") as file:
        chosen = {(r["dataset"], r["name"]) for r in csv.DictReader(file, delimiter="\t")
                  if r["task"] == TASKS[task] and r["split"] == split}
    with open(os.path.join(data, "PAIRS.tsv"), newline="") as file:
        rows = [r for r in csv.DictReader(file, delimiter="\t")
                if r["task"] == TASKS[task] and (r["dataset"], r["name"]) in chosen]
    return [(r["dataset"], r["name"], os.path.join(data, r["path_a"]), os.path.join(data, r["path_b"])) for r in rows]


def pyramid(image, levels):
    out = [image]
    for _ in range(levels):
        out.append(cv2.pyrDown(out[-1]))
    return out


def laplacian(image, levels):
    gauss = pyramid(image, levels)
    return [g - cv2.pyrUp(n, dstsize=g.shape[::-1]) for g, n in zip(gauss, gauss[1:])] + [gauss[-1]]


def collapse(bands):
    image = bands[-1]
    for band in reversed(bands[:-1]):
        image = band + cv2.pyrUp(image, dstsize=band.shape[::-1])
    return image


def energy(band, sigma):
    return cv2.GaussianBlur(np.abs(band), (0, 0), sigma)


def band_target(a, b, levels, base):
    """Of every band of the Laplacian pyramid the locally stronger source; of the base what `base` makes of both."""
    bands = []
    for x, y in zip(laplacian(a, levels)[:-1], laplacian(b, levels)[:-1]):
        ex, ey = energy(x, 1.5) ** 4, energy(y, 1.5) ** 4
        weight = (ex + 1e-12) / (ex + ey + 2e-12)
        bands.append(weight * x + (1 - weight) * y)
    bands.append(base(pyramid(a, levels)[-1], pyramid(b, levels)[-1]))
    return collapse(bands)


def focus_target(a, b):
    """The sharper source, by local Laplacian energy, with soft borders between the regions."""
    ea, eb = (cv2.GaussianBlur(cv2.Laplacian(x, cv2.CV_32F) ** 2, (0, 0), 3) ** 2 for x in (a, b))
    weight = (ea + 1e-14) / (ea + eb + 2e-14)
    weight = cv2.GaussianBlur(weight, (0, 0), 1)
    return weight * a + (1 - weight) * b


def make_target(task, a, b):
    """Fused luma with fixed weights, float32 in 0..1. It depends on few pixels to each side, as a small network does."""
    if task == "multi-focus":
        target = focus_target(a, b)
    elif task == "multi-exposure":
        target = band_target(a, b, 4, lambda x, y: (x + y) / 2)
    else:
        target = band_target(a, b, 3, np.maximum)
    return np.clip(target, 0, 1).astype(np.float32)
