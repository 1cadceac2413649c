"""Simulates a training step of N workers: the bytes of each edge, and who waits for whom.

Processes are generators that yield what they wait for. A resource (a thread, a network card) serves
one request after the other. A message passes the sender's I/O thread, its machine's card, and then
the receiver's; a card can send and receive at the same time. The costs of a byte and of a message are
measured (costs.py)."""
import collections
import heapq
import json
import zlib

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BUCKET = 1 << 20  # lib/program/optimizer_client.c
PROJECTION = 128
DIGITS = 5  # lib/engine/exact_sum.h: of each of batch norm's sums
METADATA = {"F32": 200, "I64": 72}  # bytes in a frame of gradients, and of statistics, about

# Processor seconds for a message and for a byte, from `scaling measure` on 2 cores of an AMD EPYC (Zen 5), tcp.
COSTS = {"reduce message": 48e-6, "reduce byte": 0.50e-9, "gather message": 48e-6,
         "gather byte": 0.64e-9, "io message": 25e-6, "io byte": 0.29e-9, "client message": 30e-6,
         "client byte": 0.26e-9, "lars byte": 0.77e-9}
# The head's seconds on one core, by the number of features: for a step, an image, a pair of images.
HEAD = {512: (4e-3, 37e-6, 27e-9), 2048: (60e-3, 0.48e-3, 27e-9)}



class Network:
    """operations: (name, kind, shape, multiplications for a view), as they run forward."""

    def __init__(self, depth, pixels):
        self.depth, self.pixels, self.operations = depth, pixels, []
        cifar = pixels <= 64
        side = self.convolution("conv1", 3, 64, 3 if cifar else 7, pixels, 1 if cifar else 2)
        self.norm("bn1", 64)
        side = side if cifar else (side + 1) // 2
        width = 64
        for stage, blocks in enumerate(BLOCKS[depth]):
            for i in range(blocks):
                stride = 2 if stage and not i else 1
                side, width = self.block(f"layer{stage + 1}.{i}.", width, 64 << stage, stride, side)
        self.features = width

    def block(self, name, width, channels, stride, side):
        wide = channels * (4 if self.depth >= 50 else 1)
        steps = ((channels, 1, 1), (channels, 3, stride), (wide, 1, 1)) if self.depth >= 50 else \
            ((channels, 3, stride), (channels, 3, 1))
        start, inputs = side, width
        for i, (outputs, window, by) in enumerate(steps):
            side = self.convolution(f"{name}conv{i + 1}", inputs, outputs, window, side, by)
            if i + 1 < len(steps):
                self.norm(f"{name}bn{i + 1}", outputs)
            inputs = outputs
        if stride > 1 or width != wide:
            self.convolution(f"{name}downsample.0", width, wide, 1, start, stride)
            self.norm(f"{name}downsample.1", wide)
        self.norm(f"{name}bn{len(steps)}", wide)
        return side, wide

    def convolution(self, name, inputs, outputs, window, side, stride):
        side = (side + stride - 1) // stride
        shape = [outputs, inputs, window, window]
        self.operations.append((name, "convolution", shape, size(shape) * side * side))
        return side

    def norm(self, name, channels):
        self.operations.append((name, "norm", [channels], 0))

    def norms(self):
        return [shape[0] for _, kind, shape, _ in self.operations if kind == "norm"]

    def buckets(self, wire="fp32"):
        """Lists of (name, dtype, shape, whether only rank 0 sends it under --sync, the number of the
        operation behind which it is ready), each list a message, in the order they are sent."""
        tensors = []
        for name, kind, shape, _ in self.operations:
            if kind == "norm":
                tensors += [(f"{name}.{what}", "F32", shape, "buffer", None)
                            for what in ("running_mean", "running_var")]
                tensors.append((f"{name}.num_batches_tracked", "I64", [], "buffer", None))
        for i in reversed(range(len(self.operations))):
            name, kind, shape, _ = self.operations[i]
            if kind == "norm":
                tensors += [(f"{name}.{what}", "F32", shape, "shared", i) for what in ("bias", "weight")]
            else:
                tensors.append((f"{name}.weight", "BF16" if wire == "bf16" else "F32", shape, "own", i))
        buckets, bucket = [], []
        for tensor in tensors:
            bucket.append(tensor)
            if sum(map(tensor_bytes, bucket)) >= BUCKET:
                buckets.append(bucket)
                bucket = []
        return buckets + [bucket] * bool(bucket)


