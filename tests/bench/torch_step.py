#!/usr/bin/python3
"""What tests/bench/run compares with: PyTorch on the same machine. Prints seconds, and peak memory.

    torch_step.py step DEPTH PIXELS VIEWS THREADS STEPS    a whole training step, augmentation excluded
    torch_step.py ntxent B THREADS"""
import resource
import statistics
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


def time_step(depth, pixels, views, threads, steps):
    torch.set_num_threads(threads)
    encoder = getattr(torchvision.models, f"resnet{depth}")()
    if pixels <= 64:
        encoder.conv1, encoder.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    width, encoder.fc = encoder.fc.in_features, nn.Identity()
    head = nn.Sequential(nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
                         nn.Linear(width, 128, bias=False), nn.BatchNorm1d(128))
    encoder = encoder.to(memory_format=torch.channels_last)
    weights = list(encoder.parameters()) + list(head.parameters())
    optimizer = torch.optim.SGD(weights, 0.1, momentum=0.9)
    x = torch.randn(views, 3, pixels, pixels).contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        nt_xent(head(encoder(x))).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def time_ntxent(b, threads):
    torch.set_num_threads(threads)
    z = torch.randn(2 * b, 128, requires_grad=True)
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        nt_xent(z).backward()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


what, numbers = sys.argv[1], [int(n) for n in sys.argv[2:]]
seconds = {"step": time_step, "ntxent": time_ntxent}[what](*numbers)
print(f"seconds\t{seconds:.6f}")
print(f"peak_kib\t{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}")
