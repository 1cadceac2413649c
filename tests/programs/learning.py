"""Streams and checks for learning.sh.

    learning.py ROOT COMMAND ARGUMENTS...
"""

import json
import subprocess
import sys

import numpy as np

root, command, *arguments = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402


def load(path):
    with open(path, "rb") as file:
        return list(frames.read_all(file))


def norms(requests, metrics):
    """Checks grad_norm against the gradients that were recorded on the way to the optimizer."""
    squares = {}
    for tensors, meta in load(requests):
        if meta["kind"] == "gradients":
            here = [g.astype(np.float64) for n, g in tensors.items() if n.split(".")[-1][:7] != "running"
                    and not n.endswith("num_batches_tracked")]
            squares[meta["step"]] = squares.get(meta["step"], 0) + sum((g**2).sum() for g in here)
    told = load(metrics)
    assert len(told) == len(squares) >= 2
    for _, meta in told:
        want = squares[meta["step"]] ** 0.5
        assert want > 0 and abs(float(meta["grad_norm"]) - want) < 1e-6 * want, (meta, want)


def silent(first):
    """Passes an optimizer's replies on without the sums of squares, except those of `first`."""
    for tensors, meta in frames.read_all(sys.stdin.buffer):
        kept = {k: v for k, v in meta.items() if not k.startswith("squares/") or k == "squares/" + first}
        frames.write(sys.stdout.buffer, tensors, **kept)
        sys.stdout.flush()
    frames.write_end(sys.stdout.buffer)


def wrong(value):
    """Passes an optimizer's replies on with that value as each sum of squares."""
    for tensors, meta in frames.read_all(sys.stdin.buffer):
        told = {k: value if k.startswith("squares/") else v for k, v in meta.items()}
        frames.write(sys.stdout.buffer, tensors, **told)
        sys.stdout.flush()
    frames.write_end(sys.stdout.buffer)


def part(count, first=0, **metrics):
    """COUNT frames from a step on. A value may be a list, which the frames take in turn."""
    for i in range(count):
        meta = {key: value[i % len(value)] if isinstance(value, list) else value for key, value in metrics.items()}
        yield {"step": first + i, "batch": 128} | meta


CHANCE = 5.541  # ln(2 x 128 - 1)
METRICS = {
    "collapsed": [part(100, z_std=0.049)],
    "interrupted": [part(99, z_std=0.049), part(1, 99, z_std=0.051), part(99, 100, z_std=0.049)],
    "gap": [part(99, z_std=0), part(1, 99, lr=1), part(99, 100, z_std=0)],
    "border": [part(300, z_std=0.05)],
    "two-runs": [part(60, z_std=0), part(60, z_std=0)],
    "no-steps": [part(100, z_std=0, step=None)],
    "chance": [part(200, loss=5.59)],
    "scattered": [part(200, loss=[CHANCE - 0.4, CHANCE + 0.4])],
    "short": [part(199, loss=CHANCE)],
    "near": [part(400, loss=5.43)],
    "falling": [part(400, loss=list(np.linspace(5.9, 5.18, 400)))],
    "classifier": [part(400, loss=CHANCE, accuracy=0.1)],
    "loss-gap": [part(199, loss=CHANCE), part(1, 199, lr=1), part(199, 200, loss=CHANCE)],
    "two-losses": [part(150, loss=CHANCE), part(150, loss=CHANCE)],
    "both": [part(150, loss=CHANCE, z_std=0.049), part(100, 150, loss=4, z_std=0.5), part(300, 250, loss=CHANCE, z_std=0)],
    "begun": [part(60, z_std=0)],
    "resumed": [part(60, 60, z_std=0)],
    "words": [part(1, z_std="few")],
}


def metrics():
    for name, parts in METRICS.items():
        with open(name + ".st", "wb") as file:
            for meta in (m for p in parts for m in p):
                frames.write(file, **{key: value for key, value in meta.items() if value is not None})
            frames.write_end(file)


