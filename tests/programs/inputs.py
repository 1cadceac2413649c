"""The parts of inputs.sh that need numpy and PIL: python3 inputs.py ROOT COMMAND ARGUMENTS...

    data FOLDER           the same 60 images of three classes, 48 x 48, as folder, archives, frames
    idx FOLDER            120 grey images of 28 x 28 as MNIST has them, and 5 for testing
    cifar100 FOLDER       50 images and 10 for testing
    jpegs FOLDER          JPEG of every kind, square, without labels
    damaged FOLDER        300 images, beside files that are not images
    pictures FOLDER STREAM [turned]   fails unless the stream has PIL's pixels of the folder's files
    grey FOLDER SPLIT STREAM          the same for `idx`
    fine STREAM SPLIT                 the same for `cifar100`
    distinct STREAM N     fails unless there are N rows, of N different images
    epochs STREAM IMAGES  fails unless each epoch has each image at most once, all shuffled
    large FOLDER KIND     16 images of 500 x 375
    near STREAM OTHER MEAN            fails if pixels differ by more than MEAN on average
    reduced FOLDER STREAM TRACE       fails unless PIL makes the same crops of reduced images
    memory BYTES COMMAND...           runs it; fails if it uses more memory than BYTES"""

import gzip
import io
import json
import os
import resource
import struct
import subprocess
import sys
import tarfile
import zlib

import numpy as np

root, command, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402

CLASSES, EACH, SIDE = ("bird", "cat", "dog"), 20, 48


