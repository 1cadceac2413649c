"""The numpy part of augment.sh and streams.sh: python3 augment.py ROOT COMMAND ARGUMENTS...

    data FOLDER [FILE...]      writes 50 images each as CIFAR-10 files (default: two and the test's)
    describe FILE              a line per frame: shapes and metadata
    rows FILE FIRST LAST       fails unless the rows are images FIRST to LAST in order, with the labels
                               of `data`
    join WHOLE PART...         fails unless the rows of the parts together are those of WHOLE
    same WHOLE OTHER           fails unless the streams are the same except for `seq`
    pictures FOLDER WxH...     writes PNG files of those sizes
    spectra FOLDER C WxH...    writes TIFF files of C channels of 16 bits, of those sizes, and
                               their values into FOLDER-values
    redo FOLDER STREAM TRACE OP...  fails unless PIL, torchvision and numpy make the same views from
                               the trace, and it has exactly those operations"""

import json
import os
import sys

import numpy as np

root, command, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402
from gaussian_noise import channels_of  # noqa: E402


def images(file):
    """Returns 50 images (NHWC) and labels, which are the same for the same name."""
    rng = np.random.default_rng(sum(file.encode()))
    y, x = np.mgrid[:32, :32]
    waves = rng.uniform(0.05, 0.9, (50, 1, 1, 3, 2)) * [1, -1]
    phase = x[None, :, :, None] * waves[..., 0] + y[None, :, :, None] * waves[..., 1]
    pixels = 128 + 110 * np.sin(phase) + rng.normal(0, 12, (50, 32, 32, 3))
    return pixels.clip(0, 255).astype(np.uint8), rng.integers(0, 10, 50).astype(np.uint8)


TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))


def data(folder, *files):
    for file in files or TRAIN + ("test_batch.bin",):
        pixels, labels = images(file)
        planes = pixels.transpose(0, 3, 1, 2).reshape(50, 3072)
        with open(f"{folder}/{file}", "wb") as out:
            out.write(np.concatenate([labels[:, None], planes], axis=1).tobytes())


def stream(path):
    with open(path, "rb") as file:
        return list(frames.read_all(file))


def describe(path):
    for tensors, meta in stream(path):
        shapes = [f"{k}{list(v.shape)}".replace(" ", "") for k, v in sorted(tensors.items())]
        print(*shapes, *(f"{k}={v}" for k, v in sorted(meta.items())))


def rows(path, first, last):
    index = np.concatenate([t["index"] for t, _ in stream(path)])
    labels = np.concatenate([t["y"] for t, _ in stream(path)])
    assert index.tolist() == list(range(int(first), int(last) + 1)), index
    assert (labels == images("test_batch.bin")[1][index]).all(), labels


def sample(path, count):
    """Each class must have its share, in the data's order, and not only its first images."""
    index = np.concatenate([t["index"] for t, _ in stream(path)])
    labels = np.concatenate([t["y"] for t, _ in stream(path)])
    every = images("test_batch.bin")[1]
    assert len(index) == int(count) and (np.diff(index) > 0).all(), index
    assert index.tolist() != list(range(int(count)))
    assert (labels == every[index]).all(), labels
    share = np.bincount(every, minlength=10) * int(count) / len(every)
    assert (abs(np.bincount(labels, minlength=10) - share) <= 1).all(), labels


def join(whole, *parts):
    whole, parts = stream(whole), [stream(part) for part in parts]
    assert all(len(part) == len(whole) for part in parts)
    for step, (tensors, meta) in enumerate(whole):
        for name, value in tensors.items():
            joined = np.concatenate([part[step][0][name] for part in parts])
            assert np.array_equal(joined, value), (step, name)
        for rank, part in enumerate(parts):
            own = dict(part[step][1])
            assert own.pop("rank") == str(rank) and own.pop("world") == str(len(parts))
            assert own == meta, (own, meta)


def same(whole, other):
    whole, other = stream(whole), stream(other)
    assert len(whole) == len(other), (len(whole), len(other))
    for (tensors, meta), (others, other_meta) in zip(whole, other):
        del other_meta["seq"]
        assert list(meta.items()) == list(other_meta.items()), (meta, other_meta)
        assert tensors.keys() == others.keys(), others.keys()
        for name, value in tensors.items():
            assert np.array_equal(others[name], value), (meta["step"], name)


