"""Input and expected results for queue.sh.

    loss_queue.py ROOT make                    writes z.st and t.st (with z_target), and parts of them
    loss_queue.py ROOT judge 'A REPLY N T [--no-normalize]' ...   compares the answers to streams in float64
    loss_queue.py ROOT split A B C N           writes the first N frames of A to B, and the others to C
    loss_queue.py ROOT state A STATE N         compares the queue in an optimizer's state
    loss_queue.py ROOT center OPTIMIZER        a loss with state of its own, in Python
    loss_queue.py ROOT owes OPTIMIZER          a client whose loss.* comes after its last gradient"""

import subprocess
import sys

import numpy as np

root, action, *words = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402

SIZES, D, STEPS = [3, 5, 2, 40, 9, 3, 7], 6, 7


def load(path):
    with open(path, "rb") as file:
        return list(frames.read_all(file))


def write(path, some, **more):
    with open(path, "wb") as file:
        for tensors, meta in some:
            frames.write(file, tensors, **(meta | more))
        frames.write_end(file)


def make():
    random = np.random.default_rng(5)
    stream = []
    for step, b in enumerate(SIZES):
        z = random.normal(size=(b, 2, D))
        z[:, 1] += 0.8 * z[:, 0]
        target = z + 0.3 * random.normal(size=z.shape)
        meta = {"step": step, "steps": STEPS, "steps_per_epoch": STEPS, "batch": 8, "seq": step + 4}
        stream.append(({"z": z.astype(np.float32), "z_target": target.astype(np.float32)}, meta))
    plain = [({"z": tensors["z"]}, meta) for tensors, meta in stream]
    for name, s in ("t", stream), ("z", plain):
        write(f"{name}.st", s)
        write(f"{name}_first.st", s[:3])
        write(f"{name}_rest.st", s[3:])
    write("wide.st", [({"z": np.ones((2, 2, D + 1), np.float32)}, stream[3][1])])
    write("wider.st", plain[:1] + [({"z": np.ones((2, 2, D + 1), np.float32)}, stream[1][1])])
    write("short.st", [({"z": stream[0][0]["z"], "z_target": stream[1][0]["z_target"]}, stream[0][1])])


def split(path, first, rest, n):
    some = load(path)
    write(first, some[: int(n)])
    write(rest, some[int(n) :])


def lengths(z, flags):
    return np.ones((len(z), 1)) if "--no-normalize" in flags else np.linalg.norm(z, axis=1, keepdims=True)


def pushed(some, flags=()):
    """All rows that the stream's batches put into the queue, oldest first."""
    rows = [t.get("z_target", t["z"]).reshape(-1, D).astype(np.float64) for t, _ in some]
    return [r / lengths(r, flags) for r in rows]


def softmax(s):
    """Returns the logarithms of the rows' softmax."""
    s = s - s.max(axis=1, keepdims=True)
    return s - np.log(np.exp(s).sum(axis=1, keepdims=True))


def judge(*cases):
    for case in cases:
        judge_stream(*case.split())


def judge_stream(asked, replies, n, t, *flags):
    asked, replies, n, t = load(asked), load(replies), int(n), float(t)
    assert len(asked) == len(replies) > 0
    rows = np.zeros((0, D))
    for (tensors, meta), (reply, told), new in zip(asked, replies, pushed(asked, flags)):
        z = tensors["z"].reshape(-1, D).astype(np.float64)
        length = lengths(z, flags)
        u, i = z / length, np.arange(len(z))
        if "z_target" in tensors:  # the positive is column 0
            own, positive = (u * new[i ^ 1]).sum(axis=1, keepdims=True), 0 * i
        else:
            own, positive = u @ u.T, i ^ 1
            own[i, i] = -np.inf
        s = np.concatenate([own, u @ rows.T], axis=1)
        log_p = softmax(s / t)
        p = np.exp(log_p)
        c = p.copy()
        c[i, positive] -= 1
        du = c[:, own.shape[1]:] @ rows
        if "z_target" in tensors:
            du += c[:, :1] * new[i ^ 1]
        else:
            du += (c[:, : len(z)] + c[:, : len(z)].T) @ u
        du /= t * len(z)
        if "--no-normalize" not in flags:
            du = (du - (du * u).sum(axis=1, keepdims=True) * u) / length
        far = np.abs(reply["dz"].reshape(-1, D) - du).max()
        bound = 1e-6 if t >= 0.1 else 1e-5
        assert far <= bound * max(np.abs(du).max(), 1e-2), (meta["step"], far, np.abs(du).max())
        loss, entropy = -log_p[i, positive].mean(), -(p * np.where(p > 0, log_p, 0)).sum(axis=1).mean()
        assert abs(float(told["loss"]) - loss) <= bound * max(loss, 1), (meta["step"], told["loss"], loss)
        assert abs(float(told["contrast_entropy"]) - entropy) <= bound * max(entropy, 1), (told, entropy)
        rivals = s.copy()
        rivals[i, positive] = -np.inf
        right = (s[i, positive] > rivals.max(axis=1)).mean()
        assert abs(float(told["contrast_acc"]) - right) <= 1e-6, (told["contrast_acc"], right)
        assert all(told[key] == meta[key] for key in meta)
        rows = np.concatenate([rows, new])[-n:]


