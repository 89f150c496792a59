"""Write the fusion network of a checkpoint as weights for Sinter: safetensors, float16.

    python3 tools/train/refusion/export.py OUT/infrared-visible/checkpoint.pt weights
"""

import argparse
import json
import os
import sys

import torch

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

from common.weights import write_safetensors
from model import CONFIG

# The configuration as Sinter's checkpoint reader names its fields (src/checkpoints/refusion-format.ts).
SAVED_CONFIG = {
    "dim": CONFIG["dim"],
    "encoderBlocks": CONFIG["blocks"],
    "decoderBlocks": CONFIG["blocks"],
    "heads": CONFIG["heads"],
    "expansion": CONFIG["expansion"],
    "bias": False,
}


def main():
    parser = argparse.ArgumentParser(description="Export a checkpoint of train.py.")
    parser.add_argument("checkpoint")
    parser.add_argument("folder", help="folder for refusion-TASK.safetensors")
    args = parser.parse_args()
    state = torch.load(args.checkpoint, map_location="cpu")
    metadata = {
        "model": "refusion",
        "config": json.dumps(SAVED_CONFIG, separators=(",", ":")),
        "task": state["task"],
        "source": "trained from random weights by tools/train/refusion",
        "licence": "Apache-2.0",
        "steps": str(state["counts"]["warm"] + state["counts"]["plain"]),
        "seed": str(state["seed"]),
    }
    path = os.path.join(args.folder, f"refusion-{state['task']}.safetensors")
    write_safetensors(path, state["average"], metadata)
    print(f"{path}: {os.path.getsize(path)} bytes, {state['counts']}, {state['elapsed'] / 60:.1f} minutes, "
          f"{state['pairs']} pairs, started from another task: {state['started']}")


if __name__ == "__main__":
    main()
