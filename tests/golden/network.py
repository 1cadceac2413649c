#!/usr/bin/python3
"""Writes tests/golden/network/*.safetensors: what PyTorch computes for single operations, blocks,
projection heads and whole ResNets, in float64, for tests/unit/test_network.c to compare with.

  tests/golden/network.py [CASE...]        (Debian's python3-torch and python3-torchvision)

Nothing that goes in is stored: weights, inputs and output gradients are fill(name, n), a hash of
the name and the position that the C test computes as well. Of every tensor that comes out a file
holds its L2 norm under "norm/NAME", and under "NAME" all values, or 1024 (whole networks: 64) at
positions i * 2654435761 mod count. Maps are NHWC. Names: "out", "din", "grad/PARAMETER", and for batch norm's
buffers after the step "after/BUFFER".

Whole networks are compared at 1e-4, which two correct float32 implementations reach only when no
ReLU sits so near its kink that rounding flips it. So seeds of the input are tried until PyTorch's
own float32 gradients agree with its float64 ones to LIMIT, TRIES of them (an environment variable,
60 unless set) from the case's seed on; the best is kept, and the seed is in the metadata. ResNet-50
has not got there yet: of the seeds tried the best agree to 5e-5."""
import os, sys, zlib
import numpy as np, torch, torch.nn as nn, torchvision
from torchvision.models.resnet import BasicBlock, Bottleneck

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import frames

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "network")
LIMIT = 1e-5
TRIES = int(os.environ.get("TRIES", "60"))
SEEDS = {"resnet18_cifar": 1, "resnet18_imagenet": 3, "resnet50_cifar": 15, "resnet50_imagenet": 15}  # found by a search from 0

def fill(name, n):
    """n numbers in [-1, 1), multiples of 2^-23."""
    h = (np.arange(n, dtype=np.uint64) * 0x9E3779B1 + zlib.crc32(name.encode())) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = ((h ^ (h >> np.uint64(shift))) * factor) & 0xFFFFFFFF
    h ^= h >> np.uint64(16)
    return (h >> np.uint64(8)).astype(np.float64) / 2**23 - 1

def set_parameters(m):
    """Weights of variance 2 / fan-in; scales around 1, also where training starts them at 0; biases
    around 1.5, so that few activations are near the ReLUs' kinks
    (the stem's excepted: behind its pooling, all activations would be positive)."""
    for name, v in m.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        u = fill(name, v.numel())
        if v.ndim > 1:
            u = u * np.sqrt(6 / (v.numel() // v.shape[0]))
        elif name.endswith("running_mean") or name == "bn1.bias":
            u = 0.25 * u
        elif name.endswith("bias"):
            u = 1.5 + 0.5 * u
        else:
            u = 1 + 0.25 * u
        v.copy_(torch.from_numpy(u.astype(np.float32).reshape(v.shape)))

def nhwc(t):
    return t.permute(0, 2, 3, 1) if t.ndim == 4 else t

def run(make, shape, seed, train, dtype):
    m = make().eval()
    set_parameters(m)
    m = m.to(dtype).train(train)
    n, h, w, c = shape
    x = torch.from_numpy(fill(f"input {seed}", n * h * w * c).reshape(n, h, w, c)).to(dtype)
    x = (x.permute(0, 3, 1, 2) if h > 0 and not isinstance(m, Head) else x.flatten(1)).contiguous()
    x.requires_grad_(True)
    out = m(x)
    flat = nhwc(out)
    d = torch.from_numpy(fill("dout", flat.numel()).reshape(flat.shape)).to(dtype)
    result = {"out": flat}
    if train:
        flat.backward(d)
        result["din"] = nhwc(x.grad)
        for name, p in m.named_parameters():
            if p.requires_grad:
                result["grad/" + name] = p.grad
        for name, b in m.named_buffers():
            if not name.endswith("num_batches_tracked"):
                result["after/" + name] = b
    return {k: v.detach().double().contiguous().numpy().ravel() for k, v in result.items()}

class Head(nn.Module):
    """1 to 3 layers of Linear and BatchNorm1d, ReLU between them, the last without a bias."""
    def __init__(self, layers, width, hidden, out):
        super().__init__()
        parts = []
        for l in range(layers):
            last = l == layers - 1
            parts += [nn.Linear(width, out if last else hidden, bias=False),
                      nn.BatchNorm1d(out if last else hidden)] + ([] if last else [nn.ReLU()])
            width = hidden
        parts[-1].bias = None
        self.projector = nn.Sequential(*parts)
    def forward(self, x):
        return self.projector(x)

def named(**parts):
    m = nn.Sequential()
    for name, part in parts.items():
        m.add_module(name, part)
    return m

def conv(i, o, kernel, stride):
    return lambda: named(conv1=nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False))

def norm(c, relu):
    return lambda: named(bn1=nn.BatchNorm2d(c), **({"relu": nn.ReLU()} if relu else {}))

def block(kind, i, planes, stride):
    def make():
        o = planes * kind.expansion
        down = None if stride == 1 and i == o else nn.Sequential(
            nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))
        return named(block=kind(i, planes, stride, down))
    return make

