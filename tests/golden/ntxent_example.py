"""Writes ntxent_example.safetensors: NT-Xent of three batches from PyTorch, for examples/ntxent.py.

    /usr/bin/python3 tests/golden/ntxent_example.py tests/golden/ntxent_example.safetensors

z_I [B,2,d]: one pair, an odd batch, and one that is wider than the others, of sizes 0.1, 1 and 10; for each
temperature T dz_T_I, and in the metadata loss_T_I, contrast_acc_T_I and contrast_entropy_T_I: cross-entropy
over rows with the own one left out, in float64, differentiated by autograd."""

import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import frames  # noqa: E402


def reference(z, temperature):
    z = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    flat = torch.nn.functional.normalize(z.flatten(0, 1), dim=1)
    n = len(flat)
    s = flat @ flat.T / temperature
    candidates = s[~torch.eye(n, dtype=torch.bool)].view(n, n - 1)
    # Row i's positive is i ^ 1; without its own column, later columns move up by one.
    target = torch.tensor([(i ^ 1) - ((i ^ 1) > i) for i in range(n)])
    loss = torch.nn.functional.cross_entropy(candidates, target)
    loss.backward()
    p = candidates.softmax(dim=1)
    entropy = -(p * p.log()).sum(dim=1).mean()
    accuracy = (candidates.argmax(dim=1) == target).double().mean()
    return z.grad.numpy(), {"loss": loss.item(), "contrast_acc": accuracy.item(), "contrast_entropy": entropy.item()}


random = np.random.default_rng(3)
tensors, meta = {}, {}
for i, (b, d) in enumerate([(1, 3), (9, 16), (33, 128)]):
    z = random.normal(size=(b, 2, d))
    z[:, 1] = 0.4 * z[:, 0] + z[:, 1]
    z = (z * 10.0 ** (i - 1)).astype(np.float32)
    tensors[f"z_{i}"] = z
    for temperature in ("0.5", "0.1"):
        dz, numbers = reference(z, float(temperature))
        tensors[f"dz_{temperature}_{i}"] = dz.astype(np.float32)
        meta |= {f"{key}_{temperature}_{i}": repr(value) for key, value in numbers.items()}
with open(sys.argv[1], "wb") as file:
    frames.write(file, tensors, **meta)
