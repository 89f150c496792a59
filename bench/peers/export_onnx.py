"""Exports what the peers of the benchmark run: ReFusion's network, and single operators of it, as ONNX (opset 17, float32, fixed shape).

    python3 bench/peers/export_onnx.py --weights FILE --out FOLDER [--size 640x480 ...] [--operators FILE]

FILE holds the weights of the fusion network (safetensors, or the published .pth). The network is written as
refusion-WIDTHxHEIGHT.onnx: input `sources`, 1 x 2 x height x width, output `output`, 1 x 1 x height x width.
--operators takes the list that `npm run bench -- refusion --peers` writes; each is written under the file name it gives.
"""

import argparse
import json
import os
import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/train/refusion"))
from model import Fusion, LayerNorm, depthwise3x3, split_heads  # noqa: E402
from weights import read_fusion_weights  # noqa: E402

ACTIVATIONS = {"leakyRelu": F.leaky_relu, "sigmoid": torch.sigmoid}


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
        self.convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.convolution.weight.data = weights["weight"]
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


OPERATORS = {
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
    parser = argparse.ArgumentParser(description="Export ReFusion and single operators as ONNX.")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--size", nargs="*", default=["640x480"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--operators", help="JSON list of operators")
    args = parser.parse_args()
    torch.set_num_threads(2)  # With one thread model.py takes a way that ONNX does not know.
    os.makedirs(args.out, exist_ok=True)

    network = Fusion()
    network.load_state_dict(read_fusion_weights(args.weights))
    for size in args.size:
        width, height = map(int, size.split("x"))
        export(network, {"sources": (1, 2, height, width)}, os.path.join(args.out, f"refusion-{size}.onnx"))
    if args.operators:
        with open(args.operators) as file:
            operators = json.load(file)
        for operator in operators:
            weights = {name: scattered_values(w["shape"], w["seed"], w["scale"]) for name, w in operator["weights"].items()}
            module = OPERATORS[operator["kind"]](weights, operator["options"])
            export(module, operator["inputs"], os.path.join(args.out, operator["file"]))


if __name__ == "__main__":
    main()
