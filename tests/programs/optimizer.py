"""Clients and input for ntxent.sh, lars.sh and optimizers.sh.

    optimizer.py ROOT losses | same_losses A B
    optimizer.py ROOT run OUT STEPS [KEY=VALUE...]   requests of a run on stdout; see run()
    optimizer.py ROOT share ADDRESS NAME STEPS SECONDS   one of several clients
    optimizer.py ROOT torch NAME=CLASS(SETTINGS)...   runs NAME.st beside torch.optim
    optimizer.py ROOT simulate REPLIES | states A B | content FILE"""

import io
import os
import signal
import sys
import time

import numpy as np

root, action, *words = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402


def load(path):
    with open(path, "rb") as file:
        return list(frames.read_all(file))


# ---- ntxent ----


def losses():
    random = np.random.default_rng(1)

    def z(b, d):
        a = random.normal(size=(b, 2, d))
        a[:, 1] += a[:, 0]
        return a.astype(np.float32)

    def write(name, *all_frames):
        with open(name, "wb") as file:
            for tensors, meta in all_frames:
                frames.write(file, tensors, **meta)
            frames.write_end(file)

    write("losses.st", *(({"z": z(b, d)}, {"step": i, "seq": 9 + i, "mine": "kept"})
                         for i, (b, d) in enumerate([(3, 3), (2, 2), (40, 17), (150, 128)])))
    bad = z(4, 4)
    bad[2, 1, 3] = np.nan
    write("nan.st", ({"z": z(4, 4)}, {"step": 2}), ({"z": bad}, {"step": 3}))
    write("view.st", ({"z": np.zeros((3, 1, 4), np.float32)}, {}))
    write("noz.st", ({"h": z(3, 4)}, {}))
    write("bytes.st", ({"z": np.zeros((3, 2, 4), np.uint8)}, {}))
    write("single.st", ({"z": z(1, 3)}, {}))
    write("empty.st", ({"z": np.zeros((0, 2, 4), np.float32)}, {}))
    write("error.st", ({}, {"error": "augment: no data"}))
    with open("one_end.st", "wb") as file:
        frames.write_end(file)


def same_losses(a, b):
    a, b = load(a), load(b)
    assert len(a) == len(b) == 4
    for (ta, ma), (tb, mb) in zip(a, b):
        assert list(ta) == ["dz"] and ma.keys() == mb.keys(), (ma, mb)
        scale = max(np.abs(tb["dz"]).max(), 1e-6)
        assert np.abs(ta["dz"] - tb["dz"]).max() < 1e-5 * scale
        for key in ma:
            if key in ("loss", "contrast_acc", "contrast_entropy", "z_std", "alignment"):
                assert abs(float(ma[key]) - float(mb[key])) < 1e-6, (key, ma, mb)
            else:
                assert ma[key] == mb[key]


# ---- lars ----

SHAPES = {
    "conv1.weight": (4, 3, 3, 3),
    "bn1.weight": (4,),
    "bn1.bias": (4,),
    "fc.weight": (5, 300),
    "bn1.running_mean": (4,),
    "bn1.num_batches_tracked": (),
}
BUFFERS = ("bn1.running_mean", "bn1.num_batches_tracked")


def initial():
    random = np.random.default_rng(7)
    out = {n: random.normal(size=s).astype(np.float32) for n, s in SHAPES.items()}
    out["bn1.num_batches_tracked"] = np.array(0, np.int64)
    return out


def gradients(step):
    random = np.random.default_rng(100 + step)
    out = {n: random.normal(size=s).astype(np.float32) for n, s in SHAPES.items()}
    out["bn1.num_batches_tracked"] = np.array(step + 1, np.int64)
    return out


