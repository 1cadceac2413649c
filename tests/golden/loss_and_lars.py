"""Writes loss_and_lars.safetensors: NT-Xent, LARS and the learning rate from PyTorch.

    /usr/bin/python3 tests/golden/loss_and_lars.py tests/golden/loss_and_lars.safetensors

z [21,2,13]; for each temperature T dz_T [21,2,13], and in the metadata loss_T, accuracy_T and
entropy_T: cross-entropy over each row's candidates in float64, differentiated by autograd.

LARS: w/NAME/0 are parameters (a matrix, a convolution, a bias, and a matrix of zeros), g/NAME/1..3
the gradients of three steps, w/NAME/1..3 and v/NAME/1..3 parameters and momentum after each, in
float64 and rounded once. lr_1..3, weight_decay, eta and momentum are in the metadata.
clip/w and clip/v: the same with the trust ratio clipped, and clip_eta. solo/w: the same gradients at
the constant rate lr_1 without weight decay, in the order of solo-learn's operations, where the rate is
outside the momentum and eps = 1e-8 is added to the gradient's norm.

rate_CASE F32 [steps]: the learning rate by torch's schedulers, for the settings in the metadata
CASE = "lr base_lr sqrt warmup_steps constant steps steps_per_epoch batch" (lr, base_lr -1: unset)."""

import math
import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import frames  # noqa: E402

torch.manual_seed(5)
torch.set_default_dtype(torch.float64)
tensors, meta = {}, {}


def f32(t):
    return t.detach().numpy().astype(np.float32)


def loss(z, temperature):
    u = torch.nn.functional.normalize(z.flatten(0, 1), dim=1)
    n = len(u)
    s = (u @ u.T / temperature).masked_fill(torch.eye(n, dtype=torch.bool), -math.inf)
    target = torch.arange(n) ^ 1
    log_p = s.log_softmax(dim=1)
    entropy = -(log_p.exp() * log_p.nan_to_num(neginf=0)).sum(dim=1).mean()
    right = (s.argmax(dim=1) == target).double().mean()
    return torch.nn.functional.cross_entropy(s, target), right, entropy


z = torch.randn(21, 2, 13)
z[:, 1] += 0.8 * z[:, 0]
z = z.float().double()
tensors["z"] = f32(z)
for temperature in ("0.05", "0.1", "0.5", "1"):
    z.grad = None
    z.requires_grad_(True)
    value, right, entropy = loss(z, float(temperature))
    value.backward()
    tensors["dz_" + temperature] = f32(z.grad)
    meta["loss_" + temperature] = value.item()
    meta["accuracy_" + temperature] = right.item()
    meta["entropy_" + temperature] = entropy.item()


class LARS(torch.optim.Optimizer):
    """The official form: the rate inside the momentum; vectors are neither decayed nor adapted."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for w in group["params"]:
                update, trust = w.grad, 1.0
                if w.ndim > 1:
                    update = update + group["weight_decay"] * w
                    wn, gn = w.norm(), update.norm()
                    trust = group["eta"] * wn / gn if wn > 0 and gn > 0 else 1.0
                    if group["clip"] and wn > 0 and gn > 0:
                        clipped.add(bool(trust / group["lr"] > 1))
                        trust = min(trust / group["lr"], 1)
                v = self.state[w].setdefault("v", torch.zeros_like(w))
                v.mul_(group["momentum"]).add_(group["lr"] * trust * update)
                w.sub_(v)


clipped = set()  # whether trust ratios were clipped
rates = [0.3, 1.7, 0.02]
hyper = dict(weight_decay=1e-2, eta=1e-3, momentum=0.9)
shapes = {"matrix": (7, 11), "conv": (3, 2, 3, 3), "bias": (19,), "zeros": (4, 5)}
params = {}
for name, shape in shapes.items():
    start = torch.zeros(shape) if name == "zeros" else torch.randn(shape).float().double()
    params[name] = torch.nn.Parameter(start)
    tensors[f"w/{name}/0"] = f32(start)
optimizer = LARS(params.values(), dict(lr=0.0, clip=False, **hyper))
for step, rate in enumerate(rates, 1):
    for group in optimizer.param_groups:
        group["lr"] = rate
    meta[f"lr_{step}"] = rate
    for name, w in params.items():
        w.grad = torch.randn(w.shape).float().double() * 10.0 ** (step - 2)
        w.grad = w.grad.float().double()
        tensors[f"g/{name}/{step}"] = f32(w.grad)
    optimizer.step()
    for name, w in params.items():
        tensors[f"w/{name}/{step}"] = f32(w)
        tensors[f"v/{name}/{step}"] = f32(optimizer.state[w]["v"])
meta.update({key: str(value) for key, value in hyper.items()})


def again(case, optimizer_of):
    """Takes the three steps with another optimizer."""
    params = {name: torch.nn.Parameter(torch.tensor(tensors[f"w/{name}/0"]).double()) for name in shapes}
    optimizer = optimizer_of(params.values())
    for step, rate in enumerate(rates, 1):
        for group in optimizer.param_groups:
            group["lr"] = rate if case == "clip" else rates[0]
        for name, w in params.items():
            w.grad = torch.tensor(tensors[f"g/{name}/{step}"]).double()
        optimizer.step()
        for name, w in params.items():
            tensors[f"{case}/w/{name}/{step}"] = f32(w)
            if case == "clip":
                tensors[f"{case}/v/{name}/{step}"] = f32(optimizer.state[w]["v"])


class Solo(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                d = p.grad
                if p.ndim > 1 and p.norm() != 0 and d.norm() != 0:
                    local = group["eta"] * p.norm() / (d.norm() + 1e-8)
                    d = d * min(local / group["lr"], 1)
                buffer = self.state[p].setdefault("buffer", torch.zeros_like(p))
                buffer.mul_(group["momentum"]).add_(d)
                p.sub_(group["lr"] * buffer)


meta["clip_eta"] = "0.05"
again("clip", lambda p: LARS(p, dict(lr=0.0, clip=True, **{**hyper, "eta": 0.05})))
assert clipped == {True, False}
again("solo", lambda p: Solo(p, dict(lr=0.0, eta=0.05, momentum=hyper["momentum"])))


def rate(case, lr, base_lr, sqrt, warmup, constant, steps, per_epoch, batch):
    base = base_lr if base_lr >= 0 else 0.075 if sqrt else 0.3
    peak = lr if lr >= 0 else base * (math.sqrt(batch) if sqrt else batch / 256)
    dummy = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(dummy, max(1, steps - warmup))
    values = [peak * step / warmup for step in range(warmup)]
    while len(values) < steps:
        values.append(peak if constant else dummy.param_groups[0]["lr"])
        dummy.step()
        cosine.step()
    tensors["rate_" + case] = np.array(values[:steps], np.float32)
    meta[case] = f"{lr} {base_lr} {int(sqrt)} {warmup} {int(constant)} {steps} {per_epoch} {batch}"


rate("linear", -1, -1, False, 10, False, 40, 20, 512)
rate("sqrt", -1, -1, True, 0, False, 25, 5, 128)
rate("base", -1, 0.5, False, 3, True, 12, 4, 64)
rate("peak", 0.25, 9.0, True, 7, False, 30, 3, 4096)
rate("long", 0.1, -1, False, 50, False, 20, 10, 256)

with open(sys.argv[1], "wb") as file:
    file.write(frames.pack(tensors, **meta))
