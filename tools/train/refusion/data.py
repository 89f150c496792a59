"""Random luma crops of the training pairs with the targets of the warm start."""

import cv2
import numpy as np

from common.pairs import list_pairs, make_target, read_luma


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
