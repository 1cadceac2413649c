#!/usr/bin/python3
"""Measures PyTorch on the same machine, for the comparison of tests/bench/run.

    torch_step.py step DEPTH PIXELS VIEWS THREADS fp32|tf32|bf16 plain|channels-last [cpu|cuda]
        a training step, without augmentation; on a GPU, fp32 products are not rounded to TF32
    torch_step.py ntxent|dcl|hcl|barlow|vicreg B DIM THREADS
        a loss with its defaults, and its gradient
    torch_step.py views simclr|simclr-cifar SIZE SOURCE COUNT
        two views of each of COUNT images on one thread, in float32, by torchvision and PIL; SOURCE
        is a frame of images, or a folder of JPEGs that are opened one by one; processor time
    torch_step.py jpegs FRAME FOLDER QUALITY
        writes the frame's images there, and does nothing else

After two warm-up rounds it prints `ready`. Then it does one round for each line on stdin, and prints
the seconds that the round took."""
import functools
import glob
import itertools
import json
import math
import struct
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
    s = s.masked_fill(torch.eye(2 * b, dtype=torch.bool, device=z.device), -1e9)
    return F.cross_entropy(s, torch.arange(2 * b, device=z.device).roll(b))


def make_step(depth, pixels, views, threads, precision, layout, device="cpu"):
    torch.set_num_threads(int(threads))
    encoder = getattr(torchvision.models, f"resnet{depth}")()
    if int(pixels) <= 64:
        encoder.conv1, encoder.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    width, encoder.fc = encoder.fc.in_features, nn.Identity()
    head = nn.Sequential(nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
                         nn.Linear(width, 128, bias=False), nn.BatchNorm1d(128))
    order = torch.channels_last if layout == "channels-last" else torch.contiguous_format
    encoder, head = encoder.to(device, memory_format=order), head.to(device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], 0.1, momentum=0.9)
    x = torch.randn(int(views), 3, int(pixels), int(pixels))
    x = x.contiguous(memory_format=order).to(device)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=precision == "bf16"):
            z = head(encoder(x))
        nt_xent(z.float()).backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def pairs(z, temperature):
    """The similarities of all other rows, those of the positives, and the mask of the negatives."""
    n = len(z)
    z = F.normalize(z, dim=1)
    s = z @ z.t() / temperature
    negatives = torch.ones(n, n, dtype=torch.bool).fill_diagonal_(False)
    negatives[torch.arange(n), torch.arange(n).roll(n // 2)] = False
    return s, s.diagonal(n // 2).repeat(2), negatives


def dcl(z, temperature=0.1):
    s, positive, negatives = pairs(z, temperature)
    return (s.masked_fill(~negatives, -1e9).logsumexp(dim=1) - positive).mean()


def hcl(z, temperature=0.5, beta=1.0, tau=0.1):
    s, positive, negatives = pairs(z, temperature)
    n = len(z) - 2
    p, e = positive.exp(), s.exp() * negatives
    weight = e**beta
    hard = (weight * e).sum(dim=1) / (weight.sum(dim=1) / n)
    least = n * math.exp(-1 / temperature)
    g = ((hard - tau * n * p) / (1 - tau)).clamp(min=least)
    return -(p / (p + g)).log().mean()


def off_diagonal(c):
    n = len(c)
    return c.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten()


def barlow(z, weight=0.0051):
    x, y = (F.batch_norm(a, None, None, training=True) for a in z.chunk(2))
    c = x.t() @ y / len(x)
    return c.diagonal().add(-1).pow(2).sum() + weight * off_diagonal(c).pow(2).sum()


def vicreg(z, sim=25.0, var=25.0, cov=1.0):
    b, d = len(z) // 2, z.shape[1]
    x, y = z.chunk(2)
    loss = sim * F.mse_loss(x, y)
    for a in (x, y):
        a = a - a.mean(dim=0)
        loss = loss + var * F.relu(1 - torch.sqrt(a.var(dim=0) + 1e-4)).mean() / 2
        loss = loss + cov * off_diagonal(a.t() @ a / (b - 1)).pow(2).sum() / d
    return loss


LOSSES = {"ntxent": nt_xent, "dcl": dcl, "hcl": hcl, "barlow": barlow, "vicreg": vicreg}


def make_loss(name, b, dim, threads):
    torch.set_num_threads(int(threads))
    z = torch.randn(2 * int(b), int(dim), requires_grad=True)

    def work():
        z.grad = None
        LOSSES[name](z).backward()

    return work


def read_images(path):
    from PIL import Image
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        count, height, width, _ = header["x"]["shape"]
        return [Image.frombytes("RGB", (width, height), f.read(3 * width * height))
                for _ in range(count)]


def write_jpegs(frame, folder, quality):
    for i, image in enumerate(read_images(frame)):
        image.save(f"{folder}/{i:05}.jpg", quality=int(quality))


def views_of(policy, size):
    from torchvision import transforms as T
    strength = 0.5 if policy == "simclr-cifar" else 1.0
    jitter = T.ColorJitter(*[0.8 * strength] * 3, 0.2 * strength)
    blur = T.GaussianBlur(size // 10 | 1, (0.1, 2.0))
    return T.Compose([
        T.RandomResizedCrop(size, (0.08, 1), interpolation=T.InterpolationMode.BICUBIC),
        T.RandomHorizontalFlip(), T.RandomApply([jitter], 0.8), T.RandomGrayscale(0.2),
        *([T.RandomApply([blur], 0.5)] if policy == "simclr" else []), T.ToTensor()])


def make_views(policy, size, source, count):
    from PIL import Image
    torch.set_num_threads(1)
    view = views_of(policy, int(size))
    names = sorted(glob.glob(f"{source}/*.jpg"))
    opened = (Image.open(name).convert("RGB") for name in itertools.cycle(names))
    images = opened if names else itertools.cycle(read_images(source))

    def batch():
        some = list(itertools.islice(images, int(count)))
        torch.stack([view(image) for image in some for _ in range(2)])

    return batch


def main():
    if sys.argv[1] == "jpegs":
        write_jpegs(*sys.argv[2:])
        return
    makers = {"step": make_step, "views": make_views}
    makers |= {name: functools.partial(make_loss, name) for name in LOSSES}
    work = makers[sys.argv[1]](*sys.argv[2:])
    clock = time.process_time if sys.argv[1] == "views" else time.perf_counter
    for _ in range(2):  # the allocator needs both
        work()
    print("ready\t0", flush=True)
    for _ in sys.stdin:
        start = clock()
        work()
        print(f"{clock() - start:.9f}", flush=True)


main()
