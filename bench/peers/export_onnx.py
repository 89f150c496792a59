"""Exports what the peers of the benchmark run: a network, and single operators of it, as ONNX (opset 17, float32, fixed shape).

    python3 bench/peers/export_onnx.py --network refusion --weights FILE --size 640x480 --out FILE.onnx [--operators LIST]
    python3 bench/peers/export_onnx.py --network mask-difuser --config JSON --weights FILE --size 128x128 --out FILE.onnx [--operators LIST]

ReFusion: input `sources`, 1 x 2 x height x width. Mask-DiFuser: one step, inputs `fa` and `fb` (semantic features), `content`
(content features), `sample` (the noisy image) and `timestep`. Output `output`. LIST is what `npm run bench -- ... --peers` writes;
each operator is written beside the network under the file name it gives.
"""

import argparse
import json
import os

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from networks import load_refusion, load_step, refusion, step_inputs

LayerNorm, depthwise3x3, split_heads = refusion.LayerNorm, refusion.depthwise3x3, refusion.split_heads
ACTIVATIONS = {"leakyRelu": F.leaky_relu, "relu": F.relu, "sigmoid": torch.sigmoid, "silu": F.silu}


def scattered_values(shape, seed, scale):
    """The numbers of scatteredValues() in bench/statistics.ts."""
    count = int(np.prod(shape))
    bits = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed * 1000003)) * np.uint64(2654435761)
    values = ((bits & np.uint64(0xFFFFFFFF)) / 4294967296.0 * 2 - 1) * scale
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


class Convolution(nn.Module):
    """Layer norm over the channels (optional), convolution, activation (optional), plus a residual (optional)."""

    def __init__(self, weights, options):
        super().__init__()
        outputs, inputs, size, _ = weights["weight"].shape
        self.norm = LayerNorm(inputs) if "scale" in weights else nn.Identity()
        if "scale" in weights:
            self.norm.body.weight.data, self.norm.body.bias.data = weights["scale"], weights["shift"]
        self.convolution = nn.Conv2d(inputs, outputs, size, options["stride"], options["padding"], bias="bias" in weights)
        self.convolution.weight.data = weights["weight"]
        if "bias" in weights:
            self.convolution.bias.data = weights["bias"]
        self.activation = ACTIVATIONS.get(options["activation"], nn.Identity())

    def forward(self, input, residual=None):
        output = self.activation(self.convolution(self.norm(input)))
        return output if residual is None else output + residual


class DepthwiseConvolution(nn.Module):
    """Depthwise 3x3; gated: of twice the channels, then gelu(first half) * second half."""

    def __init__(self, weights, options):
        super().__init__()
        self.convolution = depthwise3x3(weights["weight"].shape[0])
        self.convolution.weight.data = weights["weight"]
        self.gated = options["gated"]

    def forward(self, input):
        output = self.convolution(input)
        if not self.gated:
            return output
        gate, value = output.chunk(2, 1)
        return F.gelu(gate) * value


class ApplyMatrix(nn.Module):
    """Attention weights times values, projected by a 1x1 convolution, plus a residual (optional)."""

    def __init__(self, weights, options):
        super().__init__()
        outputs, inputs = weights["weight"].shape[:2]
        self.projection = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.projection.weight.data = weights["weight"]

    def forward(self, input, matrix, residual=None):
        output = self.projection((matrix @ split_heads(input, matrix.shape[1])).reshape(input.shape))
        return output if residual is None else output + residual


class AttentionWeights(nn.Module):
    """Softmax of the products of queries and keys of unit length, for each head between its channels."""

    def __init__(self, weights, options):
        super().__init__()
        self.temperature = nn.Parameter(weights["temperature"])

    def forward(self, query, key):
        heads = self.temperature.shape[0]
        q = F.normalize(split_heads(query, heads), dim=-1)
        k = F.normalize(split_heads(key, heads), dim=-1)
        return ((q @ k.transpose(-2, -1)) * self.temperature).softmax(-1)


class GroupNorm(nn.Module):
    """Group norm, activation (optional)."""

    def __init__(self, weights, options):
        super().__init__()
        self.norm = nn.GroupNorm(options["groups"], weights["weight"].shape[0])
        self.norm.weight.data, self.norm.bias.data = weights["weight"], weights["bias"]
        self.activation = ACTIVATIONS.get(options["activation"], nn.Identity())

    def forward(self, input):
        return self.activation(self.norm(input))


class Attention(nn.Module):
    """Softmax attention of pixels to pixels, one head."""

    def __init__(self, weights, options):
        super().__init__()
        self.scale = options["scale"]

    def forward(self, query, key, value):
        scores = torch.bmm(query.flatten(2).transpose(1, 2), key.flatten(2)) * self.scale
        result = torch.bmm(value.flatten(2), scores.softmax(-1).transpose(1, 2))
        return result.reshape(query.shape[0], value.shape[1], *query.shape[2:])


OPERATORS = {
    "attention": Attention,
    "groupNorm": GroupNorm,
    "conv2d": Convolution,
    "depthwiseConv2d": DepthwiseConvolution,
    "applyMatrix": ApplyMatrix,
    "channelAttentionWeights": AttentionWeights,
}


def export(module, inputs, path):
    """inputs: name to shape."""
    module.eval()
    with torch.no_grad():
        torch.onnx.export(module, tuple(torch.rand(shape) for shape in inputs.values()), path, opset_version=17,
                          input_names=list(inputs), output_names=["output"])
    print(path)


def main():
    parser = argparse.ArgumentParser(description="Export a network and single operators as ONNX.")
    parser.add_argument("--network", required=True, choices=["refusion", "mask-difuser"])
    parser.add_argument("--config", type=json.loads, help="sizes of Mask-DiFuser, as its checkpoints name them")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--size", required=True, metavar="WIDTHxHEIGHT")
    parser.add_argument("--out", required=True)
    parser.add_argument("--operators", help="JSON list of operators")
    args = parser.parse_args()
    torch.set_num_threads(2)  # With one thread model.py takes a way that ONNX does not know.
    folder = os.path.dirname(os.path.abspath(args.out))
    os.makedirs(folder, exist_ok=True)

    width, height = map(int, args.size.split("x"))
    if args.network == "refusion":
        export(load_refusion(args.weights), {"sources": (1, 2, height, width)}, args.out)
    else:
        export(load_step(args.config, args.weights), step_inputs(args.config, width, height), args.out)
    if args.operators:
        with open(args.operators) as file:
            operators = json.load(file)
        for operator in operators:
            weights = {name: scattered_values(w["shape"], w["seed"], w["scale"]) for name, w in operator["weights"].items()}
            module = OPERATORS[operator["kind"]](weights, operator["options"])
            export(module, operator["inputs"], os.path.join(folder, operator["file"]))


if __name__ == "__main__":
    main()
