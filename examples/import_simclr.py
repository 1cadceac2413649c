#!/usr/bin/env python3
"""Converts a PyTorch checkpoint of a ResNet to a model with this project's names.

    examples/import_simclr.py resnet50-2x.pth resnet50-2x.safetensors
    encode --arch resnet50 --width 2 --stem imagenet --init resnet50-2x.safetensors ...

It reads three layouts, which it recognizes by the names in the file:
  torchvision  a state of torchvision's ResNets: conv1.weight, layer1.0.conv1.weight, ...
  SimCLR       the same names under "state_dict", of any width, as simclr-converter writes them from
               the official checkpoints
  SimCLRv2     two states under "resnet" and "head": net.0.0.weight, net.1.blocks.0.net.0.weight, ...
               with or without selective kernels, as SimCLRv2-Pytorch writes them from the official
               checkpoints

The classifier fc is left out. A contrastive head becomes the projector of `project`. The script prints
the commands that can use the model. If the checkpoint does not fit, it prints one line that says why,
and writes nothing. It unpickles only tensors, so a checkpoint cannot run code.
"""
import argparse
import json
import os
import re
import struct
import sys

import numpy as np

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
NORM = "weight", "bias", "running_mean", "running_var"


class Misfit(Exception):
    """Says in one line what is wrong with a checkpoint."""


def load(path):
    """Returns the file's states as dictionaries of arrays: the encoder's, and the head's or {}."""
    import torch
    try:
        file = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        raise Misfit(e.strerror) from e
    except Exception as e:  # torch raises exceptions of many kinds here
        raise Misfit("no checkpoint of tensors that PyTorch can load") from e
    states = []
    if isinstance(file, dict) and "resnet" in file:
        states = [file["resnet"], file.get("head") or {}]
    elif isinstance(file, dict):
        states = [file.get("state_dict", file), {}]
    if not states or not all(isinstance(s, dict) for s in states):
        raise Misfit("no dictionary of parameters")
    for state in states:
        for name, v in state.items():
            if not isinstance(name, str) or not isinstance(v, torch.Tensor) or v.is_sparse:
                raise Misfit(f"{name} is no tensor")
            integer = name.endswith("num_batches_tracked")
            if v.is_floating_point() == integer or v.is_complex():
                raise Misfit(f"{name} has type {v.dtype}")
    return [{n: v.detach().to(torch.int64 if n.endswith("num_batches_tracked") else torch.float32)
             .contiguous().numpy() for n, v in s.items()} for s in states]


# ---- names ----

def from_simclr_v2(name, selective):
    """Returns this project's name for a name of SimCLRv2-Pytorch; the same name if it is unknown."""
    parts = name.split(".")
    what = parts[-1]
    if parts[:2] == ["net", "0"]:
        inner = ".".join(parts[2:-1])
        known = {"0": "conv1.0", "1.0": "conv1.1", "2": "conv1.3", "3.0": "conv1.4",
                 "4": "conv1.6", "5.0": "bn1"} if selective else {"0": "conv1", "1.0": "bn1"}
    elif parts[0] == "net" and parts[2:3] == ["blocks"]:
        inner = ".".join(parts[4:-1])
        known = {"projection.bn.0": "downsample.1", "net.0": "conv1", "net.1.0": "bn1"}
        if selective:
            known.update({"projection.shortcut.2": "downsample.0", "net.2.main_conv.0": "conv2",
                          "net.2.main_conv.1.0": "bn2", "net.2.mixing_conv.0": "sk.0",
                          "net.2.mixing_conv.1.0": "sk.1", "net.2.mixing_conv.2": "sk.3",
                          "net.3": "conv3", "net.4.0": "bn3"})
        else:
            known.update({"projection.shortcut": "downsample.0", "net.2": "conv2",
                          "net.3.0": "bn2", "net.4": "conv3", "net.5.0": "bn3"})
        known = {k: f"layer{parts[1]}.{parts[3]}.{v}" for k, v in known.items()}
    else:
        return name
    return f"{known[inner]}.{what}" if inner in known else name


def rename(state):
    """Returns an encoder's state under this project's names, without the classifier."""
    state = {re.sub(r"^module\.", "", n): v for n, v in state.items()}
    if any(n.startswith("net.0.") for n in state):
        selective = any(".mixing_conv." in n for n in state)
        state = {from_simclr_v2(n, selective): v for n, v in state.items()}
    return {n: v for n, v in state.items() if not n.startswith("fc.")}


# ---- architectures ----

