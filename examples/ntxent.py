#!/usr/bin/env python3
"""NT-Xent as a stage in Python: reads z F32 [B,2,d], and answers with dz F32 [B,2,d] and the loss.

A stage reads frames on stdin and answers each one on stdout. A frame is a safetensors file: the length
of a JSON header (8 bytes, little-endian), the header, and the data. Usage:

    project --next 'exec:examples/ntxent.py --temperature 0.5' ...
"""
import argparse
import json
import struct
import sys

import numpy as np


def read_frame(file):
    """Returns the next frame as (header, metadata, data), or None at the end of the file."""
    length = file.read(8)
    if not length:
        return None
    header = json.loads(file.read(*struct.unpack("<Q", length)))
    meta = header.pop("__metadata__", {})
    return header, meta, file.read(max((t["data_offsets"][1] for t in header.values()), default=0))


def write_frame(file, meta, **arrays):
    """Writes a frame with these metadata and float32 arrays."""
    header, end = {"__metadata__": meta}, 0
    for name, a in arrays.items():
        header[name] = {"dtype": "F32", "shape": a.shape, "data_offsets": [end, end + a.nbytes]}
        end += a.nbytes
    text = json.dumps(header).encode()
    file.write(struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in arrays.values()))
    file.flush()


def ntxent(z, temperature):
    """Returns dz, the loss, the contrastive accuracy and the entropy for z [2B,d].

    Rows 2i and 2i + 1 are the two views of sample i."""
    rows = np.arange(len(z))
    norm = np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    u = z / norm
    s = u @ u.T / temperature
    s[rows, rows] = -np.inf  # a row is not its own candidate
    s -= s.max(axis=1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
    p, positive = np.exp(log_p), rows ^ 1
    ds = p.copy()
    ds[rows, positive] -= 1
    du = (ds + ds.T) @ u / (temperature * len(z))
    dz = (du - u * (u * du).sum(axis=1, keepdims=True)) / norm
    log_p[rows, rows] = 0  # p is 0 there, and 0 times infinity would be NaN
    entropy = -(p * log_p).sum(axis=1).mean()
    return dz, -log_p[rows, positive].mean(), (s.argmax(axis=1) == positive).mean(), entropy


def spread(z):
    """Returns z_std and alignment of z [2B,d]: 0 and 0 if all rows have one direction."""
    u = z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
    z_std = u.std(axis=0).mean() * u.shape[1] ** 0.5
    return z_std, ((u[::2] - u[1::2]) ** 2).sum(axis=1).mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--temperature", type=float, default=0.5)
    temperature = parser.parse_args().temperature
    ended = False
    while (frame := read_frame(sys.stdin.buffer)) is not None:
        header, meta, data = frame
        ended = meta.get("end") == "1"
        if ended:
            continue  # read on, since streams may be concatenated
        if "error" in meta:
            sys.exit("ntxent.py: " + meta["error"])
        shape = header.get("z", {}).get("shape", [])
        if len(shape) != 3 or shape[1] != 2 or header["z"]["dtype"] != "F32":
            sys.exit("ntxent.py: need z F32 [B,2,d]")
        if shape[0] < 2:
            sys.exit("ntxent.py: a single image has no negatives")
        begin, end = header["z"]["data_offsets"]
        z = np.frombuffer(data[begin:end], "<f4").reshape(-1, shape[2]).astype(np.float64)
        dz, loss, accuracy, entropy = ntxent(z, temperature)
        z_std, alignment = spread(z)
        # The reply repeats the request's metadata (seq, step, ...), except the checksum of its data.
        meta.pop("crc32", None)
        meta |= {"loss": f"{loss:.9g}", "contrast_acc": f"{accuracy:.9g}"}
        meta |= {"contrast_entropy": f"{entropy:.9g}"}
        meta |= {"z_std": f"{z_std:.9g}", "alignment": f"{alignment:.9g}"}
        write_frame(sys.stdout.buffer, meta, dz=dz.reshape(shape).astype("<f4"))
    if not ended:
        sys.exit("ntxent.py: stdin broke off without an end frame")
    write_frame(sys.stdout.buffer, {"end": "1"})


if __name__ == "__main__":
    main()