def requests(first, last, steps, **fault):
    """Sends a join and the gradients of steps first to last - 1, in two buckets each."""
    join = initial()
    if "half" in fault:
        join["conv1.weight"] = join["conv1.weight"].astype(np.float16)
    if "slash" in fault:
        join["a/b"] = np.zeros(2, np.float32)
    if "extra" in fault:
        join["extra.weight"] = np.zeros(2, np.float32)
    if "narrow" in fault:
        join["fc.weight"] = np.zeros((5, 299), np.float32)
    frozen = fault.get("frozen", "").split(",") if "frozen" in fault else []
    kept = {n for n in SHAPES if n.split(".")[0] in frozen}
    yield join, {"kind": "join", "seq": 0} | ({"frozen": fault["frozen"]} if frozen else {})
    seq = 1
    for step in range(first, last):
        g = gradients(step)
        here = step == int(fault.get("at", last - 1))
        if "nan" in fault and here:
            g["fc.weight"][3, 7] = np.nan
        if "unknown" in fault and here:
            g["fc.bias"] = np.zeros(5, np.float32)
        if "shape" in fault and here:
            g["fc.weight"] = np.zeros((300, 5), np.float32)
        g = {n: v for n, v in g.items() if n not in kept}
        names = list(g)
        first_bucket = ["bn1.running_mean", "bn1.num_batches_tracked", "fc.weight"]
        buckets = [first_bucket, [n for n in names if n not in first_bucket]]
        if "twice" in fault and here:
            buckets.insert(1, ["fc.weight"])
        if "missing" in fault and here:
            buckets = buckets[:1]
        buckets = [[n for n in b if n in g] for b in buckets]
        for bucket in filter(None, buckets):
            number = step + (int(fault["jump"]) if "jump" in fault and here else 0)
            meta = {"kind": "gradients", "step": number, "steps": steps, "seq": seq}
            if "words" in fault and here:
                meta["steps"] = "many"
            if "zero" in fault and here:
                meta["batch"] = 0
            yield {n: g[n] for n in bucket}, {"steps_per_epoch": 2, "batch": 256, **meta}
            seq += 1


def run(first, last, steps, *faults):
    """KEY=VALUE sets a defect; `noend` leaves out the end frame."""
    fault = dict((f + "=").split("=")[:2] for f in faults)
    for tensors, meta in requests(int(first), int(last), int(steps), **fault):
        frames.write(sys.stdout.buffer, tensors, **meta)
    if "wait" in fault:
        sys.stdout.flush()
        time.sleep(float(fault["wait"]))
    if "noend" not in fault:
        frames.write_end(sys.stdout.buffer)


def simulate(path):
    """Computes LARS in float64: the replies of lars --warmup-steps 2 to `run 0 6 6`."""
    replies = load(path)
    w = {n: v.astype(np.float64) for n, v in initial().items()}
    v = {n: 0 for n in w}
    for name, value in initial().items():
        assert np.array_equal(replies[0][0][name], value) and replies[0][0][name].dtype == value.dtype
    assert replies[0][1]["kind"] == "join" and replies[0][1]["step"] == "0"
    asked = list(requests(0, 6, 6))
    assert len(replies) == len(asked)
    for (g, meta), (values, reply) in zip(asked[1:], replies[1:]):
        step = meta["step"]
        rate = 0.3 * (step / 2 if step < 2 else 0.5 * (1 + np.cos(np.pi * (step - 2) / 4)))
        assert abs(float(reply["lr"]) - rate) < 1e-7 and reply["seq"] == str(meta["seq"])
        assert reply["kind"] == "parameters" and reply["step"] == str(step)
        assert set(values) == set(g)
        for name in g:
            if name in BUFFERS:
                assert np.array_equal(values[name], g[name]) and "squares/" + name not in reply
                continue
            squares = (g[name].astype(np.float64) ** 2).sum()
            assert abs(float(reply["squares/" + name]) - squares) < 1e-12 * squares, (name, reply)
            d, trust = g[name].astype(np.float64), 1.0
            if d.ndim > 1:
                d = d + 1e-4 * w[name]
                trust = 1e-3 * np.linalg.norm(w[name]) / np.linalg.norm(d)
            v[name] = 0.9 * v[name] + rate * trust * d
            w[name] = w[name] - v[name]
            assert np.abs(values[name] - w[name]).max() < 1e-6 * np.abs(w[name]).max()


def frozen(state, model):
    """Checks the files of a run in which conv1 and bn1 were frozen."""
    s, m = load(state)[0][0], load(model)[0][0]
    start = initial()
    assert set(m) == set(SHAPES)
    for name in SHAPES:
        same = np.array_equal(m[name], start[name])
        assert same == (name.split(".")[0] in ("conv1", "bn1")), name
        assert np.array_equal(m[name], s[name])
    assert not s["exp_avg/conv1.weight"].any() and s["exp_avg/fc.weight"].any()


def torch(*cases):
    """Prints each case's name and its defect."""
    for case in cases:
        name, call = case.split("=", 1)
        kind, settings = call[:-1].split("(", 1)
        try:
            beside_torch(name + ".st", name + ".state", kind, eval(f"dict({settings})"))
            print(name, "agrees")
        except AssertionError as error:
            print(name, "differs:", error)