def reference(h):
    """The geometry of h [B,V,D] in float64, with a matrix of all pairs."""
    b, v, d = h.shape
    x = h.reshape(b * v, d).astype(np.float64)
    u = x / np.linalg.norm(x, axis=1, keepdims=True)
    i, j = np.triu_indices(b * v, 1)
    others = i // v != j // v
    far = 2 - 2 * (u @ u.T)[i, j][others]
    s = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    p = s / s.sum()
    views = u.reshape(b, v, d)
    pairs = [((views[:, k] - views[:, l]) ** 2).sum(axis=1) for k in range(v) for l in range(k)]
    return {
        "alignment": np.mean(pairs) if pairs else None,
        "uniformity": np.log(np.exp(-2 * far).mean()),
        "effective_rank": np.exp(-(p[p > 0] * np.log(p[p > 0])).sum()),
        "z_std": np.sqrt(d) * u.std(axis=0).mean(),
    }


def stream(h, rows=70):
    return b"".join(frames.pack({"h": h[at : at + rows]}) for at in range(0, len(h), rows)) + frames.pack(end=1)


def measure(data, *options):
    run = ["evaluate", "--method", "geometry", "--test", "-", *options]
    done = subprocess.run(run, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    return json.loads(done.stdout), done.stderr.decode()


def geometry():
    random = np.random.default_rng(1)
    cases = {
        "two views": random.normal(size=(350, 2, 24)),
        "more features than rows": random.normal(size=(20, 3, 300)),
        "of rank 5": random.normal(size=(400, 1, 5)) @ random.normal(size=(5, 64)),
        "collapsed": 1 + 1e-4 * random.normal(size=(300, 2, 40)),
        "rectified": np.maximum(random.normal(size=(600, 2, 100)), 0),
        "two rows": random.normal(size=(2, 1, 3)),
    }
    for name, h in cases.items():
        h = h.astype(np.float32)
        told, said = measure(stream(h))
        want = reference(h)
        assert (told["method"], told["on"], told["n_test"]) == ("geometry", "h", h.shape[0] * h.shape[1])
        assert (told["views"], told["width"]) == h.shape[1:]
        assert ("no alignment" in said) == (h.shape[1] == 1) and said.count("\n") <= 1, said
        for key, value in want.items():
            if value is None:
                assert told[key] is None, (name, key)
            else:
                assert abs(told[key] - value) <= 1e-6 * max(1, abs(value)), (name, key, told[key], value)


def threads():
    h = np.random.default_rng(2).normal(size=(500, 2, 33)).astype(np.float32)
    one = measure(stream(h), "--threads", "1")
    assert one == measure(stream(h), "--threads", "3") == measure(stream(h, 11), "--threads", "2")


def corners():
    same = np.tile(np.float32([0.1, 0.3, -0.7]), (100, 2, 1))
    told, _ = measure(stream(same))
    assert told["effective_rank"] == 0 and told["alignment"] < 1e-12 and told["z_std"] < 1e-12, told
    assert abs(told["uniformity"]) < 1e-12, told
    single, _ = measure(stream(same[:1]))
    assert single["uniformity"] is None and single["alignment"] < 1e-12, single
    zeros = np.zeros((3, 2, 4), np.float32)
    zeros[0] = 1
    told, said = measure(stream(zeros))
    assert "4 of 6 rows are zero" in said, said
    # Pairs of a direction and a zero row are at distance 1, those of two zero rows at 0.
    assert abs(told["uniformity"] - np.log((8 * np.exp(-2) + 4) / 12)) < 1e-9, told
    pixels = np.random.default_rng(3).integers(0, 256, (40, 2, 4, 4, 3), dtype=np.uint8)
    both = frames.pack({"h": same[:40], "x": pixels}) + frames.pack(end=1)
    told, _ = measure(both, "--on", "x")
    want = reference(pixels.reshape(40, 2, 48).astype(np.float32) / 255)
    assert told["on"] == "x" and abs(told["uniformity"] - want["uniformity"]) < 1e-6, (told, want)


def bad():
    good = np.ones((4, 2, 3), np.float32)
    nan = good.copy()
    nan[2, 1, 0] = np.nan
    cases = {"fewer": [good, good[:, :1]], "nan": [nan], "views": [good[:, :0]], "empty": []}
    for name, parts in cases.items():
        with open(name + ".st", "wb") as file:
            for h in parts:
                frames.write(file, {"h": h})
            frames.write_end(file)


globals()[command](*arguments)