def state(asked, path, n):
    n = int(n)
    (tensors, meta), = load(path)
    rows = np.concatenate(pushed(load(asked)))
    ring = np.zeros((n, D))
    for r, row in enumerate(rows):
        ring[r % n] = row
    assert set(tensors) == {"loss.queue", "loss.queue_rows"}, set(tensors)
    assert tensors["loss.queue_rows"].shape == () and tensors["loss.queue_rows"] == len(rows)
    assert tensors["loss.queue"].dtype == np.float32 and np.abs(tensors["loss.queue"] - ring).max() < 1e-7
    assert int(meta["step"]) == len(load(asked))


class Optimizer:
    """The link of a loss to its optimizer, a coprocess."""

    def __init__(self, command):
        self.process = subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, kind, tensors, meta):
        keys = ("step", "steps", "steps_per_epoch", "batch", "images", "grains")
        meta = {k: meta[k] for k in keys if k in meta and (k, kind) != ("step", "join")}
        frames.write(self.process.stdin, tensors, kind=kind, **meta)
        self.process.stdin.flush()
        tensors, meta = frames.read(self.process.stdout)
        assert "error" not in meta, meta["error"]
        return {name: value.copy() for name, value in tensors.items()}, meta

    def end(self):
        frames.write_end(self.process.stdin)
        self.process.stdin.close()
        assert self.process.wait() == 0


def center(command):
    """Pulls z to the mean of all batches so far, loss.center: loss = mean of |z - center|^2 / 2."""
    optimizer, kept = Optimizer(command), None
    for tensors, meta in frames.read_all(sys.stdin.buffer):
        z = tensors["z"].reshape(-1, D)
        if kept is None:
            first = {"loss.center": np.zeros(D, np.float32), "loss.batches": np.int64(0)}
            kept, answer = optimizer.ask("join", first, meta)
            assert answer["step"] == meta["step"], (answer["step"], meta["step"])
        apart = z - kept["loss.center"]
        loss = (apart.astype(np.float64) ** 2).sum() / (2 * len(z))
        frames.write(sys.stdout.buffer, {"dz": (apart / len(z)).reshape(tensors["z"].shape)}, **(meta | {"loss": loss}))
        sys.stdout.buffer.flush()
        batches = kept["loss.batches"] + 1
        kept["loss.center"] += (z.mean(axis=0) - kept["loss.center"]) / np.float32(batches)
        kept["loss.batches"] = np.int64(batches)
        optimizer.ask("gradients", kept, meta)
    optimizer.end()
    frames.write_end(sys.stdout.buffer)


def owes(command):
    """The first step is complete only with loss.x, so that may come after the last gradient."""
    optimizer = Optimizer(command)
    w, x = np.ones(3, np.float32), np.zeros(2, np.float32)
    optimizer.ask("join", {"w": w, "loss.x": x}, {})
    for step in range(2):
        meta = {"step": step, "steps": 4, "steps_per_epoch": 4, "batch": 8}
        optimizer.ask("gradients", {"w": w}, meta)
        answer, _ = optimizer.ask("gradients", {"loss.x": x + step + 5}, meta)
        assert (answer["loss.x"] == x + step + 5).all(), answer
    optimizer.end()


{"make": make, "judge": judge, "state": state, "center": center, "owes": owes, "split": split}[action](*words)
