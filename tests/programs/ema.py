"""Checks and peers for ema.sh.

    ema.py ROOT follows REQUESTS REPLIES STATE   the state's slow copies follow from the frames
    ema.py ROOT starts STATE OUT                 writes a model whose values are the slow copies
    ema.py ROOT first FRAMES OUT                 gives the only frame step 0
    ema.py ROOT same_at_first FRAMES NAME        NAME_target is NAME in step 0 and not later
    ema.py ROOT same_target FRAMES STEP OTHER NAME   NAME_target of that step has OTHER's bits of NAME
    ema.py ROOT frozen STATE                     stem and layer1 equal their slow copies, layer2 not
    ema.py ROOT without STATE OUT slot|key|both  drops the slow copy of conv1.weight, or its momentum
    ema.py ROOT serve HOW                        an optimizer that keeps no slow copies, or is wrong"""

import sys

import numpy as np

root, action, *words = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402


def load(path):
    with open(path, "rb") as file:
        return list(frames.read_all(file))


def save(path, tensors, meta):
    with open(path, "wb") as file:
        file.write(frames.pack(tensors, **meta))


def follows(requests, replies, state):
    """Each product is rounded to float32 before it is added, as numpy does it."""
    (joined, meta), *_ = load(requests)
    c = np.float32(1 - float(meta["ema"]))
    slow = {n: t for n, t in joined.items() if not n.endswith(("_mean", "_var", "_tracked"))}
    answers = load(replies)
    assert set(answers[0][0]) == set(joined) | {"ema/" + n for n in slow}
    moved = 0
    for tensors, _ in answers[1:]:
        assert not any("/" in n for n in tensors), list(tensors)
        for name in set(tensors) & set(slow):
            slow[name] = slow[name] + c * (tensors[name] - slow[name])
            moved += 1
    assert moved == 3 * len(slow)
    kept = {n: t for n, t in load(state)[0][0].items() if n.startswith("ema/")}
    assert set(kept) == {"ema/" + n for n in slow}
    for name, value in slow.items():
        assert value.dtype == np.float32 and (kept["ema/" + name] == value).all(), name
        assert name == "bn1.bias" or (value != joined[name]).any() or "bn2" in name, name


def starts(state, out):
    tensors, meta = load(state)[0]
    model = {n: tensors.get("ema/" + n, t) for n, t in tensors.items() if "/" not in n}
    save(out, model, {k: meta[k] for k in meta if k in ("encoder", "projector", "optimizer")} | {"kind": "model"})


def first(path, out):
    (tensors, meta), = load(path)
    save(out, tensors, meta | {"step": 0})


def same_at_first(path, name):
    same = [(tensors[name] == tensors[name + "_target"]).all() for tensors, _ in load(path)]
    assert same[0] and len(same) > 1 and not any(same[1:]), same


def same_target(path, step, other, name):
    target, own = load(path)[int(step)][0], load(other)[0][0]
    assert target[name + "_target"].shape == own[name].shape
    assert (target[name + "_target"] == own[name]).all() and (target[name] != own[name]).any()


def frozen(state):
    tensors, meta = load(state)[0]
    for name, value in tensors.items():
        if "ema/" + name in tensors:
            same = (tensors["ema/" + name] == value).all()
            assert same == name.startswith(("conv1", "bn1", "layer1")) or name.endswith("bias"), name
    assert meta["ema/layer1"] == meta["ema/layer2"] == "0.9"


def without(state, out, what):
    tensors, meta = load(state)[0]
    if what in ("slot", "both"):
        del tensors["ema/conv1.weight"]
    if what in ("key", "both"):
        meta = {k: v for k, v in meta.items() if k != "ema/conv1"}
    save(out, tensors, meta)


def serve(how):
    joined = None
    for tensors, meta in frames.read_all(sys.stdin.buffer):
        join = meta.get("kind") == "join"
        if join and how != "none":
            joined = {"ema/" + n: t for n, t in tensors.items() if t.dtype == np.float32 and "running" not in n}
            if how == "nan":
                joined["ema/conv1.weight"] = joined["ema/conv1.weight"] * np.nan
            if how == "shape":
                joined["ema/conv1.weight"] = joined["ema/conv1.weight"][1:]
            tensors = tensors | joined
        elif how == "twice" and not join and "conv1.weight" not in tensors and "bn1.weight" not in tensors:
            tensors["conv1.weight"] = joined["ema/conv1.weight"]
        elif how == "lacks":
            tensors.pop("conv1.weight", None)
        frames.write(sys.stdout.buffer, tensors, **(meta | {"step": meta.get("step", 0)}))
        sys.stdout.buffer.flush()
    frames.write_end(sys.stdout.buffer)


globals()[action](*words)
