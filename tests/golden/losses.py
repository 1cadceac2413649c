"""Writes losses.safetensors: gradients and values of the contrastive losses from PyTorch.

    /usr/bin/python3 tests/golden/losses.py tests/golden/losses.safetensors

z [21,2,13] and y I64 [21] (some -1); z3 [9,3,13] and y3 [9]. For each case dz_CASE in z's shape, and
loss_CASE and accuracy_CASE in the metadata, in float64 by autograd. CASE is
LOSS_NUMBER[_sh][_wSIGMA][_bBETA_pTAU][_raw][_3]: the temperature or margin; semi-hard; dcl's weights;
hcl's beta and tau; not normalized; of z3."""

import os
import sys

import numpy as np
import torch
from torch.nn.functional import logsigmoid, normalize, relu

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import frames  # noqa: E402

torch.manual_seed(11)
torch.set_default_dtype(torch.float64)


def draw(b, v):
    z = torch.randn(b, v, 13) / 13**0.5
    z[:, 1:] += 0.8 * z[:, :1]
    return z.float().double()


def labels(count, unlabeled):
    y = torch.randint(0, 5, (count,))
    y[torch.arange(count) % unlabeled == 1] = -1
    return y


z, y, z3, y3 = draw(21, 2), labels(21, 4), draw(9, 3), labels(9, 3)
tensors = {"z": z.numpy().astype(np.float32), "y": y.numpy(),
           "z3": z3.numpy().astype(np.float32), "y3": y3.numpy()}
meta = {}


def supcon(s, same, t, semi_hard):
    """Khosla et al. 2020, equation 2, as a mean over the rows that have positives."""
    eye = torch.eye(len(s), dtype=torch.bool)
    log_p = (s / t).masked_fill(eye, -torch.inf).log_softmax(dim=1)
    positives = same & ~eye
    rows = positives.any(dim=1)
    each = log_p.masked_fill(~positives, 0).sum(dim=1)[rows] / positives.sum(dim=1)[rows]
    return -each.mean()


def triples(s, same):
    """A row's positive [n,1] and all of its negatives [n,n-2]."""
    n = len(s)
    positive = s[torch.arange(n), torch.arange(n) ^ 1]
    return positive[:, None], s[~same].view(n, n - 2)


def semi(positive, negative):
    """The most similar of the less similar negatives, and -infinity where there is none."""
    return negative.masked_fill(negative >= positive, -torch.inf).amax(dim=1, keepdim=True)


def ntlogistic(s, same, t, semi_hard):
    positive, negative = triples(s, same)
    if semi_hard:
        negative = semi(positive, negative)
    return -(logsigmoid(positive / t) + logsigmoid(-negative / t).mean(dim=1, keepdim=True)).mean()


def triplet(s, same, m, semi_hard):
    positive, negative = triples(s, same)
    if semi_hard:
        negative = semi(positive, negative)
    return relu(negative - positive + m).mean(dim=1).mean()


def dcl(s, same, t, sigma):
    """arXiv 2110.06848, with the weights if there is a sigma."""
    positive, negative = triples(s, same)
    positive = positive[:, 0]
    weight = 2 - len(s) * (positive / float(sigma)).softmax(dim=0) if sigma else 1
    return (-weight * positive / t + (negative / t).logsumexp(dim=1)).mean()


def hcl(s, same, t, settings):
    """arXiv 2010.04592, as in the authors' code (estimator "hard")."""
    beta, tau = settings
    positive, negative = triples(s, same)
    p, n = (positive[:, 0] / t).exp(), (negative / t).exp()
    count = n.shape[1]
    hard = (n ** (1 + beta)).sum(dim=1) / (n ** beta).mean(dim=1)
    g = ((hard - tau * count * p) / (1 - tau)).clamp(min=count * np.exp(-1 / t))
    return -(p / (p + g)).log().mean()


def case(name, loss, z, y, number, semi_hard=False, raw=False, mark=""):
    x = z.clone().requires_grad_(True)
    u = x.flatten(0, 1)
    u = u if raw else normalize(u, dim=1)
    s = u @ u.T
    image = torch.arange(len(u)) // z.shape[1]
    label = y.repeat_interleave(z.shape[1])
    same = (image[:, None] == image) | (label[:, None] == label) & (label[:, None] >= 0)
    value = loss(s, same, float(number), semi_hard)
    value.backward()
    eye = torch.eye(len(s), dtype=torch.bool)
    positives = same & ~eye
    best = s.masked_fill(~positives, -torch.inf).amax(dim=1)
    right = best > s.masked_fill(same, -torch.inf).amax(dim=1)
    mark = mark or "_sh" * bool(semi_hard)
    name = f"{name}_{number}{mark}" + "_raw" * raw + "_3" * (z.shape[1] == 3)
    tensors["dz_" + name] = x.grad.numpy().astype(np.float32)
    meta["loss_" + name] = value.item()
    meta["accuracy_" + name] = right[positives.any(dim=1)].double().mean().item()


alone = torch.full((21,), -1)
for raw in (False, True):
    for t in ("0.05", "0.5", "2"):
        case("ntxent", supcon, z, alone, t, raw=raw)
        case("supcon", supcon, z, y, t, raw=raw)
        case("supcon", supcon, z3, y3, t, raw=raw)
        for semi_hard in (False, True):
            case("ntlogistic", ntlogistic, z, alone, t, semi_hard, raw)
    for m in ("0.1", "0.4", "1.6"):
        for semi_hard in (False, True):
            case("triplet", triplet, z, alone, m, semi_hard, raw)

    for t in ("0.1", "0.5"):
        case("dcl", dcl, z, alone, t, raw=raw)
        case("dcl", dcl, z, alone, t, "0.5", raw, "_w0.5")
        for beta, tau in ((1, 0.1), (0.5, 0.02), (0, 0.1)):
            case("hcl", hcl, z, alone, t, (beta, tau), raw, f"_b{beta}_p{tau}")

with open(sys.argv[1], "wb") as file:
    file.write(frames.pack(tensors, **meta))