def size(shape):
    product = 1
    for n in shape:
        product *= n
    return product


def tensor_bytes(tensor):
    return size(tensor[2]) * {"F32": 4, "BF16": 2, "I64": 8}[tensor[1]]


def frame_bytes(tensors):
    """Of a frame with these tensors: header and data."""
    header, at = {}, 0
    for tensor in tensors:
        end = at + tensor_bytes(tensor)
        header[tensor[0]] = {"dtype": tensor[1], "shape": tensor[2], "data_offsets": [at, end]}
        at = end
    kind = "I64" if all(tensor[1] == "I64" for tensor in tensors) else "F32"
    text = 8 + METADATA[kind] + len(json.dumps(header, separators=(",", ":")))
    return (text + 63) // 64 * 64 + at


def sent_by(tensors, rank, sync):
    """What a rank sends of a bucket (lib/program/optimizer_client.c)."""
    return [t for t in tensors if rank == 0 or t[3] == "own" or (t[3] == "shared" and not sync)]


def owner(name, count):
    return zlib.crc32(name.encode()) % count  # lib/program/shard.h


def edge_bytes(network, images, wire="fp32", sync=False, rank=1):
    """Bytes that a step of one worker sends and gets on each edge, as {edge: (out, in)}."""
    x = images * 2 * network.pixels ** 2 * 3
    h = frame_bytes([("h", "F32", [images, 2, network.features])])
    up = sum(frame_bytes(sent_by(b, rank, sync)) for b in network.buckets(wire))
    down = sum(frame_bytes(b) for b in network.buckets(wire))
    statistics = sum(2 * frame_bytes([("layer1.0.bn1", "I64", [DIGITS * 2 * c + 1])])
                     for c in network.norms())
    return {"views": (0, frame_bytes([("x", "F32", [])]) - 4 + x + 16 * images), "features": (h, h),
            "parameters": (up, down), "statistics": (statistics, statistics) if sync else (0, 0)}


def head_of(features, cores):
    """The seconds that the head takes for a batch, as a function."""
    step, image, pair = HEAD[512 if features <= 512 else 2048]
    return lambda images: (step + image * images + pair * images ** 2) / cores


# ---- what passes time ----


class Clock:
    def __init__(self):
        self.now, self.events, self.count = 0.0, [], 0

    def at(self, time, call, *args):
        self.count += 1
        heapq.heappush(self.events, (time, self.count, call, args))

    def run(self):
        while self.events:
            self.now, _, call, args = heapq.heappop(self.events)
            call(*args)

    def start(self, process):
        self.at(self.now, self.step, process)

    def step(self, process, value=None):
        """A process yields a call that takes what to resume later, and gives whether that need not be,
        and what was waited for."""
        try:
            ready = True
            while ready:
                ready, value = process.send(value)(process)
        except StopIteration:
            pass


class Machine:
    """With cores its threads share them, in slices; without, each thread has one."""

    SLICE = 2e-3

    def __init__(self, clock, network_speed=None, latency=0.0, cores=None):
        self.clock, self.latency = clock, latency
        self.speed = network_speed  # bytes a second; None: nothing leaves the machine
        self.sent_until = self.got_until = 0.0
        self.sent = self.got = 0
        self.cores = [0.0] * cores if cores else None
        self.used = 0.0  # seconds of cores

    def compute(self, seconds):
        def begin(process):
            if seconds > 0:
                self._slice(process, seconds)
            return seconds <= 0, None
        return begin

    def _slice(self, process, seconds):
        if seconds <= 0:
            self.clock.step(process)
        elif self.cores is None:
            self.clock.at(self.clock.now + seconds, self.clock.step, process)
        else:
            part = min(seconds, self.SLICE)
            self.clock.at(self.core(self.clock.now, part), self._slice, process, seconds - part)

    def core(self, now, seconds):
        """The time at which a core that is free next has done so much."""
        self.used += seconds
        if self.cores is None:
            return now + seconds
        free = heapq.heappop(self.cores)
        heapq.heappush(self.cores, max(now, free) + seconds)
        return max(now, free) + seconds