def beside_torch(path, state, kind, settings):
    """Returns the parameters after each of ten steps, and the optimizer's state."""
    import torch

    replies, (s, meta) = load(path), load(state)[0]
    decayed = settings.pop("decay", "all")
    w = {n: torch.nn.Parameter(torch.from_numpy(v).double())
         for n, v in initial().items() if n not in BUFFERS}
    groups = [{"params": [p for p in w.values() if p.ndim > 1]},
              {"params": [p for p in w.values() if p.ndim <= 1]}]
    if decayed == "weights":
        groups[1]["weight_decay"] = 0
    optimizer = getattr(torch.optim, kind)(groups, lr=0.03, **settings)
    at = 1
    for step in range(10):
        for name, g in gradients(step).items():
            if name in w:
                w[name].grad = torch.from_numpy(g).double()
        optimizer.step()
        for values, _ in replies[at:at + 2]:
            for name in values.keys() - set(BUFFERS):
                want = w[name].detach().numpy()
                assert np.abs(values[name] - want).max() <= 1e-6 * np.abs(want).max(), (step, name)
        at += 2
    assert at == len(replies) and meta["step"] == "10"
    names = {"momentum_buffer": "momentum"}
    for name, p in w.items():
        for key, want in optimizer.state[p].items():
            if torch.is_tensor(want) and want.shape == p.shape:
                have, want = s[f"{names.get(key, key)}/{name}"], want.numpy()
                assert np.abs(have - want).max() <= 1e-6 * np.abs(want).max(), (key, name)


def states(state, model):
    """Checks the contents of the two files of a run of six steps."""
    (s, meta), (m, model_meta) = load(state)[0], load(model)[0]
    assert meta["kind"] == "state" and meta["step"] == "6" and meta["optimizer"] == "lars", meta
    assert model_meta["kind"] == "model" and set(m) == set(SHAPES)
    assert set(s) == set(SHAPES) | {"momentum/" + n for n in SHAPES if n not in BUFFERS}
    for name in m:
        assert np.array_equal(m[name], s[name])
    assert m["bn1.num_batches_tracked"] == 6 and m["bn1.num_batches_tracked"].dtype == np.int64
    assert np.array_equal(m["bn1.running_mean"], gradients(5)["bn1.running_mean"])


def same(a, b):
    """Returns True for the same tensors in any order."""
    a, b = load(a)[0][0], load(b)[0][0]
    assert a.keys() == b.keys()
    for name in a:
        assert np.array_equal(a[name], b[name]), name


def step(path, number):
    assert load(path)[0][1]["step"] == number, load(path)[0][1]


def share(address, part, steps, seconds):
    """Client `part` of two, which have a half of the parameters each. It sleeps before each step,
    so that the other runs ahead, and has several requests in flight. `die` for seconds: it is killed."""
    import zmq

    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.connect(address)
    socket.rcvtimeo = 5000  # a server that has failed does not answer
    # the second client has the tensors after the second one
    names = list(SHAPES)[: 2] if part == "0" else list(SHAPES)[2:]
    # Buffers come first, since a step is complete with its last gradient.
    names.sort(key=lambda name: name not in BUFFERS)

    def receive():
        return frames.read(io.BytesIO(socket.recv()))

    start = initial()
    socket.send(frames.pack({n: start[n] for n in names}, kind="join", seq=0))
    values, meta = receive()
    assert meta["step"] == "0" and set(values) == set(names)
    open("joined." + part, "w").close()
    while not all(os.path.exists(f"joined.{i}") for i in "01"):
        time.sleep(0.01)
    seq = 1
    for number in range(int(steps)):
        if seconds == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(seconds))
        g = gradients(number)
        for name in names:
            meta = {"step": number, "steps": 6, "steps_per_epoch": 2, "batch": 256, "seq": seq}
            socket.send(frames.pack({name: g[name]}, **meta))
            seq += 1
        for i, name in enumerate(names):
            values, meta = receive()
            assert "error" not in meta, meta
            assert list(values) == [name] and meta["seq"] == str(seq - len(names) + i), meta
    socket.send(frames.pack(end=1))
    socket.close(3000)
    zmq.Context.instance().term()


def intrude(address):
    """Sends as two strangers: one joins with a tensor of a client, one sends gradients."""
    import zmq

    while not all(os.path.exists(f"joined.{i}") for i in "01"):
        time.sleep(0.01)
    name = list(SHAPES)[0]
    for meta in ({"kind": "join"}, {"step": 1, "steps": 6}):
        socket = zmq.Context.instance().socket(zmq.DEALER)
        socket.connect(address)
        socket.rcvtimeo = 5000
        socket.send(frames.pack({name: gradients(0)[name]}, seq=3, **meta))
        values, meta = frames.read(io.BytesIO(socket.recv()))
        assert "error" in meta and meta["seq"] == "3", meta
        socket.close(0)


globals()[action](*words)
