#!/usr/bin/python3
"""Writes what the tests of PyTorch's files compare with: tests/data/torch/*.pt and
tests/golden/torch_files.safetensors, whose tensor FILE/NAME is the tensor NAME of FILE.pt.

    /usr/bin/python3 tests/golden/torch_files.py
    /usr/bin/python3 tests/golden/torch_files.py FOLDER PROGRAM

The second form writes every object in every form and protocol into FOLDER, lets PROGRAM FILE OUT
turn each file into a frame, and compares the frames with PyTorch's values. It needs Debian's
python3-torch and python3-numpy (made with PyTorch 1.13.0, numpy 1.24.2)."""

import argparse
import collections
import os
import subprocess
import sys
import zipfile

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import frames  # noqa: E402

DATA = os.path.join(os.path.dirname(HERE), "data", "torch")
TYPES = ("float16 bfloat16 float32 float64 int64 int32 int16 int8 uint8 bool").split()


class Settings(dict):
    """A class that only the program knows which wrote the file."""


class Odd:
    def __init__(self):
        self.weights = torch.ones(2)


def network():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(5, 2))


def objects():
    base = torch.arange(48, dtype=torch.float32).reshape(6, 8) / 7
    net = network()
    noted = torch.tensor([1.0, 2.0])
    noted.note = "an attribute"
    momentum = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    momentum.step()
    yield "types", {name: (torch.arange(-3, 4) / 2).to(getattr(torch, name)) for name in TYPES}
    yield "views", {
        "base": base, "transposed": base.t(), "column": base[:, 3], "part": base[1:5:2, 2:7:3],
        "permuted": torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1), "scalar": torch.tensor(2.5),
        "expanded": torch.tensor([1.0, 2.0]).expand(3, 2), "empty": torch.zeros(0, 3), "one": base[2:3, 4:5],
        "noted": noted, "last": torch.arange(5)[4:]}
    yield "trainer", {
        "epoch": 3, "arch": "resnet18", "state_dict": torch.nn.DataParallel(net).state_dict(),
        "hyper_parameters": argparse.Namespace(lr=0.1, sizes=torch.Size([1, 2])),
        "optimizer_states": [momentum.state_dict()], "best": np.float64(3.5), "curve": np.array([1.0, 2.0]),
        "nested": [{"x": torch.ones(2)}, (torch.zeros(1),)], "settings": Settings(a=1), "odd": Odd(),
        "defaults": collections.defaultdict(list, {"k": torch.ones(3)}), "seen": {1, 2}, "device": torch.device("cpu"),
        "dtype": torch.float32, 7: torch.tensor([7])}
    yield "parameters", dict(net.named_parameters())


def tensors_of(thing, name=""):
    if isinstance(thing, torch.Tensor):
        value = thing.detach()
        value = value.float() if value.is_floating_point() else value.long()
        yield name, value.contiguous().numpy()
    elif isinstance(thing, (list, tuple)) and not isinstance(thing, torch.Size):
        thing = dict(enumerate(thing))
    if isinstance(thing, dict) and not isinstance(thing, Settings):
        for key, value in thing.items():
            yield from tensors_of(value, f"{name}.{key}" if name else str(key))


def deflate(path, packed):
    """Writes the same archive again, as people do who repair or shrink one: with the sizes of zip64,
    and with another name than ASCII can write."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            name = "\u0444\u0430\u0439\u043b/" + entry.filename.split("/", 1)[1]
            with new.open(zipfile.ZipInfo(name), "w", force_zip64=True) as out:
                out.write(old.read(entry))


def golden():
    os.makedirs(DATA, exist_ok=True)
    values = {}
    for name, thing in objects():
        for form in "zip", "old":
            torch.save(thing, f"{DATA}/{name}_{form}.pt", _use_new_zipfile_serialization=form == "zip")
            values |= {f"{name}_{form}/{key}": value for key, value in tensors_of(thing)}
    with open(os.path.join(HERE, "torch_files.safetensors"), "wb") as out:
        frames.write(out, values)


def compare(path, want, program):
    made = subprocess.run([program, path, path + ".st"], capture_output=True, text=True)
    if made.returncode:
        sys.exit(f"{path}: {made.stderr}")
    with open(path + ".st", "rb") as file:
        (got, _), = frames.read_all(file)
    if set(got) != set(want):
        sys.exit(f"{path}: {sorted(set(got) ^ set(want))}")
    for key, value in want.items():
        if got[key].dtype != value.dtype or got[key].shape != value.shape or got[key].tobytes() != value.tobytes():
            sys.exit(f"{path}: {key} differs")


def wide(folder, program):
    count = 0
    for name, thing in objects():
        want = dict(tensors_of(thing))
        for protocol in 2, 3, 4, 5:
            for form in "zip", "old":
                path = f"{folder}/{name}_{form}{protocol}.pt"
                torch.save(thing, path, _use_new_zipfile_serialization=form == "zip", pickle_protocol=protocol)
                compare(path, want, program)
                count += 1
            deflate(f"{folder}/{name}_zip{protocol}.pt", f"{folder}/{name}_deflated{protocol}.pt")
            compare(f"{folder}/{name}_deflated{protocol}.pt", want, program)
            count += 1
    print(count, "files")


def refused(folder):
    """Files that must be refused, each with another tensor named "odd"."""
    fine = torch.ones(2)
    for name, tensor in {
        "sparse": fine.to_sparse(), "complex": fine.to(torch.complex64),
        "quantized": torch.quantize_per_tensor(fine, 0.1, 0, torch.qint8),
        "infinite": torch.tensor([1.0, np.inf], dtype=torch.float64), "large": torch.tensor([1e39], dtype=torch.float64),
    }.items():
        for form in "zip", "old":
            torch.save({"fine": fine, "odd": tensor}, f"{folder}/{name}_{form}.pt",
                       _use_new_zipfile_serialization=form == "zip")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), f"{folder}/script.pt")
    torch.save(network(), f"{folder}/module_zip.pt")
    torch.save(network(), f"{folder}/module_old.pt", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        golden()
    elif sys.argv[1] == "refused":
        refused(sys.argv[2])
    else:
        wide(*sys.argv[1:])
