"""Reads photographs and training pairs, and draws random crops of them. Images are RGB, float32 in 0..1 unless said."""

import csv
import os

import cv2
import numpy as np

from common.pairs import SPLIT_FILE, TASKS, band_target, list_pairs, make_target
from masking import luma, mixed


# Exposure pairs are the hardest: their details are faint and must be made stronger than in either source.
TASK_CHANCES = {"infrared-visible": 0.22, "medical": 0.18, "multi-focus": 0.2, "multi-exposure": 0.4}


def read_rgb(path, longest=None):
    """RGB, H x W x 3, float32 in 0..1; reduced (area mean) so that no side is longer than `longest`."""
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit(f"cannot read the image {path}")
    scale = 1 if longest is None else min(1, longest / max(image.shape))
    if scale < 1:
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return image[:, :, ::-1].astype(np.float32) / 255


def to_bytes(image):
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def list_photographs(data, split):
    """Paths of the photographs (task `natural`) whose split is `split`."""
    with open(SPLIT_FILE, newline="") as file:
        chosen = {(r["dataset"], r["name"]) for r in csv.DictReader(file, delimiter="\t")
                  if r["task"] == "natural" and r["split"] == split}
    paths = []
    for dataset, name in sorted(chosen):
        folder = os.path.join(data, "natural", dataset, os.path.dirname(name))
        stem = os.path.basename(name)
        paths += [os.path.join(folder, f) for f in sorted(os.listdir(folder)) if os.path.splitext(f)[0] == stem]
    return paths


class Cropper:
    """Random crops of stacks of planes (H x W x C, 8 bits), turned and mirrored at random."""

    def __init__(self, random, largest_scale):
        self.random = random
        self.largest_scale = largest_scale

    def crop(self, image, patch, emptiest):
        """patch x patch x C, float32 in 0..1; taken from up to `largest_scale` times the size half of the time.

        Crops whose sources (first six planes) have a standard deviation under `emptiest` are drawn again, a few times.
        """
        for _ in range(5):
            size = patch
            if self.random.random() < 0.5:
                size = int(patch * self.random.uniform(1, self.largest_scale))
            size = min(size, *image.shape[:2])
            y = self.random.integers(image.shape[0] - size + 1)
            x = self.random.integers(image.shape[1] - size + 1)
            crop = image[y:y + size, x:x + size]
            if crop[:, :, :6].std() > emptiest:
                break
        if size != patch:
            how = cv2.INTER_AREA if size > patch else cv2.INTER_LINEAR
            # OpenCV takes four channels at most.
            parts = [crop[:, :, k:k + 3] for k in range(0, crop.shape[2], 3)]
            crop = np.dstack([cv2.resize(part, (patch, patch), interpolation=how) for part in parts])
        crop = np.rot90(crop, self.random.integers(4))
        if self.random.random() < 0.5:
            crop = crop[:, ::-1]
        return crop.astype(np.float32) / 255


def to_batch(images):
    """N x C x P x P in -1..1."""
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)) * 2 - 1


def aim_of(task, a, b):
    """Fused luma to aim at. For exposure pairs more bands than ReFusion's: this network sees far enough, and the mean of
    the bases (the largest patches' brightness) then costs little contrast."""
    if task == "multi-exposure":
        return np.clip(band_target(a, b, 6, lambda x, y: (x + y) / 2), 0, 1)
    return make_target(task, a, b)


class Pairs:
    """Training pairs of all tasks in memory: first source, second source (RGB) and the aim's luma."""

    def __init__(self, data, random, longest=800):
        self.random = random
        self.cropper = Cropper(random, 3)
        self.planes, self.chances = {}, {}
        for task in TASKS:
            planes, datasets = [], []
            for dataset, _, path_a, path_b in list_pairs(data, task, "train"):
                a, b = read_rgb(path_a, longest), read_rgb(path_b, longest)
                target = aim_of(task, luma(a), luma(b))
                planes.append(np.concatenate([to_bytes(a), to_bytes(b), to_bytes(target)[:, :, None]], 2))
                datasets.append(dataset)
            if not planes:
                raise SystemExit(f"no training pairs for {task} under {data}")
            # A data set is drawn in proportion to the root of its size: small ones would drown otherwise.
            chances = np.array([datasets.count(d) ** -0.5 for d in datasets])
            self.planes[task], self.chances[task] = planes, chances / chances.sum()

    def batch(self, size, patch, swapped=0.2):
        """(first, second: N x 3 x P x P, aim's luma: N x 1 x P x P) in -1..1; some pairs swapped."""
        crops = []
        for task in self.random.choice(list(TASK_CHANCES), size, p=list(TASK_CHANCES.values())):
            image = self.planes[task][self.random.choice(len(self.planes[task]), p=self.chances[task])]
            crop = self.cropper.crop(image, patch, 8 if task == "medical" else 2)
            if self.random.random() < swapped:
                crop = crop[:, :, [3, 4, 5, 0, 1, 2, 6]]
            crops.append(crop)
        batch = to_batch(crops)
        return batch[:, :3], batch[:, 3:6], batch[:, 6:]


class Photographs:
    """Whole pictures to damage by masking: photographs and, if `pairs` is given, sides of the training pairs that show
    a scene well (visible, functional and structural, both focus planes)."""

    def __init__(self, data, random, pairs=None, longest=800):
        self.random = random
        self.cropper = Cropper(random, 2)
        self.photographs = [to_bytes(read_rgb(path, longest)) for path in list_photographs(data, "train")]
        if not self.photographs:
            raise SystemExit(f"no photographs under {data}")
        self.sides = []
        if pairs is not None:
            self.sides += [p[:, :, 3:6] for task in ("infrared-visible", "multi-focus") for p in pairs.planes[task]]
            self.sides += [p[:, :, 3 * k:3 * k + 3] for k in (0, 1) for p in pairs.planes["medical"]]

    def crop(self, patch):
        source = self.sides if self.sides and self.random.random() < 0.35 else self.photographs
        return self.cropper.crop(source[self.random.integers(len(source))], patch, 4)

    def batch(self, size, patch, make=mixed):
        """(first, second, aim), N x 3 x P x P in -1..1. make(image, random): first source, second source, aim."""
        triples = [make(self.crop(patch), self.random) for _ in range(size)]
        return [to_batch(images) for images in zip(*triples)]