def scene(seed, height, width):
    """Draws something like a photograph: a sky, waves, a few rectangles and some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width)
    picture = np.zeros((height, width, 3))
    for channel in range(3):
        a, b, c = rng.uniform(-9, 9, 3)
        picture[..., channel] = 128 + 80 * np.sin(a * x + b * y + c)
    for _ in range(6):
        top, left = rng.integers(0, height), rng.integers(0, width)
        picture[top:top + height // 4, left:left + width // 4] = rng.uniform(0, 255, 3)
    return (picture + rng.normal(0, 4, picture.shape)).clip(0, 255).astype(np.uint8)


def encode(pixels, kind="PNG", mode="RGB", **settings):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **settings)
    return file.getvalue()


def put(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def archive(path, mode, members):
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def data(folder):
    pixels = [scene(i, SIDE, SIDE) for i in range(len(CLASSES) * EACH)]
    labels = [i // EACH for i in range(len(pixels))]
    pngs = [encode(p) for p in pixels]
    names = [f"{CLASSES[label]}/{i:03}.png" for i, label in enumerate(labels)]
    for name, png in zip(names, pngs):
        put(f"{folder}/set/train/{name}", png)
    for label, name in enumerate(CLASSES):
        put(f"{folder}/set/val/{name}/x/deep.png", encode(scene(900 + label, SIDE, SIDE)))
    os.makedirs(f"{folder}/set/train/.hidden")
    put(f"{folder}/set/train/cat/.hidden.png", pngs[0])
    put(f"{folder}/set/train/notes.txt", b"not an image")
    members = [("./README", b"nothing")] + list(zip(names, pngs))
    archive(f"{folder}/set.tar", "w", members)
    archive(f"{folder}/set.tar.gz", "w:gz", members)
    # Folders for the splits, not in order, and names of more than 100 letters.
    both = [(f"{'long' * 30}/train/{n}", p) for n, p in zip(names, pngs)]
    both.insert(7, (f"{'long' * 30}/val/cat/9.png", pngs[9]))
    archive(f"{folder}/both.tar", "w", both)
    for shard in range(2):
        samples = []
        for i in range(30 * shard, 30 * shard + 30):
            parts = [(f"{i:05}.png", pngs[i]), (f"{i:05}.cls", b"%d\n" % labels[i]),
                     (f"{i:05}.json", b"{}")]
            samples += parts if i % 2 else parts[::-1]
        archive(f"{folder}/wds-{shard:03}.tar", "w", samples)
        archive(f"{folder}/wds-{shard:03}.tar.gz", "w:gz", samples)
    with open(f"{folder}/set.st", "wb") as file:
        for at in range(0, 56, 7):
            frames.write(file, {"x": np.stack(pixels[at:at + 7]),
                                "y": np.array(labels[at:at + 7], np.int64)})
        for at in range(56, 58):  # without the first dimension
            frames.write(file, {"x": pixels[at], "y": np.array(labels[at])})
        frames.write(file, {"x": np.stack(pixels[58:])[:, None], "y": np.array(labels[58:])})
        frames.write_end(file)


def grey_images(split):
    n, seed = (120, 3) if split == "train" else (5, 4)
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)


def idx(folder):
    for split, name in ("train", "train"), ("test", "t10k"):
        pixels, labels = grey_images(split)
        for suffix, store in ("", lambda x: x), (".gz", gzip.compress):
            put(f"{folder}/idx{suffix}/{name}-images-idx3-ubyte{suffix}",
                store(struct.pack(">4i", 0x803, *pixels.shape) + pixels.tobytes()))
            put(f"{folder}/idx{suffix}/{name}-labels-idx1-ubyte{suffix}",
                store(struct.pack(">2i", 0x801, len(labels)) + labels.tobytes()))


def fine_images(split):
    rng = np.random.default_rng(5)
    n = 50 if split == "train" else 10
    return rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), rng.integers(0, 100, n)


def cifar100(folder):
    members = []
    for split in "train", "test":
        pixels, labels = fine_images(split)
        records = b"".join(bytes([label // 5, label]) + p.transpose(2, 0, 1).tobytes()
                           for p, label in zip(pixels, labels))
        put(f"{folder}/cifar-100-binary/{split}.bin", records)
        members.append((f"cifar-100-binary/{split}.bin", records))
    archive(f"{folder}/cifar-100-binary.tar.gz", "w:gz", members)
    # CIFAR-10's files in the order in which they are distributed, which is not that of their names.
    files = {"data_batch_1": 1, "test_batch": 7, "data_batch_5": 5, "data_batch_2": 2,
             "data_batch_4": 4, "data_batch_3": 3}
    for file, label in files.items():
        pixels, _ = fine_images("train")
        put(f"{folder}/cifar-10-batches-bin/{file}.bin",
            b"".join(bytes([label]) + p.tobytes() for p in pixels))
    put(f"{folder}/cifar-10-batches-bin/batches.meta.txt",
        b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n")
    files["batches.meta"] = None
    archive(f"{folder}/cifar-10-binary.tar.gz", "w:gz",
            [(name, open(f"{folder}/{name}", "rb").read()) for name in
             (f"cifar-10-batches-bin/{f}.{'txt' if label is None else 'bin'}"
              for f, label in files.items())])


def jpegs(folder):
    from PIL import Image

    side, number = 47, iter(range(1000))  # not a multiple of a block
    for quality in 60, 95:
        for sampling in 0, 1, 2:
            for progressive in False, True:
                put(f"{folder}/{next(number):03}.jpg",
                    encode(scene(next(number), side, side), "JPEG", quality=quality,
                           subsampling=sampling, progressive=progressive))
    for mode in "L", "CMYK":
        for progressive in False, True:
            put(f"{folder}/{next(number):03}.JPEG",
                encode(scene(next(number), side, side), "JPEG", mode, progressive=progressive))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        put(f"{folder}/{next(number):03}.jpeg",
            encode(scene(next(number), side, side), "JPEG", exif=exif))
    for mode in "L", "P", "RGBA", "LA", "1":
        put(f"{folder}/{next(number):03}.png", encode(scene(next(number), side, side), "PNG", mode))


def png_of(width, height, pixels=b"", before=b""):
    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0))
            + before + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b""))


def jpeg_of(width, height):
    """Returns a JPEG whose header has that size."""
    small = bytearray(encode(scene(1, 16, 16), "JPEG"))
    at = small.index(b"\xff\xc0")
    small[at + 5:at + 9] = struct.pack(">2H", height, width)
    return bytes(small)


def damaged(folder):
    good = [encode(scene(i, 40, 40), *kind) for i in range(4) for kind in (("JPEG",), ("PNG",))]
    for i in range(700):
        put(f"{folder}/many/{i:03}.{'png' if i % 2 else 'jpg'}", good[i % len(good)])
    bad = {
        "cut.jpg": good[0][:len(good[0]) // 2],
        "cut.png": good[1][:len(good[1]) // 2],
        "huge.png": png_of(30000, 30000, bytes(100)),
        "huge.jpg": jpeg_of(65000, 65000),
        "bomb.png": png_of(8000, 8000, bytes(8000 * 24001)),
        "text.jpg": b"<html>404</html>",
        "empty.png": b"",
    }
    for name, content in bad.items():
        put(f"{folder}/bad/{name}", content)


def stream(path):
    with open(path, "rb") as file:
        return list(frames.read_all(file))


def column(path, name):
    return np.concatenate([tensors[name] for tensors, _ in stream(path)])


def pictures(folder, path, turned=None):
    from PIL import Image, ImageOps

    x, y = column(path, "x"), column(path, "y")
    files = sorted(os.listdir(folder))
    assert x.shape[:2] == (len(files), 1) and (y == -1).all(), (x.shape, len(files), y)
    for pixels, name in zip(x[:, 0], files):
        image = Image.open(f"{folder}/{name}")
        image = ImageOps.exif_transpose(image) if turned and name.endswith(".jpeg") else image
        # PIL opens these as 1 and LA; it drops the alpha, as augment does.
        want = np.array(image.convert("RGB"))
        assert np.array_equal(pixels, want), (name, np.abs(pixels.astype(int) - want).max())


def grey(split, path):
    pixels, labels = grey_images(split)
    x, y = column(path, "x"), column(path, "y")
    assert np.array_equal(x[:, 0], np.repeat(pixels[..., None], 3, axis=-1))
    assert np.array_equal(y, labels)


def fine(path, split):
    pixels, labels = fine_images(split)
    assert np.array_equal(column(path, "x")[:, 0], pixels)
    assert np.array_equal(column(path, "y"), labels)


def distinct(path, n):
    index = column(path, "index")
    assert len(index) == len(set(index.tolist())) == int(n) and index.min() >= 0, index


def epochs(path, images):
    by_epoch = {}
    for tensors, meta in stream(path):
        by_epoch.setdefault(meta["epoch"], []).extend(tensors["index"].tolist())
    orders = list(by_epoch.values())
    assert len(orders) > 1
    for order in orders:
        assert len(set(order)) == len(order) and set(order) <= set(range(int(images))), order
        assert order != sorted(order)
    assert orders[0] != orders[1]


def large(folder, kind):
    for i in range(16):
        put(f"{folder}/{i:02}.{kind}", encode(scene(i, 375, 500), {"jpg": "JPEG"}.get(kind, "PNG")))


def near(path, other, mean):
    difference = np.abs(column(path, "x").astype(int) - column(other, "x"))
    print(difference.max(), difference.mean())
    assert difference.mean() <= float(mean), difference.mean()


def reduced(folder, path, trace):
    from PIL import Image

    files, seen = sorted(os.listdir(folder)), set()
    lines = iter(map(json.loads, open(trace)))
    for tensors, _ in stream(path):
        for views in tensors["x"]:
            for view, line in zip(views, lines):
                image = Image.open(f"{folder}/{files[line['index']]}")
                d, (op,) = line.get("reduction", 1), line["ops"]
                if d > 1:
                    image.draft("RGB", (image.width // d, image.height // d))
                box = [side / d for side in (op["x"], op["y"], op["x"] + op["w"], op["y"] + op["h"])]
                size = view.shape[:2]
                want = np.array(image.resize(size, Image.Resampling.BICUBIC, box)).astype(int)
                difference = np.abs(view - want)
                assert difference.max() <= 2 and difference.mean() < 0.3, (line, difference.max())
                seen.add(d)
    assert next(lines, None) is None and len(seen) > 1, seen


def memory(limit, *argv):
    status = subprocess.run(argv).returncode
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
    assert peak <= int(limit), f"{peak >> 20} MiB"
    sys.exit(status)


globals()[command](*arguments)
