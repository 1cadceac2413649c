"""Helpers of stage_py.sh: frames against the C programs, and a stage with parameters in numpy.

    stage_py.py ROOT types                writes frames of every dtype, and reads them as inspect does
    stage_py.py ROOT corpus               both languages accept or reject the fuzzers' inputs alike
    stage_py.py ROOT linear OPTION...     the stage z = h W', with --opt and --next
    stage_py.py ROOT follow METRICS MODEL recomputes its three steps in float64
    stage_py.py ROOT wrong_answers        what the optimizer's client says of optimizers that answer wrongly"""

import os
import subprocess
import sys

import numpy as np

root, action, *words = sys.argv[1:]
sys.path[:1] = [root + "/examples", root + "/tests"]  # not this folder, whose names may hide those of Python
import frames  # noqa: E402
import simclr_stage as stage  # noqa: E402

RATE = 0.5


def types():
    """Values cross the languages: what Python writes, C reads and writes, and Python reads again."""
    random = np.random.default_rng(3)
    floats = random.normal(size=(5, 3)).astype("<f4")
    floats[0] = np.nan, np.inf, -0.0
    many = random.normal(size=4096).astype("<f4") * 10.0 ** random.integers(-30, 30, 4096)
    ties = (np.arange(4096, dtype="<u4") << 14 | 0x3F800000).view("<f4")  # halfway between two bfloat16
    want = {"f32": floats, "bf16": stage.narrow(floats), "f16": floats.astype("<f2"), "u8": np.arange(7, dtype="u1"),
            "i32": np.arange(-3, 3, dtype="<i4"), "i64": np.array(2**62, "<i8"), "none": np.zeros((0, 3), "<f4")}
    for values in (many.astype("<f4"), ties):
        assert np.array_equal(stage.narrow(values)["bf16"], frames.bf16(values).bits)
        assert np.array_equal(stage.widen(stage.narrow(values)), (frames.bf16(values).bits.astype("<u4") << 16).view("<f4"))
    meta = {"loss": "1.5", "name": 'ü " \\ \n 日本'}
    data = stage.pack(want, meta, crc=True) + stage.pack({}, {"end": "1"})
    done = subprocess.run(["progress", "--crc"], input=data, stdout=subprocess.PIPE, check=True)
    got = stage.parse(done.stdout[: -len(stage.pack({}, {"end": "1"}))])
    assert "crc32" in got.meta and {key: got.meta[key] for key in meta} == meta, got.meta
    for name, a in want.items():
        b = got.tensors[name]
        assert b.dtype == a.dtype and b.shape == a.shape and b.tobytes() == a.tobytes(), name