def resnet(depth, stem):
    def make():
        m = getattr(torchvision.models, f"resnet{depth}")()
        if stem == "cifar":
            m.conv1, m.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
        m.fc = nn.Identity()
        return m
    return make

# name: module, (images, H, W, C), training
CASES = {
    "conv3x3s1": (conv(8, 12, 3, 1), (4, 7, 6, 8), True),
    "conv3x3s2": (conv(8, 12, 3, 2), (4, 7, 6, 8), True),
    "conv1x1s1": (conv(8, 12, 1, 1), (4, 7, 6, 8), True),
    "conv1x1s2": (conv(8, 12, 1, 2), (4, 7, 6, 8), True),
    "conv7x7s2": (conv(3, 16, 7, 2), (4, 13, 12, 3), True),
    "norm": (norm(8, False), (8, 5, 4, 8), True),
    "norm_relu": (norm(8, True), (8, 5, 4, 8), True),
    "norm_eval": (norm(8, True), (8, 5, 4, 8), False),
    "max_pool": (lambda: named(pool=nn.MaxPool2d(3, 2, 1)), (4, 7, 6, 8), True),
    "average_pool": (lambda: named(pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten()), (4, 7, 6, 8), True),
    "basic": (block(BasicBlock, 8, 8, 1), (8, 6, 6, 8), True),
    "basic_down": (block(BasicBlock, 8, 16, 2), (8, 7, 6, 8), True),
    "bottleneck": (block(Bottleneck, 32, 8, 1), (8, 6, 6, 32), True),
    "bottleneck_down": (block(Bottleneck, 8, 8, 2), (8, 7, 6, 8), True),
    "head1": (lambda: Head(1, 32, 0, 16), (16, 1, 1, 32), True),
    "head2": (lambda: Head(2, 32, 24, 16), (16, 1, 1, 32), True),
    "head3": (lambda: Head(3, 32, 24, 16), (16, 1, 1, 32), True),
    "resnet18_cifar": (resnet(18, "cifar"), (8, 8, 8, 3), True),
    "resnet18_imagenet": (resnet(18, "imagenet"), (8, 32, 32, 3), True),
    "resnet50_cifar": (resnet(50, "cifar"), (8, 16, 16, 3), True),
    "resnet50_imagenet": (resnet(50, "imagenet"), (8, 64, 64, 3), True),
}

def distance(a, b):
    return max(np.linalg.norm(a[k] - b[k]) / (np.linalg.norm(b[k]) + 1e-30) for k in b)

torch.set_num_threads(2)
os.makedirs(FOLDER, exist_ok=True)
for case in sys.argv[1:] or CASES:
    make, shape, train = CASES[case]
    whole = case.startswith("resnet")
    best = None
    first = SEEDS.get(case, 0)
    for seed in range(first, first + (TRIES if whole else 1)):
        want = run(make, shape, seed, train, torch.float64)
        off = distance(run(make, shape, seed, train, torch.float32), want)
        if best is None or off < best[0]:
            best = off, seed, want
        if off < LIMIT:
            break
    off, seed, want = best
    tensors = {}
    for name, v in want.items():
        samples = min(len(v), 64 if whole else 1024)
        at = np.arange(samples) if samples == len(v) else np.arange(samples) * 2654435761 % len(v)
        tensors[name] = v[at].astype(np.float32)
        tensors["norm/" + name] = np.array([np.linalg.norm(v)], np.float32)
    with open(os.path.join(FOLDER, case + ".safetensors"), "wb") as f:
        frames.write(f, tensors, seed=seed)
    print(f"{case}: seed {seed}, float32 differs by {off:.1e}", flush=True)
