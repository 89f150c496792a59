"""Times the networks of the benchmark in PyTorch: eager and torch.compile, float32, TF32 and float16, with and without channels last.

    python3 bench/peers/torch_bench.py --json FILE [--size 640x480 ...] [--configs refusion c4 official] [--seconds 5]

On CUDA if there is any, else on the CPU (float32 alone, for a look whether it runs). Weights are random: no time depends on them.
Each row: median of runs after warming up, from inputs on the device to the output on the device; for ReFusion the whole network, for
Mask-DiFuser one step from its conditions, keys and values included, as `npm run bench -- mask-difuser --peers` runs it.
"""

import argparse
import json
import os
import statistics
import time

import torch

from networks import C4, PUBLISHED, Step, refusion, step_inputs

CONFIGS = {"c4": C4, "official": PUBLISHED}


def make(name, width, height):
    """A network and its inputs on the CPU in float32."""
    torch.manual_seed(0)
    if name == "refusion":
        return refusion.Fusion().eval(), [torch.rand(1, 2, height, width)]
    config = CONFIGS[name]
    inputs = [torch.rand(shape) for shape in step_inputs(config, width, height).values()]
    inputs[-1].fill_(200)
    return Step(config).eval(), inputs


def synchronize(device):
    if device == "cuda":
        torch.cuda.synchronize()


def measure(network, inputs, device, seconds):
    """Median milliseconds, the number of runs and the milliseconds of the first run."""
    started = time.perf_counter()
    network(*inputs)
    synchronize(device)
    first = time.perf_counter() - started
    for _ in range(2):
        network(*inputs)
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or (time.perf_counter() < end and len(times) < 200):
        synchronize(device)
        started = time.perf_counter()
        network(*inputs)
        synchronize(device)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times), len(times), 1000 * first


def variants(device):
    """(mode, precision, channels last) to be timed. tf32: float32 tensors, products of ten bits, PyTorch's default for convolutions."""
    can_compile = hasattr(torch, "compile")
    for mode in ["eager", "compile"] if can_compile else ["eager"]:
        for precision in ["float32", "tf32", "float16"] if device == "cuda" else ["float32"]:
            for channels_last in [False, True]:
                yield mode, precision, channels_last


def main():
    parser = argparse.ArgumentParser(description="Time the networks in PyTorch.")
    parser.add_argument("--json", required=True)
    parser.add_argument("--size", nargs="*", default=["640x480", "1024x768"], metavar="WIDTHxHEIGHT")
    parser.add_argument("--configs", nargs="*", default=["refusion", "c4", "official"], choices=["refusion", *CONFIGS])
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    torch.backends.cudnn.benchmark = True
    results = []
    for config in args.configs:
        for size in args.size:
            width, height = map(int, size.split("x"))
            for mode, precision, channels_last in variants(device):
                row = {"network": config, "width": width, "height": height, "mode": mode, "precision": precision, "channelsLast": channels_last}
                try:
                    row.update(time_variant(config, width, height, mode, precision, channels_last, device, args.seconds))
                except RuntimeError as error:
                    row["error"] = str(error).splitlines()[0]
                if device == "cuda":
                    torch.cuda.empty_cache()
                print(json.dumps(row), flush=True)
                results.append(row)
    os.makedirs(os.path.dirname(os.path.abspath(args.json)), exist_ok=True)
    with open(args.json, "w") as file:
        json.dump({"torch": torch.__version__, "device": name, "results": results}, file, indent=2)


def time_variant(config, width, height, mode, precision, channels_last, device, seconds):
    dtype = torch.float16 if precision == "float16" else torch.float32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    network, inputs = make(config, width, height)
    memory = torch.channels_last if channels_last else torch.contiguous_format
    network = network.to(device=device, dtype=dtype, memory_format=memory)
    moved = []
    for tensor in inputs:
        # The timestep stays float32.
        is_image = tensor.dim() == 4
        moved.append(tensor.to(device=device, dtype=dtype, memory_format=memory) if is_image else tensor.to(device))
    if mode == "compile":
        network = torch.compile(network)
    with torch.inference_mode():
        milliseconds, runs, first = measure(network, moved, device, seconds)
    result = {"milliseconds": milliseconds, "runs": runs, "firstMilliseconds": first}
    if device == "cuda":
        result["peakBytes"] = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    return result


if __name__ == "__main__":
    main()
