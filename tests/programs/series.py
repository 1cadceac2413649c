"""The parts of series.sh that need numpy: python3 series.py ROOT COMMAND ARGUMENTS...

    make                       writes the files of series that the test reads
    redo STREAM TRACE SOURCE OP...  fails unless numpy makes the same views of the series in
                               SOURCE.npy from the trace, and it has exactly those operations
    whole STREAM NAME          fails unless the frames contain NAME.npy, in order, with its labels
    labels STREAM LABEL...     fails unless y is that, in order
    join WHOLE PART...         fails unless the rows of the parts together are those of WHOLE
    plots [FILE]               writes plots.st, of a ramp up and a flat line beside one down and a
                               gap; fails unless FILE shows them
    bytes                      writes u8.st, tall.st: x that resnet1d must refuse
    better FILE FILE           fails unless the first's top1 is far above the second's"""

import json
import os
import sys

import numpy as np

root, command, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402
from gaussian_noise import philox  # noqa: E402


def stream(path):
    with open(path, "rb") as file:
        return list(frames.read_all(file))


def csv(path, labels, values, separator=","):
    with open(path, "w") as file:
        for label, row in zip(labels, values):
            file.write(separator.join([str(label)] + [repr(float(x)) for x in row]) + "\n")


def make():
    rng = np.random.default_rng(5)
    x = np.cumsum(rng.normal(0, 0.3, (30, 41, 3)), 1)
    np.save("three.npy", x.astype("<f4"))
    np.save("three-labels.npy", np.arange(30) % 4)
    np.save("double.npy", x)
    np.save("flat.npy", x[:, :, 0].astype("<f4"))
    csv("flat.csv", np.arange(30) % 4, x[:, :, 0].astype("<f4"))
    csv("flat.tsv", np.arange(30) % 4, x[:, :, 0].astype("<f4"), "\t")
    with open("crlf.csv", "w") as file:
        file.write("".join(f"  {i % 4}.0 ,{', '.join('%.9g' % v for v in row)}\r\n"
                           for i, row in enumerate(x[:, :, 0].astype("<f4"))))
    # Names as in the UCR archive; the test set has not all labels of the training set.
    os.mkdir("Ucr")
    csv("Ucr/Ucr_TRAIN.tsv", [-1, 2.5, 1, 7, 2.5], x[:5, :, 0], "\t")
    csv("Ucr/Ucr_TEST.tsv", [7, -1, 7], x[5:8, :, 0], "\t")
    os.mkdir("arrays")
    for name, part in ("train", x[:20]), ("test", x[20:]):
        np.save(f"arrays/{name}.npy", part)
        np.save(f"arrays/{name}-labels.npy", np.arange(20, 20 + len(part)).astype("<i4"))
    bad = {
        "unequal.csv": "1,2,3\n0,4,5\n1,6\n",
        "nan.csv": "1,2,3\n0,nan,5\n",
        "huge.csv": "1,2,3\n0,1e39,5\n",
        "word.csv": "label,t0,t1\n1,2,3\n",
        "words.csv": "1,2,3\n1,2,3 4x\n",
        "hole.csv": "1,2,3\n1,,3\n",
        "comma.csv": "1,2,3,\n",
        "blank.csv": "1,2,3\n\n1,2,3\n",
        "lone.csv": "1\n2\n",
        "empty.csv": "",
    }
    for name, text in bad.items():
        with open(name, "w") as file:
            file.write(text)
    with open("zero.csv", "wb") as file:
        file.write(b"1,2,3\n0,4\0,5\n")
    np.save("fortran.npy", np.asfortranarray(x[:, :, 0]))
    np.save("big.npy", x.astype(">f4"))
    np.save("ints.npy", np.arange(12).reshape(3, 4))
    np.save("vector.npy", np.arange(12.0))
    np.save("none.npy", np.zeros((0, 5), "<f4"))
    np.save("object.npy", np.array([[1, "a"]], object), allow_pickle=True)
    x[3, 4, 1] = np.nan
    np.save("nan.npy", x)
    good = open("flat.npy", "rb").read()
    at = good.index(b"\n") + 1
    header = good[10 : at].decode()
    def save(name, header, data=good[at:], version=b"\1\0"):
        text = header.encode()
        with open(name + ".npy", "wb") as file:
            file.write(b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data)
    save("short", header, good[at:-1])
    save("long", header, good[at:] + b"\0")
    save("overflow", header.replace("(30, 41)", "(4294967296, 4294967296)"))
    save("negative", header.replace("(30, 41)", "(-30, -41)"))
    save("twice", header.replace("'shape'", "'descr': '<f4', 'shape'"))
    save("cut", header[:40])
    save("version", header, version=b"\4\0")
    save("deep", header.replace("(30, 41)", "(30, 41, 1, 1, 1)"))
    np.save("few.npy", x[:4, :, 0].astype("<f4"))
    np.save("few-labels.npy", np.arange(3))
    np.save("mixed.npy", x[:4, :, 0].astype("<f4"))
    np.save("mixed-labels.npy", np.arange(4.0))


def normals(n, key, counter):
    counters = np.tile(np.array(counter, np.uint32), (n, 1))
    counters[:, 0] += np.arange(n, dtype=np.uint32)
    f = (philox(counters, key) >> np.uint64(8)) / 2.0**24
    return np.sqrt(-2 * np.log(1 - f[0])) * np.cos(2 * np.pi * f[1])


