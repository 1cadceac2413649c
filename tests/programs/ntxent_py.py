"""Holds examples/ntxent.py against PyTorch in float64; run by tests/programs/ntxent_py.sh."""

import subprocess
import sys

import numpy as np
import torch

root = sys.argv[1]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402


def reference(z, temperature):
    """Loss, gradient, accuracy and entropy from cross-entropy over rows with the own one left out."""
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
    return z.grad.numpy(), loss.item(), accuracy.item(), entropy.item()


random = np.random.default_rng(3)
for temperature in ("0.5", "0.1"):
    requests = []
    for step, (b, d) in enumerate([(1, 3), (8, 16), (33, 128)]):
        z = random.normal(size=(b, 2, d))
        z[:, 1] = 0.4 * z[:, 0] + z[:, 1]
        requests.append((z.astype(np.float32) * 10.0 ** (step - 1), step))
    stream = b"".join(
        frames.pack({"other": np.zeros(3, np.uint8), "z": z.astype(np.float32)}, step=step, seq=step + 7)
        for z, step in requests
    )
    done = subprocess.run(
        [sys.executable, root + "/examples/ntxent.py", "--temperature", temperature],
        input=stream + frames.pack(end=1),
        stdout=subprocess.PIPE,
        check=True,
    )
    with open("replies", "wb") as file:
        file.write(done.stdout)
    with open("replies", "rb") as file:
        replies = list(frames.read_all(file, end=True))
    assert len(replies) == len(requests) + 1 and replies[-1][1] == {"end": "1"}
    for (z, step), (tensors, meta) in zip(requests, replies):
        dz, *numbers = reference(z, float(temperature))
        assert list(tensors) == ["dz"] and tensors["dz"].shape == z.shape
        # One pair alone has no negatives: its gradient is zero, up to rounding of 1/|z|.
        scale = np.abs(dz).max() if len(z) > 1 else 1e-6
        error = np.abs(tensors["dz"] - dz).max() / scale
        assert error < 1e-6, (temperature, step, error)
        for key, value in zip(("loss", "contrast_acc", "contrast_entropy"), numbers):
            assert abs(float(meta[key]) - value) < 1e-7, (temperature, step, key, meta[key], value)
        assert meta["step"] == str(step) and meta["seq"] == str(step + 7)
