"""VIF and Qabf on the pairs that were not trained on, against the plain average of the sources.

    OMP_NUM_THREADS=1 python3 tools/train/refusion/evaluate.py --data DATA --task TASK --weights FILE [--sheet PNG]

FILE: .safetensors, checkpoint.pt or a published .pth. Luma only: stretched to 0..255 and rounded, as in a fused file.
"""

import argparse
import os
import sys

import cv2
import numpy as np
import torch

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

from common.metrics import qabf, vif
from common.pairs import TASKS, list_pairs, make_target, read_luma
from common.weights import read_safetensors
from model import Fusion


def read_fusion_weights(path):
    """State dict of F from a .safetensors file, a checkpoint.pt of train.py or a published .pth file."""
    if path.endswith(".safetensors"):
        return read_safetensors(path)[0]
    state = torch.load(path, map_location="cpu")
    if "average" in state:
        return state["average"]
    # Published files store every convolution twice: X.weight and X.conv.weight.
    return {name: tensor for name, tensor in state.items() if not name.endswith(".conv.weight")}


def to_8bit(image):
    low, high = image.min(), image.max()
    return np.round((image - low) / max(high - low, 1e-6) * 255)


def sheet_row(images, height=220):
    scale = height / images[0].shape[0]
    size = (max(1, round(images[0].shape[1] * scale)), height)
    return np.hstack([cv2.resize(x.astype(np.uint8), size, interpolation=cv2.INTER_AREA) for x in images])


def main():
    parser = argparse.ArgumentParser(description="Judge weights on held-out pairs.")
    parser.add_argument("--data", required=True)
    parser.add_argument("--task", required=True, choices=sorted(TASKS))
    parser.add_argument("--weights", required=True)
    parser.add_argument("--every", type=int, default=1, help="take only every n-th pair of a data set")
    parser.add_argument("--longest", type=int, default=800, help="halve pictures until no side is longer")
    parser.add_argument("--sheet", help="write a picture of sources, average, warm-start target and fused image")
    parser.add_argument("--sheet-rows", type=int, default=8)
    args = parser.parse_args()
    network = Fusion()
    network.load_state_dict(read_fusion_weights(args.weights))
    by_set, seen, rows = {}, {}, []
    for dataset, name, path_a, path_b in list_pairs(args.data, args.task, "test"):
        seen[dataset] = seen.get(dataset, 0) + 1
        if (seen[dataset] - 1) % args.every:
            continue
        a, b = read_luma(path_a, args.longest), read_luma(path_b, args.longest)
        with torch.no_grad():
            raw = network(torch.from_numpy(np.stack([a, b])[None]))[0, 0].numpy()
        a8, b8, average, fused = np.round(a * 255), np.round(b * 255), to_8bit((a + b) / 2), to_8bit(raw)
        values = [vif(a8, b8, average), qabf(a8, b8, average), vif(a8, b8, fused), qabf(a8, b8, fused)]
        # How much of the range the stretch leaves to all but the outermost pixels.
        low, high = np.percentile(fused, (0.5, 99.5))
        values += [raw.min(), raw.max(), (high - low) / 255]
        by_set.setdefault(dataset, []).append(values)
        rows.append((dataset, name, [a8, b8, average, to_8bit(make_target(args.task, a, b)), fused]))
    print("set\tpairs\taverage VIF\tQabf\tfused VIF\tQabf\traw min\traw max\trange kept")
    everything = [v for values in by_set.values() for v in values]
    for name, values in [*by_set.items(), ("all", everything)]:
        print(name, len(values), *(f"{v:.3f}" for v in np.mean(values, 0)), sep="\t")
    if args.sheet:
        chosen = rows[:: max(1, len(rows) // args.sheet_rows)][: args.sheet_rows]
        strips = [sheet_row(images) for _, _, images in chosen]
        width = max(s.shape[1] for s in strips)
        cv2.imwrite(args.sheet, np.vstack([np.pad(s, ((0, 4), (0, width - s.shape[1]))) for s in strips]))
        print(os.path.basename(args.sheet), "rows:", ", ".join(f"{d}/{n}" for d, n, _ in chosen))


if __name__ == "__main__":
    main()
