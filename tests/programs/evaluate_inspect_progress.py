"""Streams for the tests of evaluate, inspect and progress, and checks of their output.

    evaluate_inspect_progress.py ROOT COMMAND ARGUMENTS...
"""

import json
import subprocess
import sys

import numpy as np

root, command, *arguments = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402

out = sys.stdout.buffer


def features(train, test, views=1):
    """Makes ten overlapping classes, in frames of up to 100 rows."""
    random = np.random.default_rng(5)
    centers = random.normal(size=(10, 24)) * 0.5
    for path, n in ((train, 600), (test, 300)):
        with open(path, "wb") as file:
            for at in range(0, n, 100):
                y = random.integers(0, 10, 100)
                h = centers[y, None] + random.normal(size=(100, views, 24))
                frames.write(file, {"h": h.astype(np.float32), "y": y}, step=at // 100)
            frames.write_end(file)


def load(path):
    with open(path, "rb") as file:
        parts = [tensors for tensors, _ in frames.read_all(file)]
    return [np.concatenate([p[name] for p in parts]) for name in ("h", "y")]


def sklearn_agrees(train, test, *l2):
    """Checks that the probe's accuracy is scikit-learn's at the same l2, within 0.2 points."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    (x, y), (xt, yt) = load(train), load(test)
    run = ["evaluate", "--train", train, "--test", test, *l2]
    ours = json.loads(subprocess.run(run, stdout=subprocess.PIPE, check=True).stdout)
    scale = StandardScaler().fit(x[:, 0].astype(np.float64))
    model = LogisticRegression(C=1 / (len(x) * ours["l2"]), tol=1e-8, max_iter=10000)
    model.fit(scale.transform(x[:, 0]), y)
    theirs = model.score(scale.transform(xt[:, 0]), yt)
    assert abs(ours["top1"] - theirs) <= 0.002, (ours["top1"], theirs)
    confusion = np.array(ours["confusion"])
    assert confusion.sum() == ours["n_test"] == 300 and ours["n_train"] == 600
    assert (confusion.sum(axis=1) == np.bincount(yt, minlength=10)).all()
    assert abs(np.trace(confusion) / 300 - ours["top1"]) < 1e-8
    assert np.allclose(np.diag(confusion) / confusion.sum(axis=1), ours["per_class"])
    assert ours["top1"] < ours["top5"] <= 1 and ours["iterations"] > 0


def rows(class_names=None, **changes):
    """Writes one frame of features, with a defect or without one."""
    tensors = {"h": np.ones((40, 1, 3), np.float32), "y": np.arange(40) % 4}
    tensors |= changes
    meta = {} if class_names is None else {"class_names": class_names}
    frames.write(out, {k: v for k, v in tensors.items() if v is not None}, **meta)
    frames.write_end(out)


def images(path):
    """Writes three images of two views, each of one colour, by which the sheet's test finds it."""
    x = np.zeros((3, 2, 8, 8, 3), np.uint8)
    for b in range(3):
        for v in range(2):
            x[b, v] = [40 * b, 100 * v + 20, 77]
    half = np.array([0.5, -2, np.inf, np.nan], np.float16)
    with open(path, "wb") as file:
        tensors = {"x": x, "y": np.int64([7, -3, 2**53 + 1]), "half": half, "none": np.zeros((0, 2))}
        tensors["none"] = tensors["none"].astype(np.float32)
        tensors["brain"] = frames.bf16([1, 3, -np.inf, np.nan, np.nan])
        tensors["large"] = np.tile(np.float32([1, np.nan, 3, np.inf, -5]), 20001)
        frames.write(file, tensors, step=4)
        frames.write(file, {}, step=5)


def sheet(path):
    """Checks that every view is in its place, as a block scaled up by 12."""
    from PIL import Image

    page = np.asarray(Image.open(path))
    assert page.ndim == 3 and page.shape[2] == 3
    seen = []
    for b in range(3):
        for v in range(2):
            where = np.argwhere((page == [40 * b, 100 * v + 20, 77]).all(axis=2))
            (top, left), (bottom, right) = where.min(axis=0), where.max(axis=0)
            assert len(where) == 96 * 96 and bottom - top == right - left == 95, (b, v)
            seen.append((top, left))
    for b in range(3):
        assert seen[2 * b][0] == seen[2 * b + 1][0], "views of an image stand side by side"
        assert 96 < seen[2 * b + 1][1] - seen[2 * b][1] < 102, "with a narrow gap"


def metrics(first, last, steps, loss="falling", end="end"):
    for step in range(int(first), int(last)):
        falling = 5.5 - step / int(steps)
        frames.write(
            out,
            step=step,
            steps=steps,
            steps_per_epoch=100,
            epoch=step // 100,
            batch=128,
            seq=step,
            loss=falling if loss == "falling" else float(loss),
            contrast_acc=0.25,
            lr=0.125,
            views_per_s=64,
        )
    if end == "end":
        frames.write_end(out)


def terminal(stream, columns):
    """Runs progress on a terminal of that width: the bar must be redrawn in place and fit."""
    import fcntl
    import os
    import pty
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(columns), 0, 0))
    with open(stream, "rb") as file, open(os.devnull, "wb") as null:
        subprocess.run(["progress"], stdin=file, stdout=null, stderr=slave, check=True)
    os.close(slave)
    text = b""
    try:
        while chunk := os.read(master, 65536):
            text += chunk
    except OSError:
        pass  # Linux reports in this way that the other side is closed
    lines = text.decode().replace("\x1b[K", "").replace("\r\n", "\n").split("\r")
    assert text.count(b"\n") == 1 and text.endswith(b"\n"), text
    assert max(map(len, (line.rstrip("\n") for line in lines))) < int(columns), lines
    assert "[=" in lines[-1] and "step 400/400" in lines[-1], lines[-1]


BAD = {
    "good": {},
    "unlabelled": {"y": None},
    "negative": {"y": np.arange(40) - 1},
    "huge": {"y": np.arange(40) * 10**12},
    "one-class": {"y": np.zeros(40, np.int64)},
    "views": {"h": np.ones((40, 2, 3), np.float32)},
    "narrow": {"h": np.ones((40, 1, 2), np.float32)},
    "nan": {"h": np.where(np.arange(120).reshape(40, 1, 3) == 70, np.nan, 1).astype(np.float32)},
    "few-logits": {"h": None, "logits": np.zeros((40, 1, 3), np.float32)},
    "few-labels": {"h": None, "logits": np.zeros((40, 1, 3), np.float32), "y": np.arange(40) % 3},
    "pixels": {"h": None, "x": np.arange(40 * 12, dtype=np.uint8).reshape(40, 1, 2, 2, 3)},
}
if command == "rows":
    rows(*arguments[1:], **BAD[arguments[0]])
else:
    globals()[command](*arguments)
