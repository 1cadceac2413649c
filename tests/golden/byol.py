"""Writes byol.safetensors: BYOL's loss and its gradient from PyTorch, in float64 by autograd.

    /usr/bin/python3 tests/golden/byol.py tests/golden/byol.safetensors

z, target and dz [21,2,13], and loss in the metadata."""

import os
import sys

import numpy as np
import torch
from torch.nn.functional import normalize

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import frames  # noqa: E402

torch.manual_seed(12)
z = torch.randn(21, 2, 13).double().requires_grad_(True)
target = (0.7 * z.detach() + torch.randn(21, 2, 13)).float().double()
p, t = normalize(z, dim=-1), normalize(target, dim=-1)
# Equation 2 for both orders of the views; the mean over the batch of half of their sum.
loss = ((p[:, 0] - t[:, 1]).square().sum(-1) + (p[:, 1] - t[:, 0]).square().sum(-1)).mean() / 2
loss.backward()
with open(sys.argv[1], "wb") as file:
    file.write(frames.pack({name: value.detach().numpy().astype(np.float32) for name, value in
                            {"z": z, "target": target, "dz": z.grad}.items()}, loss=loss.item()))
