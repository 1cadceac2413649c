"""Compares examples/ntxent.py with PyTorch's numbers in tests/golden/ntxent_example.safetensors; run by
ntxent_py.sh."""

import subprocess
import sys

import numpy as np

root = sys.argv[1]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402

with open(root + "/tests/golden/ntxent_example.safetensors", "rb") as file:
    golden, numbers = next(iter(frames.read_all(file)))
batches = {i: golden[f"z_{i}"] for i in range(3) if len(golden[f"z_{i}"]) > 1}  # else: no negatives
assert len(batches) == 2
for temperature in ("0.5", "0.1"):
    stream = b"".join(
        frames.pack({"other": np.zeros(3, np.uint8), "z": z}, step=step, seq=step + 7)
        for step, z in batches.items()
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
    assert len(replies) == len(batches) + 1 and replies[-1][1] == {"end": "1"}
    for (step, z), (tensors, meta) in zip(batches.items(), replies):
        dz = golden[f"dz_{temperature}_{step}"].astype(np.float64)
        assert list(tensors) == ["dz"] and tensors["dz"].shape == z.shape
        error = np.abs(tensors["dz"] - dz).max() / np.abs(dz).max()
        assert error < 1e-6, (temperature, step, error)
        for key in ("loss", "contrast_acc", "contrast_entropy"):
            value = float(numbers[f"{key}_{temperature}_{step}"])
            assert abs(float(meta[key]) - value) < 1e-7, (temperature, step, key, meta[key], value)
        u = z.reshape(-1, 2, z.shape[-1]).astype(np.float64)
        u /= np.linalg.norm(u, axis=2, keepdims=True)
        z_std = np.sqrt(u.shape[2] * u.var(axis=(0, 1))).mean()
        alignment = 2 - 2 * (u[:, 0] * u[:, 1]).sum(axis=1).mean()
        assert abs(float(meta["z_std"]) - z_std) < 1e-7, (meta["z_std"], z_std)
        assert abs(float(meta["alignment"]) - alignment) < 1e-7, (meta["alignment"], alignment)
        assert meta["step"] == str(step) and meta["seq"] == str(step + 7)
