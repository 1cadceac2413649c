"""Measures what bytes and messages cost the programs that move them: the processor time of each
thread, which other work on the machine hardly changes."""
import contextlib
import glob
import json
import os
import struct
import time

from report import Failure
from subjects import Server, Subject, part

SMALL, MIDDLE = 512, 1 << 20
LARGE = 8 << 20  # as most of a ResNet's bytes travel: a tensor is never split
ROUNDS = 20


def cpu_seconds(pid):
    """Returns the processor time of a process's main thread and of ZeroMQ's I/O thread."""
    main = io = 0.0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        folder = os.path.dirname(path)
        with contextlib.suppress(OSError), open(path, encoding="ascii") as f, \
                open(f"{folder}/comm", encoding="utf-8") as name:
            seconds = int(f.read().split()[0]) / 1e9
            if os.path.basename(folder) == str(pid):
                main += seconds
            elif "IO" in name.read():
                io += seconds
    return main, io


def all_seconds(pid):
    """Processor time of a process and those it has started, all threads."""
    total = 0.0
    for process in (pid, *children(pid)):
        for path in glob.glob(f"/proc/{process}/task/*/schedstat"):
            with contextlib.suppress(OSError), open(path, encoding="ascii") as f:
                total += int(f.read().split()[0]) / 1e9
    return total


def children(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        for child in map(int, f.read().split()):
            yield child
            yield from children(child)


def rounds_of(subject, pids, count):
    """Seconds of the fastest round, and each process's seconds of main and I/O thread a round."""
    subject.round()
    before = [cpu_seconds(pid) for pid in pids]
    times = [subject.round() for _ in range(count)]
    after = [cpu_seconds(pid) for pid in pids]
    used = [tuple((b - a) / count for a, b in zip(*pair)) for pair in zip(before, after)]
    return min(times), used


def of_ranks(kind, address, world, size, count=ROUNDS):
    """A round of reduce or gather: seconds, then (main, I/O) of the server and of the clients."""
    with Server(kind, "--world", world, "--listen", address) as server, \
            part("ranks", world=world, bytes=size, link=address) as clients:
        return rounds_of(clients, (server.process.pid, clients.process.pid), count)


def of_optimizer(address, depth, count=15):
    """A ResNet's step through a reduce with lars behind a pipe: CPU seconds of the clients, the
    reduce and lars, as (main, I/O)."""
    command = ("reduce", "--world", 1, "--listen", address, "--next",
               "exec:exec lars --model /dev/null --save-every 0")
    with Server(*command) as server, part("optimizer", depth=depth, link=address) as client:
        lars = list(children(server.process.pid))[-1]
        return rounds_of(client, (client.process.pid, server.process.pid, lars), count)


class Head(Subject):
    """project with ntxent and lars, on features that were made up."""

    def __init__(self, images, width, threads):
        self.shape, self.step = [images, 2, width], 0
        raw = bytearray(os.urandom(4 * images * 2 * width))
        raw[3::4] = b"\x3f" * (images * 2 * width)  # floats from 0.5 to 2
        raw[2::4] = bytes(b & 0x7F for b in raw[2::4])
        self.data = bytes(raw)
        super().__init__("project", "--threads", threads, "--opt", "exec:lars --model /dev/null",
                         "--next", f"exec:ntxent --threads {threads}")
        self.round()

    def round(self):
        text = json.dumps({
            "__metadata__": {"step": str(self.step), "steps": "1000000", "batch": str(self.shape[0])},
            "h": {"dtype": "F32", "shape": self.shape, "data_offsets": [0, len(self.data)]}}).encode()
        text += b" " * (-(8 + len(text)) % 64)
        self.step += 1
        since = time.perf_counter()
        self.send(struct.pack("<Q", len(text)) + text + self.data)
        self.wait()
        size = struct.unpack("<Q", self.process.stdout.read(8))[0]
        if len(self.process.stdout.read(size + len(self.data))) < size + len(self.data):
            raise self.failure("ended")
        return time.perf_counter() - since

    def __exit__(self, kind, *rest):
        if not kind:
            text = b'{"__metadata__":{"end":"1"}}'
            self.send(struct.pack("<Q", len(text)) + text)
        super().__exit__(kind, *rest)


def fit(small, large, count=1):
    """Seconds of a message and of a byte."""
    byte = (large - small) / ((LARGE - SMALL) * count)
    return max(0.0, small / count - byte * SMALL), byte


def measure(address, world=4, depth=18):
    """The costs that cluster.py takes; in each round the clients send and get a frame."""
    costs = {}
    for kind in ("reduce", "gather"):
        runs = [of_ranks(kind, address, world, size)[1] for size in (SMALL, LARGE)]
        (server, client), (server_large, client_large) = runs
        costs[f"{kind} message"], costs[f"{kind} byte"] = fit(server[0], server_large[0], world)
        if kind == "reduce":  # one message each way
            costs["io message"], costs["io byte"] = fit(server[1], server_large[1], 2 * world)
            costs["client message"], costs["client byte"] = fit(client[0], client_large[0], 2 * world)
    _, (client, reduce, lars) = of_optimizer(address, depth)
    from cluster import Network, frame_bytes
    count = sum(map(frame_bytes, Network(depth, 32).buckets()))
    costs["lars byte"] = (lars[0] + max(0.0, reduce[0] - costs["reduce byte"] * count)) / count
    return costs


def head_seconds(images, width, rounds=3):
    """Processor seconds of a step of the head, all its programs together."""
    with Head(images, width, 1) as head:
        return seconds_of(head, rounds)


def compute_seconds(images, grains, at_once, rounds=4):
    """Processor seconds of a step of ResNet-18, 32 px, on one thread, while others do the same."""
    with contextlib.ExitStack() as stack:
        parts = [stack.enter_context(part("network", views=2 * images, threads=1, grains=grains))
                 for _ in range(at_once)]
        best = []
        for _ in range(rounds):
            before = [all_seconds(p.process.pid) for p in parts]
            for p in parts:
                p.send(b"\n")
            for p in parts:
                p.line()
            best.append(max(all_seconds(p.process.pid) - b for p, b in zip(parts, before)))
        return min(best)


def seconds_of(subject, rounds):
    times = []
    for _ in range(rounds):
        before = all_seconds(subject.process.pid)
        subject.round()
        times.append(all_seconds(subject.process.pid) - before)
    return min(times)
