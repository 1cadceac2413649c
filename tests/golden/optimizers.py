"""Writes optimizers.safetensors: ten steps of torch.optim's SGD and Adam, in float64.

    /usr/bin/python3 tests/golden/optimizers.py tests/golden/optimizers.safetensors

w/0 [23,7] are parameters, g/1..10 gradients. For each CASE below, w/CASE/1..10 are the parameters
after each step and s/CASE/NAME what the optimizer keeps of that name in the end; its settings and
the rates lr_1..10 are in the metadata. Values are rounded to float32 once."""

import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import frames  # noqa: E402

STEPS = 10
CASES = {
    "sgd": (torch.optim.SGD, dict(momentum=0.9)),
    "plain": (torch.optim.SGD, dict(momentum=0.0, weight_decay=0.01)),
    "nesterov": (torch.optim.SGD, dict(momentum=0.9, weight_decay=5e-4, nesterov=True)),
    "adam": (torch.optim.Adam, dict(betas=(0.9, 0.999), eps=1e-8)),
    "coupled": (torch.optim.Adam, dict(betas=(0.8, 0.99), eps=1e-3, weight_decay=0.1)),
    "adamw": (torch.optim.AdamW, dict(betas=(0.9, 0.999), eps=1e-8, weight_decay=0.3)),
}

torch.manual_seed(11)
torch.set_default_dtype(torch.float64)


def f32(t):
    return t.detach().numpy().astype(np.float32)


tensors, meta = {}, {}
start = torch.randn(23, 7).float().double()
tensors["w/0"] = f32(start)
gradients = []
for step in range(1, STEPS + 1):
    # of all sizes, and a few zeros
    g = torch.randn(23, 7) * 10.0 ** torch.randint(-6, 3, (23, 7))
    g = (g * (torch.rand(23, 7) > 0.05)).float().double()
    gradients.append(g)
    tensors[f"g/{step}"] = f32(g)
    meta[f"lr_{step}"] = 0.05 * (1 + step % 3)
for case, (kind, settings) in CASES.items():
    w = torch.nn.Parameter(start.clone())
    optimizer = kind([w], lr=1.0, **settings)
    for step, g in enumerate(gradients, 1):
        optimizer.param_groups[0]["lr"] = meta[f"lr_{step}"]
        w.grad = g.clone()
        optimizer.step()
        tensors[f"w/{case}/{step}"] = f32(w)
    for name, value in optimizer.state[w].items():
        if torch.is_tensor(value) and value.shape == w.shape:
            tensors[f"s/{case}/{name}"] = f32(value)
    for name, value in settings.items():
        for i, v in enumerate(value if isinstance(value, tuple) else [value]):
            meta[f"{case}_{name}{i + 1 if isinstance(value, tuple) else ''}"] = float(v)

with open(sys.argv[1], "wb") as file:
    file.write(frames.pack(tensors, **meta))