def corpus():
    n = {True: 0, False: 0}
    for folder in ("frame", "reader"):
        for name in sorted(os.listdir(f"{root}/tests/fuzz/corpus/{folder}")):
            path = f"{root}/tests/fuzz/corpus/{folder}/{name}"
            if os.path.getsize(path) == 0:
                continue
            good = subprocess.run(["inspect", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            why = ""
            try:
                with open(path, "rb", buffering=0) as file:
                    while frame := stage.read_frame(file, path):
                        if "error" in frame.meta:
                            raise stage.Failure(frame.meta["error"])
            except stage.Failure as failure:
                why = str(failure)
            if not why.endswith("numpy has no arrays of this shape"):
                assert (good.returncode == 0) == (not why), (path, good.stderr, why)
            assert "\n" not in why
            n[not why] += 1
    assert n[True] > 10 and n[False] > 30, n


def weights():
    return np.random.default_rng(5).normal(size=(4, 6)).astype("<f4") / 4


def linear(*_):
    parser = stage.new_parser("z = h W'")
    parser.add_argument("--opt", default="")
    parser.add_argument("--next", default="")
    parser.add_argument("--wire", default="fp32")
    stage.add_options(parser)
    options = parser.parse_args(words)
    links, own = [], {}

    def open_links():
        links[:] = [stage.Link(options.next, options), stage.Link(options.opt, options)]
        return links

    def answer(tensors, meta):
        h = stage.need(tensors, "h", "F32", (None, 2, 6))
        if not own:
            own["optimizer"] = stage.Optimizer(links[1], options.wire)
            own.update(own["optimizer"].join(meta, {"linear.weight": weights()}))
        z = (h.astype("f8") @ own["linear.weight"].T).astype("<f4")
        reply = links[0].request({"z": z}, meta)
        dz = stage.need(reply.tensors, "dz", "F32", z.shape)
        optimizer = own["optimizer"]
        optimizer.begin(meta)
        dw = np.einsum("bvd,bvc->dc", dz.astype("f8"), h.astype("f8")).astype("<f4")
        optimizer.push("linear.weight", dw)
        own.update(optimizer.finish())
        return {}, stage.metrics(meta, reply.meta) | {"lr": optimizer.lr, "grad_norm": stage.digits(optimizer.grad_norm)}

    stage.run(answer, options, open_links)


def requests():
    return [np.random.default_rng(step).normal(size=(8, 2, 6)).astype("<f4") for step in range(3)]


def make():
    with open("h.st", "wb") as file:
        for step, h in enumerate(requests()):
            frames.write(file, {"h": h}, step=step, steps=3, steps_per_epoch=3, batch=8, epoch=0)
        frames.write_end(file)
    with open("narrow.st", "wb") as file:
        frames.write(file, {"h": requests()[0][..., :5]}, step=0, steps=3)
        frames.write_end(file)


def follow(log, model):
    import ntxent

    w = weights().astype("f8")
    with open(log, "rb") as file:
        metrics = [meta for _, meta in frames.read_all(file)]
    assert len(metrics) == 3
    for h, meta in zip(requests(), metrics):
        h = h.reshape(-1, 6).astype("f8")
        dz, loss, accuracy, _ = ntxent.ntxent(h @ w.T, 0.5)
        dw = dz.T @ h
        assert abs(float(meta["loss"]) - loss) < 1e-5 and float(meta["contrast_acc"]) == accuracy, meta
        assert abs(float(meta["grad_norm"]) / np.linalg.norm(dw) - 1) < 1e-5 and float(meta["lr"]) == RATE, meta
        assert meta["kind"] == "metrics" and "seq" not in meta, meta
        w -= RATE * dw
    with open(model, "rb") as file:
        tensors, _ = frames.read(file)
    assert list(tensors) == ["linear.weight"]
    error = np.abs(tensors["linear.weight"] - w).max()
    assert error < 1e-6, error


PEER = """
import json, os, sys
i, o = sys.stdin.buffer, sys.stdout.buffer
for path in sys.argv[2:]:
    header = json.loads(i.read(int.from_bytes(i.read(8), "little")))
    i.read(max(t["data_offsets"][1] for name, t in header.items() if name != "__metadata__"))
    o.write(open(path, "rb").read())
    o.flush()
if sys.argv[1] == "dies":
    os.kill(os.getpid(), 9)
if sys.argv[1] != "ends":
    i.read()
"""  # answers one request after another with a file; without numpy it starts sooner


def answers(how):
    """Returns the answers of a wrong optimizer to a join and to gradients."""
    w, first, after = weights(), {"step": 0}, {"step": 1, "lr": 0.5}
    good = {"linear.weight": w}
    if how.startswith("join"):
        return [{"join-shape": frames.pack({"linear.weight": w[:, :5]}, **first), "join-nothing": frames.pack(**first),
                 "join-nan": frames.pack({"linear.weight": w * np.nan}, **first), "join-step": frames.pack(good, step=7)}[how]]
    return [frames.pack(good, **first), {
        "dies": b"", "ends": b"", "shape": frames.pack({"linear.weight": w.T}, **after),
        "squares": frames.pack(good, **after, **{"squares/linear.weight": "-1"}), "seq": frames.pack(good, **after, seq=9),
        "more": 3 * frames.pack(good, **after), "garbage": b"GET / HTTP/1.1\r\n\r\n" * 9,
        "error": frames.pack(error="it hurts\nhere"), "end": frames.pack(end=1)}[how]]


WRONG = {
    "join-shape": "tensor linear.weight is F32 [4,5], not F32 [4,6]", "join-nan": "linear.weight holds NaN or infinity",
    "join-nothing": "the answer to a join lacks linear.weight", "join-step": "the optimizer is at step 7: start it with --start 7",
    "dies": "was killed by SIGKILL", "shape": "tensor linear.weight is F32 [6,4], not F32 [4,6]",
    "squares": "squares/linear.weight is -1: a sum of squares is", "seq": "answered request 9, where 1 was next",
    "more": "sent a reply that nobody asked for", "garbage": "not a frame: a header of", "error": "it hurts here",
    "end": "ended before it had answered", "ends": "ended before it had answered"}


def wrong_answers():
    options = stage.default_options()
    meta = {"step": "0", "steps": "3", "batch": "8"}
    links = {}
    with open("wrong.py", "w") as file:
        file.write(PEER)
    for how in WRONG:
        names = [f"{how}-{i}" for i, _ in enumerate(answers(how))]
        for name, data in zip(names, answers(how)):
            with open(name, "wb") as file:
                file.write(data)
        links[how] = stage.Link(f"exec:exec {sys.executable} -S wrong.py {how} {' '.join(names)}", options)
    for how, link in links.items():  # all have started, and wait
        try:
            optimizer = stage.Optimizer(link)
            optimizer.join(meta, {"linear.weight": weights()})
            assert not how.startswith("join"), how
            optimizer.begin(meta)
            optimizer.push("linear.weight", weights())
            optimizer.finish()
            if how == "more":  # a reply too many, which may come late
                link.receive()
            raise AssertionError(how)
        except stage.Failure as why:
            text = stage.one_line(why)
            assert WRONG[how] in text and (how == "join-step" or text.startswith(link.name)), (how, text)
        link.abandon()


try:
    globals()[action](*words)
except BrokenPipeError:  # the client has gone; its message is what the test checks
    os._exit(1)