class Program:
    """A process with a thread of ZeroMQ's beside it."""

    def __init__(self, machine, costs):
        self.machine, self.costs, self.io_until, self.box = machine, costs, 0.0, Box(machine.clock)

    def io(self, now, count):
        seconds = self.costs["io message"] + count * self.costs["io byte"]
        if self.machine.cores is None:
            self.io_until = max(now, self.io_until) + seconds
        else:
            self.io_until = self.machine.core(max(now, self.io_until), seconds)
        return self.io_until

    def work(self, seconds):
        return self.machine.compute(seconds)

    def send(self, to, count, item):
        clock, machine = self.machine.clock, self.machine
        time = self.io(clock.now, count)
        if to.machine is machine:
            clock.at(time, self.arrive, to, count, item)
            return
        seconds = count / machine.speed
        machine.sent += count
        machine.sent_until = max(time, clock.now + seconds, machine.sent_until + seconds)
        clock.at(machine.sent_until + machine.latency, self.arrive, to, count, item)

    def arrive(self, to, count, item):
        clock, machine, time = to.machine.clock, to.machine, to.machine.clock.now
        if machine is not self.machine:
            machine.got += count
            machine.got_until = time = max(time, machine.got_until + count / machine.speed)
        clock.at(max(to.io(time, count), time), to.box.put, item)


class Box:
    """What came to a program: items by a key, each taken in its order."""

    def __init__(self, clock):
        self.clock, self.items, self.waiting = clock, collections.defaultdict(collections.deque), {}

    def put(self, keyed):
        key, item = keyed
        process = self.waiting.pop(key, None)
        if process:
            self.clock.step(process, item)
        else:
            self.items[key].append(item)

    def take(self, key):
        def begin(process):
            if self.items[key]:
                return True, self.items[key].popleft()
            self.waiting[key] = process
            return False, None
        return begin


# ---- the programs ----


class Ranks(Program):
    """reduce or gather: rounds of a frame from each client, which is (program, key, index)."""

    def __init__(self, machine, costs, kind, finish=None, parent=None):
        super().__init__(machine, costs)
        self.kind, self.finish, self.clients = kind, finish, []
        self.up = parent.join(self, "answer") if parent else None

    def join(self, program, key):
        self.clients.append((program, key))
        return self, len(self.clients) - 1

    def serve(self):
        up = self.up
        while True:
            counts = []
            for i in range(len(self.clients)):
                counts.append((yield self.box.take(i)))
            most, total = max(counts), sum(counts)
            whole = total if self.kind == "gather" else most
            yield self.work(len(counts) * self.costs[f"{self.kind} message"] +
                            total * self.costs[f"{self.kind} byte"])
            if up:
                self.send(up[0], whole, (up[1], whole))
                yield self.box.take("answer")
                yield self.work(whole * self.costs["client byte"])
            elif self.finish:
                yield self.work(self.finish(whole))
            for (program, key), count in zip(self.clients, counts):
                answer = count if self.kind == "gather" else most
                self.send(program, answer, (key, answer))


class Worker(Program):
    def __init__(self, machine, costs, rank, run):
        super().__init__(machine, costs)
        self.rank, self.run, self.waits, self.ends = rank, run, collections.Counter(), []
        self.optimizers = [top.join(self, f"parameters{i}") for i, top in enumerate(run.tops[rank])]
        self.features = run.gather[rank].join(self, "gradients")
        self.statistics = run.sync[rank].join(self, "sums") if run.sync else None

    def ask(self, peer, count, key, what):
        since = self.machine.clock.now
        yield self.work(self.costs["client message"] + count * self.costs["client byte"])
        self.send(peer[0], count, (peer[1], count))
        yield self.box.take(key)
        self.waits[what] += self.machine.clock.now - since

    def share(self, channels):
        if self.statistics:
            count = frame_bytes([("layer1.0.bn1", "I64", [DIGITS * 2 * channels + 1])])
            yield from self.ask(self.statistics, count, "sums", "statistics")

    def steps(self, count):
        run = self.run
        plan, clock = run.network.operations, self.machine.clock
        total = sum(work for *_, work in plan)
        seconds = [run.compute * work / total for *_, work in plan]
        for _ in range(count):
            self.waits.clear()
            for (_, kind, shape, _), time in zip(plan, seconds):
                if kind == "norm":
                    yield from self.share(shape[0])
                yield self.work(time / 3)
            yield from self.ask(self.features, run.h, "gradients", "features")
            sent, buckets = 0, run.parts[self.rank > 0]
            for i in reversed(range(len(plan))):
                yield self.work(seconds[i] * 2 / 3)
                if plan[i][1] == "norm":
                    yield from self.share(plan[i][2][0])
                while sent < len(buckets) and buckets[sent][0] >= i:
                    for top, part in zip(self.optimizers, buckets[sent][1]):
                        yield self.work(self.costs["client message"] + part * self.costs["client byte"])
                        self.send(top[0], part, (top[1], part))
                    sent += 1
            since = clock.now
            for _ in range(sent):
                for i in range(len(self.optimizers)):
                    got = yield self.box.take(f"parameters{i}")
                    yield self.work(got * self.costs["client byte"])
            self.waits["parameters"] += clock.now - since
            self.ends.append((clock.now, dict(self.waits)))


