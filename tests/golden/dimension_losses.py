"""Writes dimension_losses.safetensors: gradients and values of the losses that compare dimensions,
from PyTorch in float64 by autograd.

    /usr/bin/python3 tests/golden/dimension_losses.py tests/golden/dimension_losses.safetensors

The rows are z_tall [21,2,13], z_wide [5,2,37], z_few [2,2,3], and z_uneven [5,2,37], whose columns
differ in length by up to 1000 and of which some are constant. For each case dz_CASE in its z's shape,
and loss_CASE in the metadata. CASE is barlow_LAMBDA_Z or vicreg_SIM_VAR_COV_Z. The formulas follow the
papers' pseudocode (arXiv 2103.03230, algorithm 1; 2105.04906, algorithm 1)."""

import os
import sys

import numpy as np
import torch
from torch.nn.functional import batch_norm, mse_loss, relu

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import frames  # noqa: E402

torch.manual_seed(12)
torch.set_default_dtype(torch.float64)


def draw(b, d):
    z = torch.randn(b, 2, d)
    z[:, 1] = 0.8 * z[:, 0] + 0.6 * z[:, 1]
    return z


rows = {"tall": draw(21, 13), "wide": draw(5, 37), "few": draw(2, 3), "uneven": draw(5, 37)}
rows["uneven"] *= 0.02
rows["uneven"][:, :, 7] *= 1000
rows["uneven"][:, :, 20:30] = -3
rows = {name: z.float().double() for name, z in rows.items()}
tensors = {"z_" + name: z.numpy().astype(np.float32) for name, z in rows.items()}
meta = {}


def off_diagonal(x):
    n = x.shape[0]
    return x.flatten()[:-1].view(n - 1, n + 1)[:, 1:].flatten()


def barlow(x, y, weight):
    x, y = (batch_norm(a, None, None, training=True, eps=1e-5) for a in (x, y))
    c = x.T @ y / len(x)
    return torch.diagonal(c).add(-1).pow(2).sum() + weight * off_diagonal(c).pow(2).sum()


def vicreg(x, y, sim, var, cov):
    n, d = x.shape
    loss = sim * mse_loss(x, y)
    for a in (x, y):
        a = a - a.mean(dim=0)
        loss = loss + var * relu(1 - torch.sqrt(a.var(dim=0) + 1e-4)).mean() / 2
        loss = loss + cov * off_diagonal(a.T @ a / (n - 1)).pow(2).sum() / d
    return loss


for loss, numbers in (barlow, "0.0051"), (barlow, "1"), (vicreg, "25_25_1"), (vicreg, "1_4_3"):
    for name, z in rows.items():
        z = z.clone().requires_grad_(True)
        value = loss(z[:, 0], z[:, 1], *(float(x) for x in numbers.split("_")))
        value.backward()
        case = f"{loss.__name__}_{numbers}_{name}"
        tensors["dz_" + case] = z.grad.numpy().astype(np.float32)
        meta["loss_" + case] = value.item()

with open(sys.argv[1], "wb") as file:
    file.write(frames.pack(tensors, **meta))
