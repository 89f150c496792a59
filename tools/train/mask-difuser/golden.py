"""Write the test fixtures of the small model's architecture: a tiny network with random weights, and what it makes.

    python3 tools/train/mask-difuser/golden.py test/fixtures

`mask-difuser-small.safetensors`: the weights, values that float16 holds exactly. `mask-difuser-small-io.safetensors`:
inputs and the outputs of the network in float64, rounded to float32; all N x C x H x W. `network.T` is the raw output at
timestep T, `x0.T` the picture that it means.
"""

import argparse
import json
import os
import sys

import torch
from torch import nn

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

from common.weights import write_safetensors
from model import MaskDifuser

CONFIG = {
    "timesteps": 1000,
    "channels": 8,
    "multipliers": [1, 2],
    "residualBlocks": 1,
    "attentionLevels": [1],
    "crossAttentionLevels": [1],
    "groups": 2,
    "contentChannels": 8,
    "semanticChannels": 16,
    "semanticLayers": 1,
    "semanticHeads": 2,
    "feedForwardChannels": 16,
    "prediction": "x0",
    "output": "blend",
}
TIMESTEPS = (999, 400)


def random_weights(network, generator):
    """Every weight of the size that keeps signals going, norms and biases away from one and zero; float16 values."""
    table = "time_embedding.timembedding.0.weight"
    norms = (nn.GroupNorm, nn.LayerNorm)
    scales = {f"{name}.weight" for name, module in network.named_modules() if isinstance(module, norms)}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name != table:
                values = torch.randn(parameter.shape, generator=generator)
                if parameter.dim() > 1:
                    # Queries are larger, so that attention is far from a plain mean.
                    gain = 3 if "proj_q" in name else 1
                    values *= gain / parameter[0].numel() ** 0.5
                else:
                    values = 0.2 * values + (1 if name in scales else 0)
                parameter.copy_(values)
            parameter.copy_(parameter.half())


def main():
    parser = argparse.ArgumentParser(description="Write the fixtures of the small architecture.")
    parser.add_argument("folder")
    args = parser.parse_args()
    generator = torch.Generator().manual_seed(4)
    network = MaskDifuser(CONFIG).eval()
    random_weights(network, generator)
    metadata = {"model": "mask-difuser", "config": json.dumps(CONFIG, separators=(",", ":"))}
    path = os.path.join(args.folder, "mask-difuser-small.safetensors")
    write_safetensors(path, network.state_dict(), metadata)
    print(path, os.path.getsize(path))

    first, second = (torch.rand(1, 3, 32, 48, generator=generator).half().double() * 2 - 1 for _ in range(2))
    x_t = torch.randn(1, 3, 32, 48, generator=generator).half().double()
    first, second = first.half().double(), second.half().double()
    network = network.double()
    tensors = {"first": first, "second": second, "x_t": x_t, "t": torch.tensor(TIMESTEPS)}
    with torch.no_grad():
        conditions = network.conditions(first, second)
        tensors.update(zip(("content", "semantic_first", "semantic_second"), conditions))
        for t in TIMESTEPS:
            raw = network.network(conditions, x_t, torch.tensor([t]))
            tensors[f"network.{t}"] = raw
            tensors[f"x0.{t}"] = network.output(raw, first, second)
    path = os.path.join(args.folder, "mask-difuser-small-io.safetensors")
    write_safetensors(path, tensors, {}, "F32")
    print(path, os.path.getsize(path))
    for name, tensor in tensors.items():
        print(name, tuple(tensor.shape), f"{float(tensor.double().std()):.3f}")


if __name__ == "__main__":
    main()
