"""Optimizers and clients for shard.sh.

    shard.py ROOT same WHOLE,... PART...   checks that the parts have the tensors of WHOLE, each with its owner
    shard.py ROOT answer HOW               an optimizer that echoes, or misbehaves as HOW says
    shard.py ROOT large                    requests of more than a pipe holds
    shard.py ROOT rank ADDRESS             a client that sends tensors, and one that sends none
    shard.py ROOT far ADDRESS              a client that leaves out a step"""

import io
import os
import sys
import time
import zlib

import numpy as np

root, action, *words = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402


def load(path):
    with open(path, "rb") as file:
        return next(frames.read_all(file))


def same(wholes, *parts):
    want = {}
    for path in wholes.split(","):
        want |= load(path)[0]
    seen = 0
    for owner, path in enumerate(parts):
        tensors, _ = load(path)
        assert tensors, path + " owns nothing"
        for name, value in tensors.items():
            assert zlib.crc32(name.split("/")[-1].encode()) % len(parts) == owner, f"{name} in {path}"
            assert value.dtype == want[name].dtype and value.shape == want[name].shape, name
            assert value.tobytes() == want[name].tobytes(), name
        seen += len(tensors)
    assert seen == len(want), f"{seen} tensors of {len(want)}"


def meet(here, there):
    """Answers only when the other optimizer has all of its request, too."""
    open(here, "w").close()
    for _ in range(500):
        if os.path.exists(there):
            return
        time.sleep(0.01)
    os._exit(3)


def answer(how, *names):
    requests = iter(lambda: frames.read(sys.stdin.buffer), None)
    for number, (tensors, meta) in enumerate(requests):
        if "end" in meta:
            frames.write_end(sys.stdout.buffer)
            return
        first = next(iter(tensors), None)
        if how == "meet":
            meet(*(f"{n}.{number}" for n in names))
        elif meta["kind"] == "join":
            meta["step"] = names[0] if how == "step" else "0"
        elif how == "drop":
            del tensors[first]
        elif how == "more":
            tensors["more.weight"] = np.zeros(1, np.float32)
        elif how == "shape":
            tensors[first] = tensors[first][None]
        elif how == "dtype":
            tensors[first] = tensors[first].view(np.int32)
        elif how == "error":
            meta["error"] = "it hurts"
        frames.write(sys.stdout.buffer, tensors, **meta)
        sys.stdout.flush()


def large():
    """Sends 4 MiB to each of two."""
    names = ["a.weight", "b.weight", "c.weight", "d.weight"]
    values = {n: np.full((1 << 19,), i, np.float32) for i, n in enumerate(names)}
    assert sorted(zlib.crc32(n.encode()) % 2 for n in names) == [0, 0, 1, 1]
    frames.write(sys.stdout.buffer, values, kind="join", seq=0)
    for step in range(2):
        frames.write(sys.stdout.buffer, values, kind="gradients", step=step, seq=step + 1)
    frames.write_end(sys.stdout.buffer)


def connect(address):
    import zmq

    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.connect(address)
    socket.rcvtimeo = 8000
    return socket


def ask(socket, tensors, **meta):
    socket.send(frames.pack(tensors, **meta))
    return frames.read(io.BytesIO(socket.recv()))


def close(*sockets):
    for socket in sockets:
        socket.send(frames.pack(end=1))
        socket.close(5000)


def rank(address):
    first, second = connect(address), connect(address)
    values = {f"layer{i}.weight": np.full((3, i + 1), i, np.float32) for i in range(9)}
    got, meta = ask(first, values, kind="join", seq=7, rank=0, world=2, mine="kept")
    assert got.keys() == values.keys() and meta["mine"] == "kept" and meta["seq"] == "7", meta
    got, meta = ask(second, {}, kind="join", seq=3, rank=1, world=2)
    assert meta["kind"] == "join" and meta["step"] == "0" and meta["seq"] == "3", meta
    assert got.keys() == values.keys()
    assert all(np.array_equal(got[n], values[n]) for n in got)
    empty = {"kind": "gradients", "step": "0", "steps": "1", "seq": "4", "mine": "kept"}
    assert ask(second, {}, **empty) == ({}, empty)
    got, meta = ask(first, values, kind="gradients", step=0, steps=1, seq=8, mine="kept")
    assert got.keys() == values.keys() and meta["mine"] == "kept" and "lr" in meta, meta
    close(first, second)


def far(address):
    """The first client has not begun; the second has completed step 0 and leaves out step 1."""
    first, second = connect(address), connect(address)
    one, two = ({n: np.ones((2, 2), np.float32)} for n in ("a.weight", "b.weight"))
    ask(first, one, kind="join", seq=0)
    ask(second, two, kind="join", seq=0)
    ask(second, two, kind="gradients", step=0, seq=1)
    assert "error" in ask(second, two, kind="gradients", step=2, seq=2)[1]


try:
    globals()[action](*words)
except BrokenPipeError:  # the client has gone; its message is what the test checks
    os._exit(1)
