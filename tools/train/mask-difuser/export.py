"""Write the averaged network of a checkpoint as weights for Sinter: safetensors, float16.

    python3 tools/train/mask-difuser/export.py OUT/checkpoint.pt weights
"""

import argparse
import json
import os
import sys

import torch

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

from common.weights import write_safetensors


def main():
    parser = argparse.ArgumentParser(description="Export a checkpoint of train.py.")
    parser.add_argument("checkpoint")
    parser.add_argument("folder", help="folder for mask-difuser-small.safetensors (published schedule: mask-difuser)")
    args = parser.parse_args()
    state = torch.load(args.checkpoint, map_location="cpu")
    config = state["config"]
    if not state["published"]:
        # Sampling steps where a user names none: more do not change the small model's picture.
        config = {**config, "steps": 1}
    metadata = {
        "model": "mask-difuser",
        "config": json.dumps(config, separators=(",", ":")),
        "source": "trained from random weights by tools/train/mask-difuser",
        "licence": "Apache-2.0",
        "steps": str(sum(state["counts"].values())),
        "seed": str(state["seed"]),
    }
    name = "mask-difuser" if state["published"] else "mask-difuser-small"
    path = os.path.join(args.folder, f"{name}.safetensors")
    write_safetensors(path, state["average"], metadata)
    print(f"{path}: {os.path.getsize(path)} bytes, {state['counts']}, {state['elapsed'] / 60:.1f} minutes")


if __name__ == "__main__":
    main()
