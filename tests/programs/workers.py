"""Workers of gather and reduce, over ZeroMQ, for workers.sh.

    workers.py ROOT ADDRESS sums|rows|HOW
    workers.py ROOT ADDRESS beside HOW

A {} in the address is replaced by half the rank. sums (over $WORLD workers) and rows compare the
answers with numpy. Any other HOW is a misbehaviour, and checks that the other workers receive the
reason. With `beside`, a stranger misbehaves while a correct run goes on, which must not notice it."""

import io
import os
import socket
import sys
import time

import numpy as np
import zmq

root, address, *words = sys.argv[1:]
how = words[-1]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402

context = zmq.Context()


class Worker:
    def __init__(self, rank, world):
        self.meta = {"rank": rank, "world": world}
        if "SIMCLR_RUN" in os.environ:
            self.meta["run"] = os.environ["SIMCLR_RUN"]
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 5000
        self.socket.connect(address.format(rank // 2))
        self.seq = 0

    def send(self, tensors, **meta):
        self.socket.send(frames.pack(tensors, seq=self.seq, **{**self.meta, **meta}))
        self.seq += 1

    def receive(self):
        assert self.socket.poll(100000), "no answer within 100 s"
        return frames.read(io.BytesIO(self.socket.recv()))

    def end(self):
        self.socket.send(frames.pack(end=1, **self.meta))


def add(a, b):
    return b if a is None else a if b is None else a + b


def tree(parts):
    """Returns ((0+1)+(2+3))+... in float32 additions; None is a rank that has nothing to add."""
    while len(parts) > 1:
        parts = parts + [None] * (len(parts) % 2)
        parts = [add(*pair) for pair in zip(parts[::2], parts[1::2])]
    return parts[0]


def values(rank, step, shape=(5, 37)):
    scale = 10.0 ** np.random.default_rng(rank).integers(-3, 4)
    return (scale * np.random.default_rng([rank, step]).normal(size=shape)).astype(np.float32)


def check_sums(world):
    """Sends rounds in flight, with the ranks in any order; each must get every sum exactly."""
    workers = [Worker(r, world) for r in range(world)]
    for step in range(3):
        for w in reversed(workers):
            rank = w.meta["rank"]
            tensors = {"g": values(rank, step), "half": frames.bf16(values(rank, step)),
                       "n": np.array([rank + 1, 2**62], np.int64)}
            if rank == 0:
                tensors["bn.running_mean"] = np.float32([1.5])
            if rank:
                tensors["late"] = values(rank, 9)
            w.send(tensors, step=step, kind="gradients")
    for step in range(3):
        for w in workers:
            got, meta = w.receive()
            rank = w.meta["rank"]
            assert meta["step"] == str(step) and meta["seq"] == str(step), meta
            assert meta["rank"] == str(rank) and meta["world"] == str(world), meta
            assert (got["g"] == tree([values(r, step) for r in range(world)])).all()
            if world > 1:
                some = [None] + [values(r, 9) for r in range(1, world)]
                assert (got["late"] == tree(some)).all()
            assert got["bn.running_mean"] == np.float32([1.5])
            with np.errstate(over="ignore"):
                assert (got["n"] == sum(np.array([r + 1, 2**62]) for r in range(world))).all()
            about = sum(values(r, step) for r in range(world))
            size = sum(abs(values(r, step)) for r in range(world))
            assert (abs(got["half"] - about) <= size / 64).all()
    for w in workers:
        w.end()


def check_rows():
    """--next must get the rows in the order of ranks, and each rank its part of the answer."""
    workers = [Worker(r, 3) for r in range(3)]
    rows = [2, 5, 1]
    for step in range(2):
        for w, n in reversed(list(zip(workers, rows))):
            w.send({"z": values(w.meta["rank"], step, (n, 2, 3)), "y": np.arange(n) + 10 * n},
                   step=step)
    for step in range(2):
        for w, n in zip(workers, rows):
            got, meta = w.receive()
            assert (got["z"] == values(w.meta["rank"], step, (n, 2, 3))).all()
            assert (got["y"] == np.arange(n) + 10 * n).all()
            assert meta["rank"] == str(w.meta["rank"]) and meta["world"] == "3"
    for w in workers:
        w.end()
    with open("joined.st", "rb") as file:
        for step, (got, meta) in enumerate(frames.read_all(file)):
            if "end" in meta:
                break
            want = [values(r, step, (n, 2, 3)) for r, n in enumerate(rows)]
            assert (got["z"] == np.concatenate(want)).all()
            assert "rank" not in meta and "world" not in meta


def misbehave():
    """Rank 0 of 2 behaves correctly and must receive the message."""
    good = Worker(0, 2)
    good.send({"g": values(0, 3)}, step=3)
    other = None if how == "missing" else Worker(1, 2)
    if how == "ahead":
        other.send({"g": values(1, 4)}, step=4)
    elif how == "shape":
        other.send({"g": values(1, 3, (5, 36))}, step=3)
    elif how == "kind":
        other.send({"g": values(1, 3)}, step=3, kind="join")
    elif how == "ends":
        other.send({"g": values(1, 3)}, step=3)
        other.receive(), good.receive()
        other.end()
        good.send({"g": values(0, 4)}, step=4)
    elif how == "step":
        other.send({"g": values(1, 3)}, step=3)
        other.receive(), good.receive()
        other.send({"g": values(1, 4)}, step="many")
        good.send({"g": values(0, 4)}, step=4)
    elif how == "silent":
        other.send({"g": values(1, 3)}, step=3)
        other.receive(), good.receive()
        good.send({"g": values(0, 4)}, step=4)
    elif how != "missing":
        other.send({"g": values(1, 3)}, step=3)
    assert "error" in good.receive()[1]


def raw(*sent, stay=0.0):
    """Connects without speaking ZeroMQ."""
    if address.startswith("ipc://"):
        s = socket.socket(socket.AF_UNIX)
        s.connect(address[6:])
    else:
        s = socket.create_connection(address[6:].rsplit(":", 1))
    for data in sent:
        s.sendall(data)
    time.sleep(stay)
    s.close()


def stranger():
    """Sends what would spoil a sum; must get a message if it sends frames."""
    if how == "scanner":
        raw()
        raw(b"GET / HTTP/1.1\r\n\r\n", stay=0.3)
        return
    other = Worker(0 if how == "twice" else 5 if how == "unknown" else 1, 4 if how == "unknown" else 2)
    if how == "nobody":
        other.meta.clear()
    if how == "run":
        other.meta["run"] = "theirs"
    if how == "norun":
        other.meta.pop("run", None)
    if how == "garbage":
        other.socket.send_multipart([b"", b"x" * 300, b"no frame at all"])
    elif how == "error":
        other.send({}, error="it hurts")
    elif how != "mute":
        other.send({"g": values(0, 7)}, step=1)
    if how in ("twice", "unknown", "nobody"):
        assert "error" in other.receive()[1]
        other.send({"g": values(0, 7)}, step=1)  # again, without reading the reply
    time.sleep(0.3)
    other.socket.close(0)


def beside():
    workers = [Worker(r, 2) for r in range(2)]
    for step in range(4):
        for w in workers:
            w.send({"g": values(w.meta["rank"], step)}, step=step)
        if how == "late" and step:  # rank 1 itself sends a frame of the step before
            workers[1].send({"g": values(1, 7)}, step=step - 1)
        got = [w.receive() for w in workers + [workers[1]] * (how == "late" and step > 0)]
        for tensors, meta in got:
            if "error" in meta:
                assert how == "late" and "again" in meta["error"] and meta["seq"], meta
            else:
                assert (tensors["g"] == tree([values(r, step) for r in range(2)])).all()
        assert how != "late" or sum("error" in m for _, m in got) == (step > 0)
        if step == 0 and how != "late":
            stranger()
    for w in workers:
        w.end()


if words[0] == "beside":
    beside()
elif how == "sums":
    check_sums(int(os.environ["WORLD"]))
elif how == "rows":
    check_rows()
else:
    misbehave()