def pictures(folder, *sizes):
    from PIL import Image

    rng = np.random.default_rng(3)
    for i, size in enumerate(sizes):
        width, height = map(int, size.split("x"))
        y, x = np.mgrid[:height, :width]
        waves = rng.uniform(-0.5, 0.5, (2, 3))
        pixels = 128 + 110 * np.sin(x[..., None] * waves[0] + y[..., None] * waves[1])
        pixels += rng.normal(0, 12, pixels.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(f"{folder}/{i:02}.png")


def spectra(folder, channels, *sizes):
    from tiff_writer import write

    rng = np.random.default_rng(4)
    os.makedirs(folder)
    os.makedirs(folder + "-values")
    for i, size in enumerate(sizes):
        width, height = map(int, size.split("x"))
        y, x = np.mgrid[:height, :width][:, :, :, None]
        waves = rng.uniform(-0.5, 0.5, (2, int(channels)))
        pixels = 32768 + 20000 * np.sin(x * waves[0] + y * waves[1])
        pixels = (pixels + rng.normal(0, 1000, pixels.shape)).clip(0, 65535).astype(np.uint16)
        with open(f"{folder}/{i:02}.tif", "wb") as file:
            file.write(write(pixels, extra=[0] * (int(channels) - 1), planar=i % 2))
        np.save(f"{folder}-values/{i:02}.npy", pixels)


def source_images(folder):
    """Returns them in the order of their indices."""
    from PIL import Image

    files = sorted(os.listdir(folder))
    if os.path.isdir(folder + "-values"):
        return [np.load(f"{folder}-values/{file[:-4]}.npy") for file in files]
    if files[0].endswith(".png"):
        return [np.array(Image.open(f"{folder}/{file}")) for file in files]
    return np.concatenate([images(f)[0] for f in TRAIN])


def sobel(view):
    import torch

    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    padded = torch.nn.functional.pad(view[:, None], (1, 1, 1, 1), "replicate")
    edges = torch.nn.functional.conv2d(padded, torch.stack([kernel, kernel.T])[:, None])
    return (edges.square().sum(1).sqrt() / 4).clamp(max=1)


def redo_view(pixels, ops, size):
    """Returns the view in float32 (C,H,W), times 255."""
    import torch
    import torchvision.transforms.functional as F
    from PIL import Image

    for op in ops:
        kind = op["op"]
        if kind == "crop":
            box = (op["x"], op["y"], op["x"] + op["w"], op["y"] + op["h"])
            if pixels.dtype == np.uint16:  # each channel by itself; PIL's floats are not clamped
                planes = [Image.fromarray((plane / 65535).astype(np.float32)) for plane in
                          pixels.transpose(2, 0, 1)]
                view = torch.from_numpy(np.stack([np.array(plane.resize(
                    (size, size), Image.Resampling.BICUBIC, box)) for plane in planes])).clamp(0, 1)
                continue
            view = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC, box)
            view = torch.from_numpy(np.array(view).transpose(2, 0, 1).astype(np.float32) / 255)
        elif kind == "flip":
            view = F.hflip(view)
        elif kind == "jitter":
            for name in op["order"]:
                view = getattr(F, "adjust_" + name)(view, op[name])
        elif kind == "gray":
            view = F.rgb_to_grayscale(view, 3)
        elif kind == "blur":
            view = F.gaussian_blur(view, [op["kernel"]] * 2, [op["sigma"]] * 2)
        elif kind == "solarize":
            view = F.solarize(view, op["threshold"]) if len(view) == 3 else \
                torch.where(view >= op["threshold"], 1 - view, view)
        elif kind == "cutout":
            view = F.erase(view, op["y"], op["x"], op["h"], op["w"], torch.tensor(0.5))
        elif kind == "rotate":
            view = torch.rot90(view, op["degrees"] // 90, (1, 2))
        elif kind == "noise":
            noise = op["sigma"] * channels_of(op["counter"], op["key"], size, len(view))
            view = (view + torch.from_numpy(noise.astype(np.float32))).clamp(0, 1)
        elif kind == "sobel":
            view = sobel(view)
        else:
            raise ValueError(kind)
    return 255 * view.numpy()


def outcomes(operation, path, trace, *shares):
    """Checks that y is the operation's outcome in the trace, with the right shares."""
    lines = [json.loads(line) for line in open(trace)]
    seen = []
    for tensors, _ in stream(path):
        for y, index in zip(tensors["y"], tensors["index"]):
            line = lines[len(seen)]
            assert line["index"] == index and line["view"] == 0
            done = [op for op in line["ops"] if op["op"] == operation]
            assert y == (done[0].get("degrees", 90) // 90 if done else 0), (y, line)
            seen.append(y)
    assert len(seen) == len(lines) > 0
    counts = np.bincount(seen, minlength=len(shares)) / len(seen)
    assert np.abs(counts - [float(share) for share in shares]).max() < 0.1, counts


def redo(folder, path, trace, *expected):
    source = source_images(folder)
    lines = [json.loads(line) for line in open(trace)]
    at, worst, kinds = 0, 0, set()
    for tensors, meta in stream(path):
        for row, index in enumerate(tensors["index"]):
            for v in range(tensors["x"].shape[1]):
                line, at = lines[at], at + 1
                key = (line["epoch"], line["index"], line["view"])
                assert key == (int(meta["epoch"]), index, v), (key, row)
                size = tensors["x"].shape[2]
                view = redo_view(source[index], line["ops"], size)
                floats = tensors["x"].dtype == np.float32
                x = tensors["x"][row, v] * (255 if floats else 1)
                difference = np.abs(x - view.transpose(1, 2, 0))
                # PIL rounds between the two passes of a crop; all others round only at the end.
                crop = line["ops"][0]
                resized = (crop["w"], crop["h"]) != (size, size)
                bound = 1e-3 if floats else 2 if resized else 0.5 + 1e-3
                assert difference.max() <= bound, (line, difference.max())
                kinds.update(o["op"] for o in line["ops"])
                worst = max(worst, difference.max())
    assert at == len(lines) and at > 0
    assert kinds == set(expected), kinds
    print("worst", worst)


def each(path):
    """Runs the commands in the lines of a file, each as if alone, and prints their results."""
    with open(path) as file:
        for n, line in enumerate(file):
            name, *words = line.split()
            try:
                globals()[name](*words)
                print("ok", n)
            except Exception as error:
                print("not ok", n, repr(error))


globals()[command](*arguments)