def redo_view(series, ops, size):
    """Returns the view in float64 (T,C)."""
    for op in ops:
        kind = op["op"]
        if kind in ("crop", "center"):
            run = series[op["start"] : op["start"] + op["length"]].astype(float)
            assert len(run) == op["length"] and (kind == "crop" or len(run) == len(series))
            at = np.linspace(0, len(run) - 1, size)
            view = np.stack([np.interp(at, np.arange(len(run)), c) for c in run.T], 1)
        elif kind == "jitter":
            view = view + op["sigma"] * normals(view.size, op["key"], op["counter"]).reshape(view.shape)
        elif kind == "scaling":
            view = view * op["factor"]
        elif kind == "trend":
            view = view + (op["offset"] + op["slope"] * np.linspace(-0.5, 0.5, size))[:, None]
        elif kind == "mask":
            view[op["start"] : op["start"] + op["length"]] = 0
        elif kind == "permutation":
            parts = np.split(view, op["cuts"])
            assert all(len(part) for part in parts) and sorted(op["order"]) == list(range(len(parts)))
            view = np.concatenate([parts[i] for i in op["order"]])
        else:
            raise ValueError(kind)
    return view


def redo(path, trace, source, *expected):
    source = np.load(source + ".npy")
    source = source.reshape(len(source), source.shape[1], -1)
    lines = [json.loads(line) for line in open(trace)]
    at, kinds, drawn = 0, set(), set()
    for tensors, meta in stream(path):
        x = tensors["x"]
        assert x.ndim == 5 and x.shape[2] == 1 and x.shape[4] == source.shape[2] and x.dtype == np.float32
        for row, index in enumerate(tensors["index"]):
            for v in range(x.shape[1]):
                line, at = lines[at], at + 1
                assert (line["epoch"], line["index"], line["view"]) == (int(meta["epoch"]), index, v)
                view = redo_view(source[index], line["ops"], x.shape[3])
                off = np.abs(x[row, v, 0] - view).max()
                assert off <= 2e-6 * max(1, np.abs(view).max()), (line, off)
                kinds.update(o["op"] for o in line["ops"])
                drawn.update(json.dumps(o) for o in line["ops"] if o["op"] != "center")
    assert at == len(lines) and at > 0 and kinds == set(expected), kinds
    assert expected == ("center",) or len(drawn) > at / 2, "all views are alike"


def whole(path, name):
    x = np.concatenate([t["x"] for t, _ in stream(path)])
    want = np.load(name + ".npy").astype(np.float32)
    assert x.shape == (len(want), 1, 1) + want.reshape(len(want), want.shape[1], -1).shape[1:], x.shape
    assert (x.ravel() == want.ravel()).all()
    index = np.concatenate([t["index"] for t, _ in stream(path)])
    assert (index == np.arange(len(want))).all()


def labels(path, *want):
    y = np.concatenate([t["y"] for t, _ in stream(path)])
    assert y.tolist() == [int(w) for w in want], y


def join(whole, *parts):
    whole, parts = stream(whole), [stream(part) for part in parts]
    for step, (tensors, _) in enumerate(whole):
        for name, value in tensors.items():
            assert np.array_equal(np.concatenate([p[step][0][name] for p in parts]), value), (step, name)


def bytes():
    with open("u8.st", "wb") as file:
        frames.write(file, {"x": np.zeros((4, 1, 1, 40, 3), np.uint8)})
    with open("tall.st", "wb") as file:
        frames.write(file, {"x": np.zeros((4, 1, 2, 40, 3), np.float32)})
    with open("turns.st", "wb") as file:  # a network of five channels, which then receives bytes
        frames.write(file, {"x": np.zeros((4, 1, 1, 40, 5), np.float32)})
        frames.write(file, {"x": np.zeros((4, 1, 1, 40, 5), np.uint8)})


def plots(path=None):
    up, down = np.linspace(-3, 5, 128), np.linspace(5, -3, 128)
    down[40:50] = np.nan
    x = np.stack([np.stack([up, np.full(128, 1.0)], 1), np.stack([down, np.full(128, 1.0)], 1)])
    if not path:
        with open("plots.st", "wb") as file:
            frames.write(file, {"x": x.reshape(1, 2, 1, 128, 2).astype(np.float32)})
        return
    from PIL import Image

    page = np.array(Image.open(path)).astype(int)
    assert page.shape == (116, 10 + 2 * 128 + 2 + 10, 3), page.shape
    first, second = page[10:106, 10:138], page[10:106, 140:268]
    rows = np.arange(96)[:, None]
    for tile, rising in (first, True), (second, False):
        blue = (tile == [0x1F, 0x5F, 0xA8]).all(2)
        flat = (tile == [0xC8, 0x50, 0x20]).all(2)
        gap = (tile == [255, 0, 255]).all(2)
        assert (gap.sum(0) > 90).any() != rising
        assert set(np.argwhere(flat)[:, 0]) <= {47, 48} and flat.any(0).sum() > 90
        seen = blue.any(0)
        middle = (blue * rows).sum(0)[seen] / blue.sum(0)[seen]
        want = np.linspace(92, 3, 128)[seen] if rising else np.linspace(3, 92, 128)[seen]
        assert seen.sum() > 100 and np.abs(middle - want).max() < 2, np.abs(middle - want).max()


def better(first, second):
    a, b = (json.load(open(name))["top1"] for name in (first, second))
    assert a > b + 0.15, (a, b)


globals()[command](*arguments)
