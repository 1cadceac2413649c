"""Peers for links.sh, streams.sh and lars.sh, which answer, send requests, or misbehave.

    peer.py ROOT make                     writes the input files
    peer.py ROOT serve HOW                answers requests from stdin on stdout
    peer.py ROOT last_words               an optimizer that fails
    peer.py ROOT bind ADDRESS HOW         the same over ZeroMQ
    peer.py ROOT ask ADDRESS HOW          a client over ZeroMQ
    peer.py ROOT pull ADDRESS SECONDS     reads a stream slowly; prints its steps
    peer.py ROOT slowly SECONDS           passes a stream on, one frame every SECONDS seconds
    peer.py ROOT push ADDRESS STEP...     writes a stream of these seqs
    peer.py ROOT check FILE N             checks that dh is half of h, in N frames and an end frame
    peer.py ROOT ports N | keys"""

import io
import os
import signal
import socket
import struct
import sys
import time

import numpy as np

root, action, *words = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402

N, SHAPE = 5, (3, 2, 4)


def h(step):
    return np.random.default_rng(step).normal(size=SHAPE).astype(np.float32)


def make():
    with open("h.st", "wb") as file:
        for step in range(N):
            frames.write(file, {"h": h(step)}, step=step, steps=N)
        frames.write_end(file)
    with open("z.st", "wb") as file:
        for step in range(20):
            frames.write(file, {"z": h(step)}, step=step, steps=20)
        frames.write_end(file)
    with open("noend.st", "wb") as file:
        for step in range(2):
            frames.write(file, {"z": h(step)}, step=step)
    with open("wide.st", "wb") as file:  # gradients of several MiB
        for step in range(3):
            value = np.random.default_rng(step).normal(size=(4, 2, 768)).astype(np.float32)
            frames.write(file, {"h": value}, step=step, steps=3, steps_per_epoch=3, batch=4)
        frames.write_end(file)
    with open("large.st", "wb") as file:
        for step in range(40):
            frames.write(file, {"z": np.ones((64, 2, 512), np.float32) * step + 1}, step=step)
        frames.write_end(file)


def answer(request, how):
    """Returns the bytes of a reply, or None if there is none."""
    tensors, meta = request
    step, seq = int(meta["step"]), int(meta["seq"])
    if how == "kill" or (how == "kill-later" and step == 2):
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "error":
        return frames.pack(error="peer: it hurts\nhere")
    if how == "end":
        return frames.pack(end=1)
    if how == "damaged":
        return struct.pack("<Q", 64) + b"{" * 100
    if how == "length":
        return b"\xff" * 64
    reply = frames.pack({"dz": tensors["z"] / 2}, step=step, seq=seq + (how == "seq"), loss=1.5)
    if how == "half":
        sys.stdout.buffer.write(reply[: len(reply) // 2])
        sys.stdout.flush()
        os._exit(0)
    return None if how == "silent" else reply


def serve(how):
    if how == "early":
        sys.exit(0)
    if how == "three":
        sys.exit(3)
    if how == "closed":
        os.close(1)
        time.sleep(60)
    while (request := frames.read(sys.stdin.buffer)) and "end" not in request[1]:
        if (reply := answer(request, how)) is not None:
            sys.stdout.buffer.write(reply)
            sys.stdout.flush()
    if how == "stay":
        time.sleep(60)
    frames.write_end(sys.stdout.buffer)
    if how == "late-three":
        sys.stdout.flush()
        os._exit(3)


def last_words():
    """An optimizer that accepts a join, then sends the reason of a failure, and exits at once."""
    tensors, meta = frames.read(sys.stdin.buffer)
    frames.write(sys.stdout.buffer, tensors, **{**meta, "step": 0})
    sys.stdout.flush()
    frames.read(sys.stdin.buffer)
    frames.write(sys.stdout.buffer, {}, error="peer: it hurts")
    sys.stdout.flush()
    os._exit(3)


def unpack(message):
    return frames.read(io.BytesIO(message))


def bind(address, how):
    import zmq

    router = zmq.Context().socket(zmq.ROUTER)
    router.bind(address)
    router.rcvtimeo = 8000
    while True:
        identity, message = router.recv_multipart()
        request = unpack(message)
        if "end" in request[1]:
            break
        if (reply := answer(request, how)) is not None:
            router.send_multipart([identity, reply])


def ask(address, how):
    import zmq

    dealer = zmq.Context().socket(zmq.REQ if how == "req" else zmq.DEALER)
    dealer.connect(address)
    dealer.rcvtimeo = 8000
    if how == "mute":
        time.sleep(0.3)
        os._exit(0)
    if how == "garbage":
        dealer.send(b"no frame at all")
        time.sleep(1)
        return
    for step in range(N):
        dealer.send(frames.pack({"z": h(step)}, step=step, seq=step + 7))
        tensors, meta = unpack(dealer.recv())
        assert meta["seq"] == str(step + 7) and tensors["dz"].shape == SHAPE, meta
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
    dealer.send(frames.pack(end=1))
    dealer.close(5000)
    zmq.Context.instance().term()


def pull(address, seconds):
    import zmq

    reader = zmq.Context().socket(zmq.PULL)
    reader.rcvhwm = 2
    reader.bind(address)
    open("bound", "w").close()
    reader.rcvtimeo = 8000
    steps = []
    while True:
        _, meta = unpack(reader.recv())
        if "end" in meta:
            break
        steps.append(meta["step"])
        time.sleep(float(seconds))
    print(*steps)


def slowly(seconds):
    for tensors, meta in frames.read_all(sys.stdin.buffer, end=True):
        time.sleep(float(seconds))
        frames.write(sys.stdout.buffer, tensors, **meta)
        sys.stdout.flush()


def push(address, *seqs):
    import zmq

    writer = zmq.Context().socket(zmq.PUSH)
    writer.connect(address)
    for seq in seqs:
        if seq == "end":
            writer.send(frames.pack(end=1, seq=len(seqs) - 1))
        else:
            writer.send(frames.pack({"z": h(0)}, step=seq, seq=seq))
    writer.close(2000)


def check(path, n):
    with open(path, "rb") as file:
        replies = list(frames.read_all(file, end=True))
    assert len(replies) == int(n) + 1, len(replies)
    assert replies[-1] == ({}, {"end": "1"}), replies[-1]
    for step, (tensors, meta) in enumerate(replies[:-1]):
        assert meta["step"] == str(step) and meta["loss"] == "1.5", meta
        assert np.array_equal(tensors["dh"], h(step) / 2)


def ports(n):
    taken = [socket.socket() for _ in range(int(n))]
    for s in taken:
        s.bind(("127.0.0.1", 0))
    print(*(s.getsockname()[1] for s in taken))


def keys():
    import zmq

    for name in ("server", "client", "other"):
        public, secret = zmq.curve_keypair()
        with open(name + ".pub", "wb") as file:
            file.write(public + b"\n")
        with open(os.open(name + ".key", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(secret)


try:
    globals()[action](*words)
except BrokenPipeError:  # the client has gone; its message is what the test checks
    os._exit(1)
