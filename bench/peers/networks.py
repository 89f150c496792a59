"""The networks of tools/train in PyTorch, as the peers of the benchmark run them.

    python3 bench/peers/networks.py --check FOLDER

compares the c4 Mask-DiFuser with `c4_forward.safetensors` of FOLDER, a recording of the published program; WEIGHTS as
`npm run bench -- mask-difuser --peers` writes them to .cache/bench/mask-difuser-c4.safetensors.
"""

import argparse
import importlib.util
import json
import os
import struct
import sys

import numpy as np
import torch
from torch import nn

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
TRAIN = os.path.join(ROOT, "tools/train")
sys.path.insert(0, TRAIN)

from common.weights import read_safetensors  # noqa: E402


def load_module(name, path):
    """A Python file by its path: both networks are called model.py."""
    spec = importlib.util.spec_from_file_location(name, os.path.join(TRAIN, path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


refusion = load_module("refusion_model", "refusion/model.py")
mask_difuser = load_module("mask_difuser_model", "mask-difuser/model.py")

PUBLISHED = mask_difuser.PUBLISHED
C4 = {**PUBLISHED, "channels": 32}


class Step(nn.Module):
    """One step of Mask-DiFuser from its conditions; the timestep as float, N."""

    def __init__(self, config):
        super().__init__()
        self.network = mask_difuser.MaskDifuser(config)

    def forward(self, fa, fb, content, sample, timestep):
        return self.network.network((content, fa, fb), sample, timestep.long())


def load_refusion(path):
    network = refusion.Fusion()
    network.load_state_dict(read_safetensors(path)[0])
    return network.eval()


def load_step(config, path):
    """path: weights of everything but the encoders, or None for random ones."""
    step = Step(config)
    if path is not None:
        missing, unexpected = step.network.load_state_dict(read_safetensors(path)[0], strict=False)
        missing = [name for name in missing if not name.startswith(("encoder.", "content_encoder."))]
        if missing or unexpected:
            raise SystemExit(f"{path}: missing {missing[:3]}, unexpected {unexpected[:3]}")
    return step.eval()


def step_inputs(config, width, height):
    """Shapes of a step's inputs by name."""
    features = (1, config["semanticChannels"], -(-height // 16), -(-width // 16))
    content, sample = (1, config["contentChannels"], height, width), (1, 3, height, width)
    return {"fa": features, "fb": features, "content": content, "sample": sample, "timestep": (1,)}


def read_recording(path):
    """The float32 tensors of a safetensors file that has others too."""
    with open(path, "rb") as file:
        raw = file.read()
    length = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8:8 + length]), raw[8 + length:]
    tensors = {}
    for name, entry in header.items():
        if entry.get("dtype") == "F32":
            values = np.frombuffer(data[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
            tensors[name] = torch.from_numpy(values.copy())
    return tensors


def check(folder, weights):
    golden = read_recording(os.path.join(folder, "c4_forward.safetensors"))
    step = load_step(C4, weights)
    worst = 0
    with torch.no_grad():
        for t in (0, 200, 999):
            output = step(golden["fa"], golden["fb"], golden["f_f"], golden["x_t"], torch.tensor([float(t)]))
            worst = max(worst, float((output - golden[f"eps_t{t}"]).abs().max()))
    print(f"largest difference {worst:.1e}")
    if worst > 1e-4:
        raise SystemExit(1)


def main():
    parser = argparse.ArgumentParser(description="Compare the c4 Mask-DiFuser with a recording.")
    parser.add_argument("--check", required=True, metavar="FOLDER")
    parser.add_argument("--weights", default=os.path.join(ROOT, ".cache/bench/mask-difuser-c4.safetensors"))
    args = parser.parse_args()
    check(args.check, args.weights)


if __name__ == "__main__":
    main()
