"""Reads and writes weights as safetensors: 8-byte header length, JSON header, raw little-endian data."""

import json
import os
import struct

import numpy as np
import torch

DTYPES = {"F16": np.float16, "F32": np.float32}


def write_safetensors(path, tensors, metadata):
    """Every tensor as float16, names in order. metadata: strings to strings."""
    header, chunks, offset = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors):
        values = tensors[name].detach().numpy()
        rounded = np.ascontiguousarray(values.astype("<f2"))
        if not np.isfinite(rounded).all():
            raise SystemExit(f"{name} holds values that float16 cannot hold (largest {np.abs(values).max()})")
        data = rounded.tobytes()
        header[name] = {"dtype": "F16", "shape": list(values.shape), "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".tmp", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(chunks))
    os.replace(path + ".tmp", path)


def read_safetensors(path):
    """(name to float32 tensor, metadata)."""
    with open(path, "rb") as file:
        raw = file.read()
    length = struct.unpack("<Q", raw[:8])[0]
    header, data = json.loads(raw[8:8 + length]), raw[8 + length:]
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        values = np.frombuffer(data[start:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.astype(np.float32))
    return tensors, metadata


def read_fusion_weights(path):
    """State dict of F from a .safetensors file, a checkpoint.pt of train.py or a published .pth file."""
    if path.endswith(".safetensors"):
        return read_safetensors(path)[0]
    state = torch.load(path, map_location="cpu")
    if "average" in state:
        return state["average"]
    # Published files store every convolution twice: X.weight and X.conv.weight.
    return {name: tensor for name, tensor in state.items() if not name.endswith(".conv.weight")}
