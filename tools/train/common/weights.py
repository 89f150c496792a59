"""Reads and writes weights as safetensors: 8-byte header length, JSON header, raw little-endian data."""

import json
import os
import struct

import numpy as np
import torch

DTYPES = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}


def write_safetensors(path, tensors, metadata, dtype="F16"):
    """Every tensor as `dtype`, names in order. metadata: strings to strings."""
    header, chunks, offset = {"__metadata__": metadata}, [], 0
    for name in sorted(tensors):
        values = tensors[name].detach().numpy()
        rounded = np.ascontiguousarray(values.astype(DTYPES[dtype]))
        if not np.isfinite(rounded).all():
            raise SystemExit(f"{name} holds values that {dtype} cannot hold (largest {np.abs(values).max()})")
        data = rounded.tobytes()
        header[name] = {"dtype": dtype, "shape": list(values.shape), "data_offsets": [offset, offset + len(data)]}
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
