"""VIF and Qabf of sampled pictures on pairs that were not trained on, beside the plain average of the sources.

    OMP_NUM_THREADS=1 python3 tools/train/mask-difuser/evaluate.py --data DATA --weights FILE [--every N] [--sheet PNG]

FILE: .safetensors or checkpoint.pt. Fused pictures and averages are stretched to 0..255 over all channels and rounded.
"""

import argparse
import json
import os
import sys

import cv2
import numpy as np
import torch
from torch.nn import functional as F

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

from common.metrics import qabf, vif
from common.pairs import TASKS, list_pairs
from common.weights import read_safetensors
from data import read_rgb
from diffusion import sample
from masking import luma
from model import MaskDifuser


def stretch(image):
    """8 bits over the whole range of all channels together."""
    low, high = image.min(), image.max()
    return np.round((image - low) / max(high - low, 1e-6) * 255).astype(np.uint8)


def load_network(path):
    if path.endswith(".safetensors"):
        tensors, metadata = read_safetensors(path)
        config = json.loads(metadata["config"])
    else:
        state = torch.load(path, map_location="cpu")
        tensors, config = state["average"], state["config"]
    network = MaskDifuser(config)
    network.load_state_dict(tensors)
    return network.eval()


def held_out(data, task, every, longest):
    """(data set, name, first, second) of every n-th test pair of each data set; RGB in 0..1."""
    seen, pairs = {}, []
    for dataset, name, path_a, path_b in list_pairs(data, task, "test"):
        seen[dataset] = seen.get(dataset, 0) + 1
        if (seen[dataset] - 1) % every == 0:
            pairs.append((dataset, name, read_rgb(path_a, longest), read_rgb(path_b, longest)))
    return pairs


def fuse(network, first, second, steps, seed=1):
    """The sampled picture, H x W x 3, before the stretch; padded by reflection as Sinter does."""
    multiple = max(16, 2 ** len(network.config["multipliers"]))
    height, width = first.shape[:2]
    padding = (0, -width % multiple, 0, -height % multiple)
    device = network.head.weight.device
    planes = (np.ascontiguousarray(x.transpose(2, 0, 1))[None] * 2 - 1 for x in (first, second))
    a, b = (F.pad(torch.from_numpy(x).to(device), padding, mode="reflect") for x in planes)
    x = sample(network, a, b, steps, torch.Generator().manual_seed(seed))
    return x[0, :, :height, :width].cpu().numpy().transpose(1, 2, 0)


def grey(image):
    return np.round(luma(image.astype(np.float32)))


def judge(first, second, fused):
    """VIF and Qabf of an 8-bit picture, on luma."""
    a, b, f = grey(first * 255), grey(second * 255), grey(fused)
    return vif(a, b, f), qabf(a, b, f)


def colour_kept(first, second, fused):
    """Colour difference (RGB - luma) of the fused picture along that of the more colourful source, as a share of it.

    1 is kept, 0 grey; not a number for grey sources.
    """
    c1, c2, c = (x - luma(x)[:, :, None] for x in (first, second, fused.astype(np.float32) / 255))
    s1, s2 = np.abs(c1).sum(2, keepdims=True), np.abs(c2).sum(2, keepdims=True)
    aim = np.where(s1 >= s2, c1, c2)
    power = (aim**2).sum()
    return (c * aim).sum() / power if power > 1e-3 * aim.size else np.nan


def mean_of_known(values):
    known = values[~np.isnan(values)]
    return known.mean() if known.size else np.nan


def sheet_row(images, height):
    return np.hstack([cv2.resize(x, (max(1, round(x.shape[1] * height / x.shape[0])), height),
                                 interpolation=cv2.INTER_AREA) for x in images])


def write_sheet(path, rows, height=200):
    strips = [sheet_row(images, height) for images in rows]
    width = max(s.shape[1] for s in strips)
    sheet = np.vstack([np.pad(s, ((0, 4), (0, width - s.shape[1]), (0, 0))) for s in strips])
    cv2.imwrite(path, sheet[:, :, ::-1])


def main():
    parser = argparse.ArgumentParser(description="Judge weights on held-out pairs.")
    parser.add_argument("--data", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--task", choices=sorted(TASKS), action="append", help="may be repeated; default: all")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 5])
    parser.add_argument("--every", type=int, default=1, help="take only every n-th pair of a data set")
    parser.add_argument("--longest", type=int, default=256, help="reduce pictures so that no side is longer")
    parser.add_argument("--sheet", help="write a picture of sources, average and fused images of --steps")
    parser.add_argument("--sheet-rows", type=int, default=3, help="rows of a task")
    args = parser.parse_args()
    network = load_network(args.weights)
    methods = ("average", *(f"{steps} steps" for steps in args.steps))
    print("task", "set", "pairs", *(f"{n} {m}" for n in methods for m in ("VIF", "Qabf", "colour")), sep="\t")
    rows = []
    for task in args.task or TASKS:
        by_set, task_rows = {}, []
        for dataset, _, a, b in held_out(args.data, task, args.every, args.longest):
            pictures = [stretch((a + b) / 2)] + [stretch(fuse(network, a, b, steps)) for steps in args.steps]
            values = [v for x in pictures for v in (*judge(a, b, x), colour_kept(a, b, x))]
            by_set.setdefault(dataset, []).append(values)
            task_rows.append([np.round(x * 255).astype(np.uint8) for x in (a, b)] + pictures)
        everything = [v for values in by_set.values() for v in values]
        for name, values in [*by_set.items(), ("all", everything)]:
            means = (f"{mean_of_known(v):.3f}" for v in np.transpose(values))
            print(task, name, len(values), *means, sep="\t", flush=True)
        rows += task_rows[:: max(1, len(task_rows) // args.sheet_rows)][: args.sheet_rows]
    if args.sheet:
        write_sheet(args.sheet, rows)


if __name__ == "__main__":
    main()
