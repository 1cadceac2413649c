#!/usr/bin/python3
"""What tests/bench/run compares with: PyTorch on the same machine.

    torch_step.py step DEPTH PIXELS VIEWS THREADS fp32|bf16 plain|channels-last
        a training step, without augmentation
    torch_step.py ntxent B THREADS

After two rounds to warm up it prints `ready`; then each line on stdin makes it do a round and
print the seconds that this took."""
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision


def nt_xent(z, temperature=0.5):
    """Rows i and i + B are a pair."""
    b = len(z) // 2
    z = F.normalize(z, dim=1)
    s = z @ z.t() / temperature
    s = s.masked_fill(torch.eye(2 * b, dtype=torch.bool), -1e9)
    return F.cross_entropy(s, torch.cat([torch.arange(b) + b, torch.arange(b)]))


def make_step(depth, pixels, views, threads, precision, layout):
    torch.set_num_threads(int(threads))
    encoder = getattr(torchvision.models, f"resnet{depth}")()
    if int(pixels) <= 64:
        encoder.conv1, encoder.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    width, encoder.fc = encoder.fc.in_features, nn.Identity()
    head = nn.Sequential(nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
                         nn.Linear(width, 128, bias=False), nn.BatchNorm1d(128))
    order = torch.channels_last if layout == "channels-last" else torch.contiguous_format
    encoder = encoder.to(memory_format=order)
    optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], 0.1, momentum=0.9)
    x = torch.randn(int(views), 3, int(pixels), int(pixels))
    x = x.contiguous(memory_format=order)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            z = head(encoder(x))
        nt_xent(z.float()).backward()
        optimizer.step()

    return step


def make_ntxent(b, threads):
    torch.set_num_threads(int(threads))
    z = torch.randn(2 * int(b), 128, requires_grad=True)
    return lambda: nt_xent(z).backward()


def main():
    work = {"step": make_step, "ntxent": make_ntxent}[sys.argv[1]](*sys.argv[2:])
    for _ in range(2):  # the allocator needs both
        work()
    print("ready\t0", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        print(f"{time.perf_counter() - start:.9f}", flush=True)


main()