def expected(depth, base, selective, cifar):
    """Returns the names and shapes of all parameters and buffers, except num_batches_tracked."""
    shapes = {}

    def conv(name, o, i, kernel):
        shapes[name + ".weight"] = (o, i, kernel, kernel)

    def norm(name, c):
        shapes.update({f"{name}.{what}": (c,) for what in NORM})

    if selective and not cifar:
        half = base // 2
        for name, o, i in (("conv1.0", half, 3), ("conv1.3", half, half), ("conv1.6", base, half)):
            conv(name, o, i, 3)
        norm("conv1.1", half)
        norm("conv1.4", half)
    else:
        conv("conv1", base, 3, 3 if cifar else 7)
    norm("bn1", base)
    i = base
    for stage, blocks in enumerate(BLOCKS[depth]):
        c = base << stage
        o = c if depth < 50 else 4 * c
        for b in range(blocks):
            at = f"layer{stage + 1}.{b}"
            if depth < 50:
                layers = (("conv1", "bn1", c, i, 3), ("conv2", "bn2", c, c, 3))
            else:
                layers = (("conv1", "bn1", c, i, 1), ("conv2", "bn2", 2 * c if selective else c, c, 3),
                          ("conv3", "bn3", o, c, 1))
            if i != o or (stage and b == 0):
                layers += (("downsample.0", "downsample.1", o, i, 1),)
            if selective:
                middle = max(c // 16, 32)
                layers += (("sk.0", "sk.1", middle, c, 1),)
                conv(f"{at}.sk.3", 2 * c, middle, 1)
            for name, its_norm, to, of, kernel in layers:
                conv(f"{at}.{name}", to, of, kernel)
                norm(f"{at}.{its_norm}", to)
            i = o
    return shapes


def recognize(state):
    """Returns (depth, base, selective, cifar) of a renamed state; base is the width of the stem."""
    blocks = tuple(len({n.split(".")[1] for n in state if n.startswith(f"layer{s}.")}) for s in (1, 2, 3, 4))
    bottleneck = "layer1.0.conv3.weight" in state
    for depth, known in BLOCKS.items():
        if known == blocks and (depth >= 50) == bottleneck:
            break
    else:
        raise Misfit("no ResNet of a known depth under known names: "
                     f"{', '.join(map(str, blocks))} blocks in layer1 to layer4")
    if "bn1.weight" not in state or state["bn1.weight"].ndim != 1:
        raise Misfit("no bn1.weight")
    selective = "layer1.0.sk.0.weight" in state
    first = state.get("conv1.weight")
    return depth, len(state["bn1.weight"]), selective, first is not None and first.shape[2:] == (3, 3)


def match(state, shapes):
    """Returns the state in the order of `shapes`. It must hold exactly these tensors."""
    for name, shape in shapes.items():
        if name not in state:
            raise Misfit(f"no tensor {name}")
        if state[name].shape != shape:
            raise Misfit(f"{name} is {list(state[name].shape)}, not {list(shape)}")
    counts = {n.replace("running_var", "num_batches_tracked") for n in shapes if n.endswith("running_var")}
    unknown = sorted(n for n in state if n not in shapes and n not in counts)
    if unknown:
        raise Misfit(f"unknown tensor {unknown[0]}")
    found = {n: state.get(n, np.zeros((), np.int64)).reshape(()) for n in sorted(counts)}
    found.update((n, state[n]) for n in shapes)
    return found


def projector(head):
    """Returns a contrastive head's linear layers and norms, in their order, as projector.{3l} and
    projector.{3l+1}; and its (layers, hidden width, output width)."""
    parts = {}
    for name, v in head.items():
        found = re.fullmatch(r"(?:module\.)?layers\.(\d+)\.(\w+)", name)
        if not found:
            raise Misfit(f"the head has a tensor {name}")
        parts.setdefault(int(found[1]), {})[found[2]] = v
    parts = [parts[i] for i in sorted(parts)]
    layers = len(parts) // 2
    state, shapes, width, hidden = {}, {}, None, 0
    for i, part in enumerate(parts):
        for what, v in part.items():
            state[f"projector.{3 * (i // 2) + i % 2}.{what}"] = v
    for l in range(layers):
        weight = parts[2 * l].get("weight")
        if weight is None or weight.ndim != 2 or (l and weight.shape[1] != width):
            raise Misfit("the head is no chain of linear layers and norms")
        width = len(weight)
        shapes[f"projector.{3 * l}.weight"] = weight.shape
        shapes.update({f"projector.{3 * l + 1}.{what}": (width,) for what in NORM})
        if l < layers - 1:
            if hidden and width != hidden:
                raise Misfit("the head's hidden layers differ in width")
            hidden = width
    if len(parts) % 2 or not 1 <= layers <= 3:
        raise Misfit(f"the head has {len(parts)} parts: 1 to 3 linear layers with a norm each are needed")
    last = f"projector.{3 * layers - 2}.bias"
    if np.any(state.pop(last, 0)):
        raise Misfit("the head's last norm has a bias, which `project` does not have")
    del shapes[last]
    return match(state, shapes), (layers, hidden, width)


# ---- output ----

def write(path, tensors, meta):
    """Writes a safetensors file, which appears when it is complete."""
    header, end = {"__metadata__": meta}, 0
    # Integers, of 8 bytes each, come first, so that all data is aligned.
    tensors = dict(sorted(tensors.items(), key=lambda entry: entry[1].dtype != np.int64))
    for name, v in tensors.items():
        dtype = "I64" if v.dtype == np.int64 else "F32"
        header[name] = {"dtype": dtype, "shape": v.shape, "data_offsets": [end, end + v.nbytes]}
        end += v.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    partial = f"{path}.{os.getpid()}"
    try:
        with open(partial, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            for v in tensors.values():
                f.write(np.ascontiguousarray(v).data)
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)
        raise


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", help="a .pth file")
    parser.add_argument("output", help="the safetensors file to write")
    args = parser.parse_args()
    try:
        encoder, head = load(args.checkpoint)
        state = rename(encoder)
        depth, base, selective, cifar = recognize(state)
        tensors = match(state, expected(depth, base, selective, cifar))
        commands = [f"encode --arch resnet{depth} --width {base / 64:g}{' --sk' * selective} "
                    f"--stem {'cifar' if cifar else 'imagenet'} --init {args.output}"]
        if head:
            found, (layers, hidden, dim) = projector(head)
            tensors = {**tensors, **found}
            commands.append(f"project --layers {layers} --hidden {hidden} --dim {dim} --init {args.output}")
    except ImportError:
        sys.exit("import_simclr.py: needs PyTorch: apt install python3-torch")
    except Misfit as e:
        sys.exit(f"import_simclr.py: {args.checkpoint}: {e}")
    try:
        write(args.output, tensors, {"source": os.path.basename(args.checkpoint)})
    except OSError as e:
        sys.exit(f"import_simclr.py: {args.output}: {e.strerror}")
    print("\n".join(commands))


if __name__ == "__main__":
    main()
