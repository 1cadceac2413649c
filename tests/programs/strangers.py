"""Strangers at a server's address, for strangers.sh.

    strangers.py ROOT WHAT ADDRESS [ARGUMENT...]
"""

import io
import os
import socket
import sys
import time

import numpy as np
import zmq

root, what, address, *words = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402

context = zmq.Context()


def dealer():
    s = context.socket(zmq.DEALER)
    s.rcvtimeo = 20000
    s.connect(address)
    return s


def ask(s, tensors, **meta):
    s.send(frames.pack(tensors, seq=0, **meta))
    return frames.read(io.BytesIO(s.recv()))


def leave(s):
    s.close(5000)


WEIGHTS = {"conv1.weight": np.ones((2, 2), np.float32), "foreign.weight": np.ones(3, np.float32)}


def end():
    s = dealer()
    s.send(frames.pack(end=1, **({"run": words[0]} if words else {})))
    leave(s)


def nonsense():
    """Sends a frame that is not a request of any server; the reply is an error frame."""
    s = dealer()
    _, meta = ask(s, {"mine": np.ones(3, np.float32)}, kind="mine")
    assert "error" in meta, meta
    leave(s)


def gradients():
    s = dealer()
    _, meta = ask(s, WEIGHTS, kind="gradients", step=0, steps=3)
    assert "has not joined" in meta["error"], meta
    leave(s)


def join():
    """Joins, receives the answer, and leaves without an end frame."""
    s = dealer()
    _, meta = ask(s, WEIGHTS, kind="join", **({"run": words[0]} if words else {}))
    assert meta["step"] == "0", meta
    leave(s)


def garbage():
    s = dealer()
    s.send(b"no frame at all")
    leave(s)


def crowd():
    """Trains as a client, while idle connections take all descriptors that the server may have."""
    limit = int(words[0])
    host, port = address.removeprefix("tcp://").split(":")
    s = dealer()
    _, meta = ask(s, WEIGHTS, kind="join")
    assert meta["step"] == "0", meta
    idle = []
    for i in range(limit + 50):
        if i % 40 == 39:
            time.sleep(0.05)  # a full backlog drops connections, and the next try is seconds later
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex((host, int(port)))
        idle.append(one)
    folder = f"/proc/{words[1]}/fd"
    for _ in range(2000):
        if len(os.listdir(folder)) >= limit - 40:
            break
        time.sleep(0.05)
    assert limit - 40 <= len(os.listdir(folder)) <= limit - 30, len(os.listdir(folder))
    for step in range(3):
        _, meta = ask(s, WEIGHTS, kind="gradients", step=step, steps=3, batch=256)
        assert "error" not in meta, meta
    s.send(frames.pack(end=1))
    leave(s)


def flow():
    """Measures the bytes that the server keeps for each client that has left."""
    pid = int(words[0])

    def visit(n):
        for i in range(n):
            s = dealer()
            _, meta = ask(s, {"z": np.ones((2, 2, 4), np.float32)})
            assert "loss" in meta, meta
            s.send(frames.pack(end=1))
            leave(s)

    def resident():
        time.sleep(0.3)
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    stays = dealer()
    ask(stays, {"z": np.ones((2, 2, 4), np.float32)})
    visit(100)
    before = resident()
    visit(300)
    each = (resident() - before) / 300
    stays.send(frames.pack(end=1))
    leave(stays)
    print(each)
    assert each < 3000, each


globals()[what]()
context.term()