class Run:
    """One run: options as in tests/bench/scaling. After run(): step, waits, busy, root_bytes."""

    def __init__(self, costs, network, workers, images, compute, head, speed, latency, fan_in=0,
                 shards=1, wire="fp32", sync=False, together=False, cores=None):
        self.costs, self.network, self.workers, self.compute = costs, network, workers, compute
        self.h = frame_bytes([("h", "F32", [images, 2, network.features])])
        self.clock = clock = Clock()
        one = Machine(clock, cores=cores) if cores else None
        machine = (lambda: one) if cores else (lambda: Machine(clock, speed, latency))
        hosts = [machine() for _ in range(workers)]
        self.root = machine()
        self.programs = []
        self.parts = [self.cut(rank, wire, sync, shards) for rank in (0, 1)]

        optimize = lambda count: count * costs["lars byte"]  # noqa: E731
        gathered = lambda count: head(images * workers)  # noqa: E731
        self.roots = [self.root] + [machine() for _ in range(shards - 1)]
        columns = [self.tree(hosts, root, fan_in, "reduce", optimize) for root in self.roots]
        self.tops = list(zip(*columns))
        self.gather = self.tree(hosts, self.root if together else machine(), 0, "gather", gathered)
        self.sync = self.tree(hosts, self.root if together else machine(), fan_in, "reduce",
                              None) if sync else None
        self.list = [Worker(host, costs, rank, self) for rank, host in enumerate(hosts)]

    def cut(self, rank, wire, sync, shards):
        """Of each bucket: the operation behind which it leaves, and its bytes for each optimizer."""
        buckets = []
        for bucket in self.network.buckets(wire):
            mine = sent_by(bucket, rank, sync)
            parts = [frame_bytes([t for t in mine if owner(t[0], shards) == k])
                     for k in range(shards)]
            buckets.append((min(t[4] for t in bucket if t[4] is not None), parts))
        return buckets

    def tree(self, hosts, root, fan_in, kind, finish):
        """What each worker speaks to: one program, or a tree of them whose lower ones run on
        the machines of their first workers."""
        top = Ranks(root, self.costs, kind, finish)
        self.programs.append(top)
        levels = [[top]]
        width = fan_in
        while fan_in and width < len(hosts):
            levels.append([Ranks(hosts[i * len(hosts) // width], self.costs, "reduce",
                                 parent=levels[-1][i // fan_in]) for i in range(width)])
            self.programs += levels[-1]
            width *= fan_in
        last = levels[-1]
        return [last[i * len(last) // len(hosts)] for i in range(len(hosts))]

    def go(self, steps=3):
        for program in self.programs:
            self.clock.start(program.serve())
        for worker in self.list:
            self.clock.start(worker.steps(steps))
        self.clock.run()
        ends = [max(w.ends[i][0] for w in self.list) for i in range(steps)]
        self.step = (ends[-1] - ends[0]) / (steps - 1)
        worst = max(self.list, key=lambda w: sum(w.ends[-1][1].values()))
        self.waits = worst.ends[-1][1]
        self.used = self.root.used / steps
        self.root_bytes = [max(get(root) for root in self.roots) / steps
                           for get in (lambda r: r.got, lambda r: r.sent)]
        return self

    def bottleneck(self):
        """The edge that a worker waits for most."""
        longest = max(self.waits, key=self.waits.get)
        return longest if self.waits[longest] > 0.05 * self.step else "none"
