#!/usr/bin/python3
"""Repeats steps of BYOL (arXiv 2006.07733) or MoCo (arXiv 1911.05722) in PyTorch, in float64 and float32.

    byol.py ROOT EMA [QUEUE]   (with QUEUE it is MoCo, at temperature 0.2) reads views.st, join.st (of the encoder, the head and the predictor), the metrics
                       m.st and the optimizer's state.st; see byol.sh

The losses must agree with float64 within 1e-5. The changes of all tensors (parameters, running
statistics, slow copies) must be as close to float64's as float32's are, up to a factor."""

import copy
import sys

import numpy as np
import torch
import torchvision
from torch import nn

root, ema = sys.argv[1], float(sys.argv[2])
queue_size = int(sys.argv[3]) if len(sys.argv) > 3 else 0
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402


def load(path):
    with open(path, "rb") as file:
        return list(frames.read_all(file))


class Network(nn.Module):
    """The encoder, the head and the predictor, with the names that they have in frames."""

    def __init__(self, start):
        super().__init__()
        self.encoder = torchvision.models.resnet18()
        self.encoder.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.encoder.maxpool = self.encoder.fc = nn.Identity()
        self.projector = self.head(start, "projector", norm=True)
        self.predictor = nn.Identity() if queue_size else self.head(start, "predictor", norm=False)
        self.load(start)

    @staticmethod
    def head(start, part, norm):
        hidden, width = start[part + ".0.weight"].shape
        out = start[part + ".3.weight"].shape[0]
        layers = [nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(),
                  nn.Linear(hidden, out, bias=False)]
        return nn.Sequential(*layers, *([nn.BatchNorm1d(out)] if norm else []))

    def tensors(self):
        """The tensors by their names in frames. The head's last norm has a bias that stays zero."""
        return {name.removeprefix("encoder."): value for name, value in self.state_dict(keep_vars=True).items()
                if name != "projector.4.bias"}

    def load(self, start):
        own = self.tensors()
        assert set(own) == set(start), set(own) ^ set(start)
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(torch.from_numpy(np.array(start[name])))


def train(start, views, rates, dtype):
    """Returns the losses, and the tensors and slow copies after these steps."""
    online = Network(start).to(dtype).train()
    target = copy.deepcopy(online)
    parameters = {n: t for n, t in online.tensors().items() if isinstance(t, nn.Parameter)}
    momentum = {n: torch.zeros_like(p) for n, p in parameters.items()}
    losses = []
    for x, rate in zip(views, rates):
        x = torch.from_numpy(x.astype(np.float64) / 255).to(dtype).flatten(0, 1).permute(0, 3, 1, 2)
        p = online.predictor(online.projector(online.encoder(x)))
        with torch.no_grad():
            t = target.projector(target.encoder(x))
        u, v = nn.functional.normalize(p, dim=1), nn.functional.normalize(t, dim=1)
        other = v.view(-1, 2, v.shape[1]).flip(1).flatten(0, 1)
        if queue_size:  # one positive, and the queue's rows as negatives; then all targets enter it
            queue = v.new_zeros(0, v.shape[1]) if not losses else queue
            logits = torch.cat([(u * other).sum(dim=1, keepdim=True), u @ queue.T], dim=1) / 0.2
            loss = nn.functional.cross_entropy(logits, torch.zeros(len(u), dtype=torch.long))
            queue = torch.cat([queue, v])[-queue_size:]
        else:
            loss = (2 - 2 * (u * other).sum(dim=1)).mean()
        gradients = torch.autograd.grad(loss, parameters.values())
        losses.append(loss.item())
        with torch.no_grad():
            for (name, w), g in zip(parameters.items(), gradients):
                momentum[name].mul_(0.9).add_(g)
                w -= rate * momentum[name]
            slow = {n: t for n, t in target.tensors().items() if n in parameters}
            for name, w in parameters.items():
                slow[name] += (1 - ema) * (w - slow[name])
    after = {n: t.detach().double().numpy() for n, t in online.tensors().items() if t.dtype.is_floating_point}
    after |= {"ema/" + n: t.detach().double().numpy() for n, t in slow.items() if not n.startswith("predictor.")}
    return losses, after


start = {}
for tensors, meta in load("join.st"):
    if meta.get("kind") == "join":
        start |= tensors
views = [tensors["x"] for tensors, _ in load("views.st")]
metas = [meta for _, meta in load("m.st")]
rates = [float(meta["lr"]) for meta in metas]
exact, want = train(start, views, rates, torch.float64)
single, near = train(start, views, rates, torch.float32)
state = load("state.st")[0][0]
ours = [float(meta["loss"]) for meta in metas]
print("losses:", ours, "PyTorch in float64:", exact, "in float32:", single)
assert len(ours) == 3 and np.abs(np.array(ours) - exact).max() <= 1e-5
assert set(want) == {n for n, t in state.items() if t.dtype == np.float32 and not n.startswith(("momentum/", "loss."))}


def error(of, names):
    """The distance of all these tensors' changes from float64's, relative to these."""
    change = [want[n] - start[n.removeprefix("ema/")] for n in names]
    off = [of[n].astype(np.float64) - want[n] for n in names]
    return np.sqrt(sum((o ** 2).sum() for o in off) / sum((c ** 2).sum() for c in change))


groups = {"encoder": [n for n in want if "/" not in n and not n.startswith("pr") and "running" not in n],
          "projector": [n for n in want if n.startswith("projector.") and "running" not in n],
          "predictor": [n for n in want if n.startswith("predictor.") and "running" not in n],
          "statistics": [n for n in want if "running" in n],
          "slow encoder": [n for n in want if n.startswith("ema/") and not n.startswith("ema/pr")],
          "slow projector": [n for n in want if n.startswith("ema/projector.")]}
for group, names in groups.items():
    if group == "predictor" and queue_size:
        continue
    assert names, group
    mine, torchs = error(state, names), error(near, names)
    print(f"{group}: {len(names)} tensors, error of their change {mine:.2g}; PyTorch in float32: {torchs:.2g}")
    assert mine <= max(3 * torchs, 1e-5), group
