"""Input and expected results for losses.sh.

    losses.py ROOT make                 writes z.st, views.st, and frames with defects
    losses.py ROOT judge A REPLY LOSS NUMBER [FLAG] [FLAG=VALUE]...   compares in float64
    losses.py ROOT join WHOLE PART...   fails unless the rows of the parts are those of the whole, bit for bit
    losses.py ROOT shards WORLD         writes hR.st for each rank, rows of one batch after the other
    losses.py ROOT gathered WORLD LOSS  compares gR.st, the answers to them, with the whole batch"""

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
    for b in (2, 100):
        h = batch(b, 2, 17)["z"]
        for world in (1, 2, 4)[: 2 + (b > 2)]:
            for rank, rows in enumerate(np.split(h, world)):
                with open(f"h{b}.{world}.{rank}.st", "wb") as file:
                    frames.write(file, {"h": rows}, step=0, steps=1, batch=b, rank=rank, world=world)
                    frames.write_end(file)
    write("empty.st", {"z": np.zeros((0, 2, 4), np.float32), "y": np.zeros(0, np.int64)})


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def pair_gradient(loss, s, number, flags):
    """Returns the loss of each row of dcl or hcl, and the derivative of their sum by s."""
    n, rows = len(s), np.arange(len(s))
    negative = rows[:, None] // 2 != rows // 2
    positive, e = s[rows, rows ^ 1], np.where(negative, np.exp(s / number), 0)
    if loss == "dcl":
        weight, slope = 1, -np.ones(n)
        if "weighted" in flags:
            sigma = float(flags.get("sigma", 0.5))
            share = np.exp(positive / sigma)
            share *= n / share.sum()
            weight = 2 - share
            slope = share * (positive - (share * positive).mean()) / sigma - weight
        value = np.log(e.sum(axis=1)) - weight * positive / number
        c = e / e.sum(axis=1, keepdims=True)
    else:
        beta, tau = float(flags.get("beta", 1)), float(flags.get("tau-plus", 0.1))
        low, p = np.where(negative, e**beta, 0), np.exp(positive / number)
        high = e * low
        hard = high.sum(axis=1) / (low.sum(axis=1) / (n - 2))
        g = np.maximum((hard - tau * (n - 2) * p) / (1 - tau), (n - 2) * np.exp(-1 / number))
        by_hard = (g > (n - 2) * np.exp(-1 / number)) / (1 - tau) / (p + g)
        c = (by_hard * hard)[:, None] * ((1 + beta) * high / high.sum(axis=1, keepdims=True)
                                         - beta * low / low.sum(axis=1, keepdims=True))
        value, slope = -np.log(p / (p + g)), -by_hard * tau * (n - 2) * p + p / (p + g) - 1
    c[rows, rows ^ 1] = slope
    return value, c / number


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


def off(c):
    return c - np.diag(np.diag(c))


def barlow(z, weight):
    """Returns the loss of Barlow Twins and its gradient."""
    b = len(z)
    a = z - z.mean(axis=0)
    scale = 1 / np.sqrt((a**2).mean(axis=0) + 1e-5)
    q = a * scale
    c = q[:, 0].T @ q[:, 1] / b
    apart = 1 - np.diag(c)
    dc = 2 * weight * off(c) - 2 * np.diag(apart)
    dq = np.stack([q[:, 1] @ dc.T, q[:, 0] @ dc], axis=1) / b
    dz = scale * (dq - dq.mean(axis=0) - q * (dq * q).mean(axis=0))
    return (apart**2).sum() + weight * (off(c) ** 2).sum(), dz


def vicreg(z, sim, var, cov):
    """Returns VICReg's loss and its gradient."""
    b, _, d = z.shape
    a = z - z.mean(axis=0)
    apart = z[:, 0] - z[:, 1]
    loss, dz = sim * (apart**2).mean(), 2 * sim / (b * d) * np.stack([apart, -apart], axis=1)
    for v in range(2):
        root = np.sqrt((a[:, v] ** 2).sum(axis=0) / (b - 1) + 1e-4)
        loss += var * np.maximum(1 - root, 0).mean() / 2
        dz[:, v] -= var / (2 * d) * (root < 1) / root * a[:, v] / (b - 1)
        c = off(a[:, v].T @ a[:, v] / (b - 1))
        loss += cov * (c**2).sum() / d
        dz[:, v] += 4 * cov / d * a[:, v] @ c / (b - 1)
    return loss, dz


