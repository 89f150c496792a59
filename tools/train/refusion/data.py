"""Reads the training pairs as luma planes and makes the targets of the warm start."""

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
    """Fused picture with fixed weights that the warm start aims at, float32 in 0..1.

    The number of bands keeps the target within about the view of the fusion network (13 pixels to each side).
    """
    if task == "multi-focus":
        target = focus_target(a, b)
    elif task == "multi-exposure":
        target = band_target(a, b, 4, lambda x, y: (x + y) / 2)
    else:
        target = band_target(a, b, 3, np.maximum)
    return np.clip(target, 0, 1).astype(np.float32)


class Crops:
    """Random crops of the training pairs of one task. Planes lie in memory as 8 bits: source a, source b, target."""

    def __init__(self, data, task, patch, vary_scale, seed):
        self.patch = patch
        self.vary_scale = vary_scale
        self.random = np.random.default_rng(seed)
        self.planes = []
        datasets = []
        for dataset, _, path_a, path_b in list_pairs(data, task, "train"):
            a, b = read_luma(path_a, 800), read_luma(path_b, 800)
            planes = np.stack([a, b, make_target(task, a, b)], -1)
            if min(planes.shape[:2]) >= patch:
                self.planes.append(np.round(planes * 255).astype(np.uint8))
                datasets.append(dataset)
        if not self.planes:
            raise SystemExit(f"no training pairs for {task} under {data}")
        # A data set is drawn in proportion to the root of its size: small ones (night streets) would drown otherwise.
        self.chances = np.array([datasets.count(d) ** -0.5 for d in datasets])
        self.chances /= self.chances.sum()
        self.emptiest = 8 if task == "medical" else 2

    def crop(self):
        """One crop, patch x patch x 3, float32 in 0..1, turned and mirrored at random."""
        for _ in range(6):
            image = self.planes[self.random.choice(len(self.planes), p=self.chances)]
            size = self.patch
            if self.vary_scale and self.random.random() < 0.4:
                size = int(self.patch * self.random.uniform(1, 2))
            size = min(size, *image.shape[:2])
            y = self.random.integers(image.shape[0] - size + 1)
            x = self.random.integers(image.shape[1] - size + 1)
            crop = image[y:y + size, x:x + size]
            # Empty background (most of a brain scan) teaches little: draw again, a few times at most.
            if crop[:, :, :2].std() > self.emptiest:
                break
        if size != self.patch:
            crop = cv2.resize(crop, (self.patch, self.patch), interpolation=cv2.INTER_AREA)
        crop = np.rot90(crop, self.random.integers(4))
        if self.random.random() < 0.5:
            crop = crop[:, ::-1]
        return crop.astype(np.float32) / 255

    def batch(self, size):
        """(sources N x 2 x P x P, target N x 1 x P x P), float32 arrays in 0..1."""
        stacked = np.ascontiguousarray(np.stack([self.crop() for _ in range(size)]).transpose(0, 3, 1, 2))
        return stacked[:, :2], stacked[:, 2:]
