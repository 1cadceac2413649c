"""Input and expected results for losses.sh.

    losses.py ROOT make                 writes z.st, views.st, and frames with defects
    losses.py ROOT judge A REPLY LOSS NUMBER [semi-hard] [no-normalize]   compares in float64"""

import sys

import numpy as np

root, action, *words = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402


def load(path):
    with open(path, "rb") as file:
        return list(frames.read_all(file))


def make():
    random = np.random.default_rng(3)

    def batch(b, v, d):
        a = random.normal(size=(b, v, d)) / d**0.5
        a[:, 1:] += 0.8 * a[:, :1]
        return {"z": a.astype(np.float32), "y": random.integers(-1, 4, b), "index": np.arange(b)}

    def with_target(b, d):
        a = batch(b, 2, d)
        a["z_target"] = (0.5 * a["z"] + random.normal(size=(b, 2, d)) / d**0.5).astype(np.float32)
        return a

    def write(name, *all_frames):
        with open(name, "wb") as file:
            for i, tensors in enumerate(all_frames):
                frames.write(file, tensors, step=i, seq=9 + i, mine="kept")
            frames.write_end(file)

    write("z.st", *(batch(b, 2, d) for b, d in [(3, 3), (2, 2), (40, 17), (150, 64)]))
    write("views.st", *(batch(b, v, d) for b, v, d in [(5, 1, 3), (9, 3, 8), (60, 4, 16)]))
    good = batch(4, 2, 4)
    bad = batch(4, 2, 4)
    bad["z"][2, 1, 3] = np.nan
    write("nan.st", good, bad)
    write("label.st", good | {"y": np.array([0, 1, -2, 1])})
    write("short.st", good | {"y": np.zeros(3, np.int64)})
    write("float.st", good | {"y": np.zeros(4, np.float32)})
    write("noy.st", {"z": good["z"]})
    write("noz.st", {"y": good["y"]})
    write("bytes.st", {"z": np.zeros((3, 2, 4), np.uint8), "y": np.zeros(3, np.int64)})
    write("single.st", batch(1, 2, 3))
    write("targets.st", *(with_target(b, d) for b, d in [(3, 3), (1, 2), (40, 17), (150, 64)]))
    write("nantarget.st", bad | {"z": good["z"], "z_target": bad["z"]})
    write("narrow.st", good | {"z_target": good["z"][:, :, :3]})
    write("empty.st", {"z": np.zeros((0, 2, 4), np.float32), "y": np.zeros(0, np.int64)})


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def row_loss(loss, s, i, same, number, semi_hard):
    """Returns the loss of row i and its derivative by s[i]; None if the row does not count."""
    n = len(s)
    others = np.arange(n) != i
    c = np.zeros(n)
    if loss in ("ntxent", "supcon"):
        positives = same[i] & others
        if not positives.any():
            return None
        e = np.where(others, np.exp((s[i] - s[i].max()) / number), 0)
        p = e / e.sum()
        return -np.log(p[positives]).mean(), (p - positives / positives.sum()) / number
    positive, negatives = s[i, i ^ 1], np.flatnonzero(~same[i])
    if semi_hard:
        below = [j for j in negatives if s[i, j] < positive]
        negatives = np.array(below)[[np.argmax(s[i, below])]] if below else np.array([], int)
    value, share = 0, 1 / max(len(negatives), 1)
    if loss == "ntlogistic":
        value = -np.log(sigmoid(positive / number)) - np.log(sigmoid(-s[i, negatives] / number)).sum() * share
        c[negatives] = sigmoid(s[i, negatives] / number) * share / number
        c[i ^ 1] = -sigmoid(-positive / number) / number
    else:
        cost = s[i, negatives] - positive + number
        value = np.maximum(cost, 0).sum() * share
        c[negatives] = (cost > 0) * share
        c[i ^ 1] = -((cost > 0) * share).sum()
    return value, c


def byol(z, target, length):
    """Returns the mean over rows of 2 - 2 cos(z, the other view's target), and its gradient."""
    u, v = z / length, target / np.linalg.norm(target, axis=1, keepdims=True)
    v = v.reshape(-1, 2, z.shape[1])[:, ::-1].reshape(z.shape)
    cosine = (u * v).sum(axis=1, keepdims=True)
    return (2 - 2 * cosine).mean(), -2 * (v - cosine * u) / length / len(z)


def spread(z):
    """Returns z_std and alignment, as they are defined: of directions, whatever the loss compares."""
    b, v, d = z.shape
    u = z / np.linalg.norm(z, axis=2, keepdims=True)
    pairs = [((u[:, i] - u[:, j]) ** 2).sum(axis=1) for i in range(v) for j in range(i)]
    return np.sqrt(d) * u.reshape(b * v, d).std(axis=0).mean(), np.mean(pairs) if pairs else None


def judge(asked, replies, loss, number, *flags):
    asked, replies = load(asked), load(replies)
    assert len(asked) == len(replies) > 0
    for (tensors, meta), (reply, told) in zip(asked, replies):
        b, v, d = tensors["z"].shape
        z = tensors["z"].reshape(b * v, d).astype(np.float64)
        length = 1 if "no-normalize" in flags else np.linalg.norm(z, axis=1, keepdims=True)
        u = z / length
        s = u @ u.T
        image = np.arange(b * v) // v
        y = tensors["y"][image] if loss == "supcon" else np.full(b * v, -1)
        same = (image[:, None] == image) | (y[:, None] == y) & (y[:, None] >= 0)
        if loss == "byol":
            want, du = byol(z, tensors["z_target"].reshape(b * v, d).astype(np.float64), length)
        else:
            rows = [row_loss(loss, s, i, same, float(number), "semi-hard" in flags) for i in range(b * v)]
            counted = [r for r in rows if r]
            c = np.array([r[1] if r else np.zeros(b * v) for r in rows]) / max(len(counted), 1)
            du = (c + c.T) @ u
            if "no-normalize" not in flags:
                du = (du - (du * u).sum(axis=1, keepdims=True) * u) / length
            want = sum(r[0] for r in counted) / max(len(counted), 1)
        assert list(reply) == ["dz"] and reply["dz"].shape == (b, v, d), list(reply)
        far = np.abs(reply["dz"].reshape(b * v, d) - du).max()
        assert far <= 1e-5 * max(np.abs(du).max(), 1e-6), (b, v, d, far, np.abs(du).max())
        assert abs(float(told["loss"]) - want) <= 1e-5 * max(abs(want), 1), (told["loss"], want)
        expect = set(meta) | {"loss", "z_std"} | ({"contrast_acc"} if loss != "byol" else set())
        expect |= {"alignment"} if v > 1 else set()
        expect |= {"contrast_entropy"} if loss in ("ntxent", "supcon") else set()
        assert set(told) == expect, told
        assert all(told[key] == meta[key] for key in meta)
        z_std, alignment = spread(tensors["z"].astype(np.float64))
        assert abs(float(told["z_std"]) - z_std) <= 1e-6, (told["z_std"], z_std)
        assert v == 1 or abs(float(told["alignment"]) - alignment) <= 1e-6, (told["alignment"], alignment)


{"make": make, "judge": judge}[action](*words)