DIMENSIONS = {"barlow": barlow, "vicreg": vicreg}  # the losses that compare dimensions


def spread(z):
    """Returns z_std and alignment, as they are defined: of directions, whatever the loss compares."""
    b, v, d = z.shape
    u = z / np.linalg.norm(z, axis=2, keepdims=True)
    pairs = [((u[:, i] - u[:, j]) ** 2).sum(axis=1) for i in range(v) for j in range(i)]
    return np.sqrt(d) * u.reshape(b * v, d).std(axis=0).mean(), np.mean(pairs) if pairs else None


def judge(asked, replies, loss, number, *flags):
    asked, replies = load(asked), load(replies)
    flags = dict((flag.split("=") + [""])[:2] for flag in flags)
    bound = 1e-6 if loss in ("dcl", "hcl", *DIMENSIONS) else 1e-5
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
        if loss in DIMENSIONS:
            want, du = DIMENSIONS[loss](z.reshape(b, v, d), *(float(x) for x in number.split(",")))
            du = du.reshape(b * v, d)
        elif loss == "byol":
            want, du = byol(z, tensors["z_target"].reshape(b * v, d).astype(np.float64), length)
        else:
            if loss in ("dcl", "hcl"):
                rows = list(zip(*pair_gradient(loss, s, float(number), flags)))
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
        assert far <= bound * max(np.abs(du).max(), 1e-6), (b, v, d, far, np.abs(du).max())
        assert abs(float(told["loss"]) - want) <= bound * max(abs(want), 1), (told["loss"], want)
        expect = set(meta) | {"loss", "z_std"}
        expect |= {"contrast_acc"} if loss != "byol" and loss not in DIMENSIONS else set()
        expect |= {"alignment"} if v > 1 else set()
        expect |= {"contrast_entropy"} if loss in ("ntxent", "supcon") else set()
        assert set(told) == expect, told
        assert all(told[key] == meta[key] for key in meta)
        z_std, alignment = spread(tensors["z"].astype(np.float64))
        assert abs(float(told["z_std"]) - z_std) <= 1e-6, (told["z_std"], z_std)
        assert v == 1 or abs(float(told["alignment"]) - alignment) <= 1e-6, (told["alignment"], alignment)


def join(whole, *parts):
    (whole, told), parts = load(whole)[0], [load(part)[0] for part in parts]
    joined = np.concatenate([tensors["dh"] for tensors, _ in parts])
    assert joined.tobytes() == whole["dh"].tobytes() and np.abs(joined).max() > 0
    assert all(meta["loss"] == told["loss"] for _, meta in parts)


GATHERED = [(8, 24), (16, 24)]  # images and dimensions: more and fewer than twice the images


def whole_batch(step):
    b, d = GATHERED[step]
    return np.random.default_rng(step).normal(size=(b, 2, d)).astype(np.float32)


def shards(world):
    for rank in range(int(world)):
        with open(f"h{rank}.st", "wb") as file:
            for step in range(len(GATHERED)):
                rows = np.array_split(whole_batch(step), int(world))[rank]
                frames.write(file, {"h": rows}, step=step, rank=rank, world=int(world))
            frames.write_end(file)


def gathered(world, loss):
    answers = [load(f"g{rank}.st") for rank in range(int(world))]
    for step in range(len(GATHERED)):
        z = whole_batch(step)
        dz = np.concatenate([a[step][0]["dh"] for a in answers])
        want, expect = DIMENSIONS[loss](z.astype(np.float64), *{"barlow": [0.0051], "vicreg": [25, 25, 1]}[loss])
        assert np.abs(dz - expect).max() <= 1e-6 * np.abs(expect).max(), step
        for answer in answers:
            assert abs(float(answer[step][1]["loss"]) / want - 1) <= 1e-6, (step, want)
        sys.stdout.buffer.write(dz.tobytes())


{"make": make, "judge": judge, "join": join, "shards": shards, "gathered": gathered}[action](*words)
