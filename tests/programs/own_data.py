"""A table of small data sets as users have them, each with one oddity or defect.

    python3 own_data.py ROOT BIN [WORD...]    all of them, or those whose names contain a word

A case makes files in a folder of its own. The readers below compute the images and labels of each
split from the files, independently of the programs. The test compares them with the output of
augment (labels by name, pixels, counts, names of classes, lines on stderr) and with evaluate's
top-1, which is computed here from the k nearest rows. Or the case expects one line and exit status
1.

Where neither the design nor the issue says what is right, these were chosen:
  - A class is a folder with an image in or below it, in any part; an empty folder is not.
  - The rows of a set without parts are its training part; a set with parts but no `train` has no training part.
  - Of the parts `test`, `val`, `valid`, `validation` the first that exists is the test part.
  - --hold and --limit use the right share of each class, within one image.
  - A folder around all of an archive (photos/a/1.png, photos/b/2.png) is not a class.
  - An image whose label cannot be read is left out. Of two images with the same key, each has
    that key's label or none, never another one.
  - A missing file of CIFAR's training batches is named, whether the others are used or not."""

import concurrent.futures
import gzip
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import zlib
from collections import Counter

import numpy as np

ROOT, BIN = sys.argv[1], sys.argv[2]
sys.path.insert(0, ROOT + "/tests")
import frames  # noqa: E402

SIDE = 8
PICTURES = (".png", ".jpg", ".jpeg")
CASES = []

# ---- drawing ----

COLOURS = {"a": (200, 60, 60), "b": (60, 200, 60), "c": (60, 60, 200), "d": (180, 180, 40)}
drawn = 0


def draw(kind, width=SIDE, height=SIDE):
    """Returns a picture of that class, or of noise; no two pictures are the same."""
    global drawn
    drawn += 1
    rng = np.random.default_rng(drawn)
    if kind not in COLOURS:
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return (np.array(COLOURS[kind]) + rng.integers(-50, 50, (height, width, 3))).clip(0, 255).astype(np.uint8)


def png(pixels):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = pixels.shape[:2]
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(lines, 1)) + chunk(b"IEND", b""))


def unpng(data):
    """Returns the pixels of a file that png() made, or None for any other file."""
    if not data.startswith(b"\x89PNG"):
        return None
    width, height = struct.unpack(">II", data[16:24])
    length = struct.unpack(">I", data[33:37])[0]
    lines = np.frombuffer(zlib.decompress(data[41:41 + length]), np.uint8)
    return lines.reshape(height, 1 + 3 * width)[:, 1:].reshape(height, width, 3)


def put(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def make(folder, **counts):
    """make(f, train__a=20) draws 20 pictures of class a in f/train/a; class `noise` has noise."""
    for place, n in counts.items():
        parts = place.split("__")
        for i in range(n):
            put(os.path.join(folder, *parts, f"{i:04}.png"), png(draw(parts[-1])))


def pack(path, folder, mode="w", names=None, prefix=""):
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as tar:
        for name in names or sorted(files_below(folder)):
            tar.add(os.path.join(folder, name), prefix + name, recursive=False)
    return path


def pack_members(path, members, mode="w"):
    with tarfile.open(path, mode, format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


# ---- readers: the images of a split, as [(label, pixels)], and the names of the classes ----

PARTS = {"train": ["train", "training"], "test": ["test", "val", "valid", "validation"],
         "unlabeled": ["unlabeled"]}
NO_PART = object()


def files_below(folder):
    """Returns the relative paths of files in byte order, without hidden ones."""
    found = []
    for path, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [f for f in folders if not f.startswith(".")]
        found += [os.path.relpath(os.path.join(path, name), folder) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda name: name.encode())


def split_members(members, split):
    """Returns the members (path, data) of the split, without its folder, and those of any part."""
    pictures = [(path.split("/"), data) for path, data in members
                if path.lower().endswith(PICTURES) and not any(p.startswith(".") and p != "." for p in path.split("/"))]
    pictures = [([p for p in path if p not in (".", "..", "")], data) for path, data in pictures]
    everything = {name for names in PARTS.values() for name in names}

    def depth_of_parts():
        for depth in range(4):
            if any(len(path) > depth + 1 and path[depth].lower() in everything for path, _ in pictures):
                return depth
        return None

    depth = depth_of_parts()
    if depth is None:
        while (len({path[0] for path, _ in pictures}) == 1 and min(len(path) for path, _ in pictures) > 2):
            pictures = [(path[1:], data) for path, data in pictures]  # a folder around all
        return (pictures if split == "train" else NO_PART), pictures
    parts = {}
    for path, data in pictures:
        if len(path) > depth + 1 and path[depth].lower() in everything:
            parts.setdefault(path[depth].lower(), []).append((path[depth + 1:], data))
    union = [entry for entries in parts.values() for entry in entries]
    for name in PARTS[split]:
        if name in parts:
            return parts[name], union
    return NO_PART, union


def read_pictures(members, split="train"):
    mine, union = split_members(members, split)
    classes = sorted({path[0] for path, _ in union if len(path) > 1}, key=str.encode)
    if mine is NO_PART:
        return NO_PART, classes
    if any(len(path) > 1 for path, _ in mine):
        mine = [entry for entry in mine if len(entry[0]) > 1]  # images beside class folders
    rows = [(path[0] if len(path) > 1 else -1, unpng(data)) for path, data in mine]
    return [row for row in rows if row[1] is not None], classes


def read_folder(folder, split="train"):
    members = []
    for name in files_below(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            with open(path, "rb") as file:
                members.append((name, file.read()))
    return read_pictures(members, split)


def read_tars(paths, split="train"):
    members = []
    for path in paths:
        with tarfile.open(path) as tar:
            for entry in tar:
                if not entry.isdir() and not entry.name.endswith("/"):
                    try:
                        file = tar.extractfile(entry)
                    except KeyError:
                        continue  # a link that leads nowhere
                    if file:
                        members.append((entry.name, file.read()))
    return read_pictures(members, split)


def read_webdataset(paths):
    rows = []
    for path in paths:
        with tarfile.open(path) as tar:
            content = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
        for name, data in content.items():
            if name.endswith(".png") and unpng(data) is not None:
                label = content.get(name[:-4] + ".cls")
                if label is None:
                    rows.append((-1, unpng(data)))
                elif re.fullmatch(rb"\d+\s*", label):
                    rows.append((int(label), unpng(data)))
    return rows, None


def read_cifar(data, label_bytes):
    record = np.frombuffer(data, np.uint8).reshape(-1, label_bytes + 3072)
    return [(int(row[label_bytes - 1]), row[label_bytes:].reshape(3, 32, 32).transpose(1, 2, 0)) for row in record], None


def read_idx(images, labels=None):
    n, height, width = struct.unpack(">3I", images[4:16])
    pixels = np.frombuffer(images[16:], np.uint8).reshape(n, height, width, 1).repeat(3, -1)
    found = [-1] * n if labels is None else [int(y) for y in labels[8:]]
    return list(zip(found, pixels)), None


def read_series(data, all_labels=None):
    lines = [line.split(",") for line in data.decode("utf-8-sig").split("\n") if line.strip()]
    values = [(float(line[0]), np.array(line[1:], "f4")) for line in lines]
    classes = sorted(set(all_labels or [label for label, _ in values]))
    return [(classes.index(label), x) for label, x in values], None


# ---- running ----

class Wrong(Exception):
    pass


def need(truth, what):
    if not truth:
        raise Wrong(what)


def run(name, *arguments, stdin=None):
    """Returns the output, the lines on stderr and the status."""
    done = subprocess.run([os.path.join(BIN, name), *map(str, arguments)], stdin=stdin or subprocess.DEVNULL,
                          capture_output=True, timeout=300)
    return done.stdout, done.stderr.decode(errors="replace").splitlines(), done.returncode


class Stream:
    def __init__(self, folder, data, *arguments, batch=32, size=SIDE, says=(), may=(), policy="eval", stdin=None):
        arguments = ["--data", data, "--batch", batch, *arguments]
        arguments += ["--policy", policy] if policy else []
        arguments += ["--size", size] if size else []
        out, err, status = run("augment", *arguments, stdin=stdin)
        need(status == 0, f"augment {' '.join(map(str, arguments))}: status {status}: {err}")
        check_lines(err, says, may)
        self.path = f"{folder}/{len(os.listdir(folder))}.frames"
        with open(self.path, "wb") as file:
            file.write(out)
        self.bytes, self.err = out, err
        parts = list(frames.read_all(io.BytesIO(out)))
        need(parts, "no frame")
        self.x, self.y, self.index = (np.concatenate([t[name] for t, _ in parts]) for name in ("x", "y", "index"))
        self.meta = parts[0][1]
        names = self.meta.get("class_names")
        self.names = json.loads(names) if names is not None else None
        need(all("class_names" not in meta for _, meta in parts[1:]), "class_names in later frames too")

    def labels(self):
        """Returns the labels, by name if the classes have names."""
        if self.names is None:
            return [int(y) for y in self.y]
        need(self.y.max(initial=-1) < len(self.names), "a label without a name")
        return [self.names[y] if y >= 0 else -1 for y in self.y]

    def rows(self):
        return list(zip(self.labels(), self.x))


def check_lines(lines, says, may):
    """Checks that each line is one of these, and that each required one is printed."""
    for line in lines:
        need(any(re.search(pattern, line) for pattern in (*says, *may)), f"a line that nobody wants: {line}")
    for pattern in says:
        need(any(re.search(pattern, line) for line in lines), f"no line like {pattern}: {lines}")


def counted(rows):
    return Counter((label, np.ascontiguousarray(pixels).tobytes()) for label, pixels in rows)


def compare(stream, rows, names=None):
    need(len(stream.y) == len(rows), f"{len(stream.y)} rows, {len(rows)} in the files")
    have, want = counted(stream.rows()), counted(rows)
    if have != want:
        labels = Counter(stream.labels()), Counter(label for label, _ in rows)
        raise Wrong(f"other rows; of labels {labels[0]}, in the files {labels[1]}")
    if names is not None:
        need(stream.names == names, f"classes {stream.names}, in the files {names}")


def refused(pattern, *arguments, stdin=None, program="augment"):
    out, lines, status = run(program, *arguments, stdin=stdin)
    need(status == 1, f"{' '.join(map(str, arguments))}: status {status}, not 1: {lines}")
    need(len(lines) == 1, f"not one line: {lines}")
    need(re.search(pattern, lines[0]), f"no line like {pattern}: {lines[0]}")


def no_part(data, split="test", *arguments):
    refused(r"no .*" + split, "--data", data, "--split", split, "--policy", "eval", "--size", SIDE, *arguments)


def nearest(train, test, k):
    """Returns the top-1 of weighted nearest neighbours: cosines s vote with exp(s / 0.1)."""
    def unit(rows):
        x = np.stack([pixels for _, pixels in rows]).reshape(len(rows), -1).astype(float) / 255
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    similar, right = unit(test) @ unit(train).T, 0
    for s, (label, _) in zip(similar, test):
        votes = Counter()
        for i in np.argsort(-s, kind="stable")[:k]:
            votes[train[i][0]] += np.exp((s[i] - 1) / 0.1)
        right += max(votes, key=votes.get) == label
    return right / len(test)


def judge(train, test, k=5, truth=None):
    """Checks that evaluate's top-1 for two streams is that of the rows in the files."""
    out, lines, status = run("evaluate", "--train", train.path, "--test", test.path, "--on", "x", "--method", "knn",
                             "--k", k, "--bootstrap", 0)
    need(status == 0, f"evaluate: {lines}")
    want = nearest(train.rows(), test.rows(), k)
    have = json.loads(out)["top1"]
    need(abs(have - want) < 1e-6, f"top-1 {have}, from the files {want}")
    need(truth is None or abs(have - truth) < 1e-6, f"top-1 {have}, and the truth is {truth}")
    return have


def case(function):
    CASES.append(function)
    return function


def both(folder, data, reader, k=5, truth=None, **more):
    """Compares both parts of a set with the reader, and runs evaluate."""
    streams = []
    for split in ("train", "test"):
        rows, names = reader(split)
        streams.append(Stream(folder, data, "--split", split, **more))
        compare(streams[-1], rows, names)
    judge(*streams, k=k, truth=truth)
    return streams


# ---- the table: classes and parts ----

def f1(folder, train="train", test="test"):
    make(folder, **{f"{train}__a": 20, f"{train}__b": 20, f"{train}__c": 20, f"{test}__a": 10, f"{test}__c": 10})
    return folder


@case
def class_missing_in_test(t):
    set_ = f1(t + "/f1")
    both(t, set_, lambda s: read_folder(set_, s), truth=1)


@case
def class_missing_in_test_of_an_archive(t):
    path = pack(t + "/f1.tar", f1(t + "/f1"))
    both(t, path, lambda s: read_tars([path], s), truth=1)


@case
def class_missing_in_test_of_a_compressed_archive(t):
    path = pack(t + "/f1.tar.gz", f1(t + "/f1"), "w:gz")
    both(t, path, lambda s: read_tars([path], s), truth=1)


@case
def class_missing_in_test_of_two_archives(t):
    f1(t + "/f1")
    paths = [pack(f"{t}/{part}.tar", f"{t}/f1/{part}") for part in ("train", "test")]
    streams = [Stream(t, path) for path in paths]
    for stream, path in zip(streams, paths):
        compare(stream, *read_tars([path]))
    need(judge(*streams) == 1, "top-1")


@case
def folder_against_archive(t):
    set_ = f1(t + "/f1")
    path = pack(t + "/test.tar", set_ + "/test")
    streams = Stream(t, set_), Stream(t, path)
    need(judge(*streams) == 1, "top-1")


@case
def class_of_test_is_unknown_in_training(t):
    make(t + "/set", train__a=20, train__b=20, test__a=10, test__c=10)
    both(t, t + "/set", lambda s: read_folder(t + "/set", s), truth=0.5)


@case
def no_class_in_common(t):
    make(t + "/one", a=10, b=10)
    make(t + "/two", c=10, d=10)
    one, two = Stream(t, t + "/one"), Stream(t, t + "/two")
    refused("class", "--train", one.path, "--test", two.path, "--on", "x", "--method", "knn", "--k", 3,
            "--bootstrap", 0, program="evaluate")


@case
def stray_folder_in_one_part(t):
    set_ = f1(t + "/f1")
    put(set_ + "/test/__MACOSX/._0000.png", b"resource fork")
    put(set_ + "/test/__MACOSX/a/._0001.png", b"resource fork")
    both(t, set_, lambda s: read_folder(set_, s), truth=1)


@case
def stray_folder_with_text(t):
    set_ = f1(t + "/f1")
    put(set_ + "/train/Aaa/readme.txt", b"no image")
    rows, names = read_folder(set_, "train")
    compare(Stream(t, set_, says=[kinds(txt=1)]), rows, names)


@case
def stray_folder_in_an_archive(t):
    set_ = f1(t + "/f1")
    put(set_ + "/test/__MACOSX/x", b"")
    members = [(n, open(f"{set_}/{n}", "rb").read()) for n in files_below(set_)]
    members.append(("test/__MACOSX/._0000.png", b"resource fork"))
    path = pack_members(t + "/f1.tar", sorted(m for m in members if not m[0].endswith("/x")))
    both(t, path, lambda s: read_tars([path], s), truth=1)


@case
def nested_classes(t):
    make(t + "/set", train__a__x=10, train__b__x=10, test__a__x=5, test__b__y=5)
    for name in files_below(t + "/set"):  # the colour is that of the class, not of x
        kind = name.split("/")[1]
        put(f"{t}/set/{name}", png(draw(kind)))
    streams = both(t, t + "/set", lambda s: read_folder(t + "/set", s), truth=1)
    path = pack(t + "/set.tar", t + "/set")
    archived = both(t, path, lambda s: read_tars([path], s), truth=1)
    need([s.bytes for s in streams] == [s.bytes for s in archived], "the archive has other frames")


@case
def nested_classes_without_parts(t):
    for kind in "ab":
        for i in range(6):
            put(f"{t}/set/{kind}/x/{i}.png", png(draw(kind)))
    rows, names = read_folder(t + "/set")
    stream = Stream(t, t + "/set")
    compare(stream, rows, names)
    need(names == ["a", "b"], "classes")
    for archive, mode in ("set.tar", "w"), ("set.tar.gz", "w:gz"):
        other = Stream(t, pack(f"{t}/{archive}", t + "/set", mode))
        need(other.bytes == stream.bytes, f"{archive} has other frames")
    for prefix in "./", "photos/", "x/y/":
        other = Stream(t, pack(t + "/wrapped.tar", t + "/set", prefix=prefix))
        compare(other, rows, names)


# ---- the table: which part ----

@case
def no_parts_in_a_folder(t):
    make(t + "/set", noise_x=40, noise_y=40)
    compare(Stream(t, t + "/set"), *read_folder(t + "/set"))
    no_part(t + "/set")
    refused("--hold", "--data", t + "/set", "--split", "test", "--policy", "eval")
    no_part(t + "/set", "unlabeled")


@case
def no_parts_in_an_archive(t):
    make(t + "/set", a=10, b=10)
    for archive, mode in ("set.tar", "w"), ("set.tar.gz", "w:gz"):
        path = pack(f"{t}/{archive}", t + "/set", mode)
        compare(Stream(t, path), *read_tars([path]))
        no_part(path)


@case
def no_parts_in_a_list_of_archives(t):
    make(t + "/set", a=10, b=10)
    names = files_below(t + "/set")
    paths = [pack(f"{t}/s-{i}.tar", t + "/set", names=names[i::2]) for i in range(2)]
    compare(Stream(t, t + "/s-{0..1}.tar"), *read_tars(paths))
    no_part(t + "/s-{0..1}.tar")


def parts_called(train, test):
    def named(t):
        set_ = f1(t + "/f1", train, test)
        both(t, set_, lambda s: read_folder(set_, s), truth=1)
        path = pack(t + "/f1.tar", set_)
        both(t, path, lambda s: read_tars([path], s), truth=1)

    named.__name__ = f"parts_{train}_{test}"
    CASES.append(named)


for names in (("train", "valid"), ("Train", "Test"), ("training", "validation"), ("TRAIN", "VAL"), ("train", "val"),
              ("Training", "test")):
    parts_called(*names)


@case
def test_before_val(t):
    make(t + "/set", train__a=8, train__b=8, val__a=4, val__b=4, test__b=3, test__a=3)
    both(t, t + "/set", lambda s: read_folder(t + "/set", s), truth=1)
    path = pack(t + "/set.tar", t + "/set")
    both(t, path, lambda s: read_tars([path], s), truth=1)


@case
def only_a_training_part(t):
    make(t + "/set", train__a=8, train__b=8)
    compare(Stream(t, t + "/set"), *read_folder(t + "/set"))
    no_part(t + "/set")
    no_part(pack(t + "/set.tar", t + "/set"))


@case
def only_a_test_part(t):
    make(t + "/set", test__a=8, test__b=8)
    compare(Stream(t, t + "/set", "--split", "test"), *read_folder(t + "/set", "test"))
    no_part(t + "/set", "train")
    no_part(pack(t + "/set.tar", t + "/set"), "train")


@case
def unlabeled_part(t):
    make(t + "/set", train__a=8, train__b=8, test__a=4, test__b=4, unlabeled=12)
    both(t, t + "/set", lambda s: read_folder(t + "/set", s), truth=1)
    rows, names = read_folder(t + "/set", "unlabeled")
    need(len(rows) == 12 and {label for label, _ in rows} == {-1}, "the reader")
    compare(Stream(t, t + "/set", "--split", "unlabeled"), rows)


def hold(t, set_, rows, share=0.5, k=3):
    train = Stream(t, set_, "--hold", share)
    test = Stream(t, set_, "--hold", share, "--split", "test")
    need(counted(train.rows()) + counted(test.rows()) == counted(rows), "train and test are not all rows")
    for label, n in Counter(label for label, _ in rows).items():
        held = sum(have == label for have in test.labels())
        need(abs(held - share * n) <= 1, f"{held} of {n} are held of class {label}")
    judge(train, test, k=k)
    return train, test


@case
def hold_of_a_folder(t):
    for kind in "xy":  # noise, which cannot be predicted
        make(t + "/set", **{kind: 40})
    train, test = hold(t, t + "/set", read_folder(t + "/set")[0])
    top1 = nearest(train.rows(), test.rows(), 3)
    need(0.25 < top1 < 0.75, f"top-1 {top1} of noise")
    need(judge(Stream(t, t + "/set"), test, k=1) == 1, "rows that were seen")  # as in training
    again = Stream(t, t + "/set", "--hold", 0.5, "--split", "test", "--threads", 1, "--seed", 5)
    need(again.bytes == test.bytes, "other rows are held")
    path = pack(t + "/set.tar", t + "/set")
    need(Stream(t, path, "--hold", 0.5, "--split", "test").bytes == test.bytes, "other rows are held of the archive")


@case
def hold_of_unequal_classes(t):
    make(t + "/set", a=30, b=10, c=3)
    hold(t, t + "/set", read_folder(t + "/set")[0], 0.2, k=3)


@case
def hold_of_an_archive(t):
    make(t + "/set", a=30, b=20)
    path = pack(t + "/set.tar.gz", t + "/set", "w:gz")
    hold(t, path, read_tars([path])[0], 0.3)


@case
def hold_of_series(t):
    lines = "".join(f"{i % 2},{','.join(map(str, np.round(draw('x', 4, 1).ravel()[:9] / 9.0, 3)))}\n" for i in range(40))
    put(t + "/set.csv", lines.encode())
    rows, _ = read_series(lines.encode())
    train, test = (Stream(t, t + "/set.csv", "--hold", 0.25, *split, size=0) for split in ([], ["--split", "test"]))
    need(len(train.y) + len(test.y) == 40 and abs(len(test.y) - 10) <= 2, "rows")
    need(not set(train.index) & set(test.index), "the same rows")


# ---- the table: other formats ----

def cifar_records(kinds, label_bytes=1):
    out = b""
    for kind in kinds:
        label = "abcd".index(kind)
        coarse = b"\7" if label_bytes == 2 else b""
        out += coarse + bytes([label]) + draw(kind, 32, 32).transpose(2, 0, 1).tobytes()
    return out


def cifar10(folder, files=5):
    for i in range(files):
        put(f"{folder}/data_batch_{i + 1}.bin", cifar_records("abc" * 3))
    put(f"{folder}/test_batch.bin", cifar_records("ab" * 4))


def cifar_reader(folder, split):
    names = sorted(os.listdir(folder))
    names = [n for n in names if n.startswith("test_batch" if split == "test" else "data_batch")]
    return read_cifar(b"".join(open(f"{folder}/{n}", "rb").read() for n in names), 1)


def both_of_numbers(t, data, reader, **more):
    """Checks sets whose classes have numbers; they may have names too."""
    streams = []
    for split in ("train", "test"):
        rows, _ = reader(split)
        stream = Stream(t, data, "--split", split, **more)
        stream.names = None
        compare(stream, rows)
        streams.append(stream)
    judge(*streams, truth=1)


@case
def cifar10_folder(t):
    cifar10(t + "/set")
    both_of_numbers(t, t + "/set", lambda s: cifar_reader(t + "/set", s), size=32)


@case
def cifar10_archive(t):
    cifar10(t + "/set")
    path = pack(t + "/set.tar.gz", t + "/set", "w:gz", prefix="cifar-10-batches-bin/")
    both_of_numbers(t, path, lambda s: cifar_reader(t + "/set", s), size=32)


@case
def cifar10_without_a_batch(t):
    cifar10(t + "/set")
    os.remove(t + "/set/data_batch_3.bin")
    for data in t + "/set", pack(t + "/set.tar.gz", t + "/set", "w:gz"):
        out, lines, status = run("augment", "--data", data, "--policy", "eval", "--batch", 64, "--size", 32)
        need(len(lines) == 1 and "data_batch_3.bin" in lines[0] and status in (0, 1), f"{status}: {lines}")


@case
def cifar10_without_its_test(t):
    cifar10(t + "/set")
    os.remove(t + "/set/test_batch.bin")
    no_part(t + "/set")


@case
def cifar100_both(t):
    put(t + "/set/train.bin", cifar_records("abcd" * 5, 2))
    put(t + "/set/test.bin", cifar_records("ad" * 4, 2))

    def reader(split):
        return read_cifar(open(f"{t}/set/{split}.bin", "rb").read(), 2)

    both_of_numbers(t, t + "/set", reader, size=32)
    both_of_numbers(t, pack(t + "/set.tar.gz", t + "/set", "w:gz", prefix="cifar-100-binary/"), reader, size=32)


def idx(labels):
    pixels = np.stack([draw("abc"[y])[..., 0] // 2 + 40 * y for y in labels])
    return (struct.pack(">4I", 0x803, len(labels), SIDE, SIDE) + pixels.tobytes(),
            struct.pack(">2I", 0x801, len(labels)) + bytes(labels))


@case
def idx_folders(t):
    content = {"train": idx([0, 1, 2] * 8), "t10k": idx([2, 0] * 4)}
    for ending, write in ("", lambda d: d), (".gz", gzip.compress):
        for part, (images, labels) in content.items():
            put(f"{t}/set{ending}/{part}-images-idx3-ubyte{ending}", write(images))
            put(f"{t}/set{ending}/{part}-labels-idx1-ubyte{ending}", write(labels))
        both_of_idx = [Stream(t, f"{t}/set{ending}", "--split", split) for split in ("train", "test")]
        for stream, part in zip(both_of_idx, content):
            compare(stream, read_idx(*content[part])[0])
        judge(*both_of_idx)


@case
def idx_without_test(t):
    images, labels = idx([0, 1] * 4)
    put(t + "/set/train-images-idx3-ubyte", images)
    put(t + "/set/train-labels-idx1-ubyte", labels)
    compare(Stream(t, t + "/set"), read_idx(images, labels)[0])
    no_part(t + "/set")


@case
def idx_file_alone(t):
    images, labels = idx([0, 1] * 4)
    path = t + "/set/train-images-idx3-ubyte"
    put(path, images)
    put(t + "/set/train-labels-idx1-ubyte", labels)
    compare(Stream(t, path), read_idx(images, labels)[0])
    no_part(path)


@case
def frames_have_no_parts(t):
    x = np.stack([draw("ab"[i % 2]) for i in range(12)])
    with open(t + "/set.st", "wb") as file:
        frames.write(file, {"x": x, "y": np.arange(12) % 2})
    compare(Stream(t, t + "/set.st"), list(zip([i % 2 for i in range(12)], x)))
    no_part(t + "/set.st")


@case
def frames_of_augment(t):
    make(t + "/set", a=6, b=6)
    first = Stream(t, t + "/set")
    again = Stream(t, first.path)
    need(again.bytes == first.bytes, "other frames")
    with open(first.path, "rb") as file:
        need(Stream(t, "-", "--cache", 0, "--limit", 12, stdin=file).bytes == first.bytes, "other frames on stdin")
    make(t + "/one", train__a=6, train__b=6, test__b=3)  # a class without images in this part
    test = Stream(t, t + "/one", "--split", "test")
    again = Stream(t, test.path)
    need(again.names == ["a", "b"] and again.labels() == ["b"] * 3, f"{again.names}: {again.labels()}")
    for i, (names, pattern) in enumerate([('["a"]', "label 1, and class_names has 1 names"), ("[1]", "class_names"),
                                          ("{", "class_names"), ('["a","a"]', "class_names")]):
        with open(f"{t}/{i}.st", "wb") as file:
            frames.write(file, {"x": np.stack([draw("a"), draw("b")]), "y": np.arange(2)}, class_names=names)
        refused(pattern, "--data", f"{t}/{i}.st", "--policy", "eval")


def series(kinds, mark=b"", end=b"\n", after=b""):
    rows = [b"%d,%s" % (7 * kind, b",".join(b"%.3f" % v for v in draw("x", 5, 1).ravel()[:11] / 99.0)) for kind in kinds]
    return mark + end.join(rows) + end + after


@case
def series_with_marks(t):
    for i, (mark, end, after) in enumerate([(b"", b"\n", b""), (b"\xef\xbb\xbf", b"\n", b""), (b"", b"\r\n", b""),
                                            (b"", b"\n", b"\n"), (b"\xef\xbb\xbf", b"\r\n", b"\r\n \r\n")]):
        data = series([1, 2, 1, 3], mark, end, after)
        put(f"{t}/{i}.csv", data)
        stream = Stream(t, f"{t}/{i}.csv", size=0)
        stream.names = None
        compare(stream, read_series(data)[0])
    no_part(t + "/0.csv")
    for name, data, pattern in (("names.csv", b"label,t0,t1\n1,2,3\n", "line 1: 'label' is not a number.*names"),
                                ("utf16.csv", "1,2,3\n".encode("utf-16"), "UTF-16")):
        put(f"{t}/{name}", data)
        refused(pattern, "--data", f"{t}/{name}", "--policy", "eval")


@case
def series_in_two_files(t):
    content = {"train": series([1, 2, 3] * 4), "test": series([3, 1] * 3, b"\xef\xbb\xbf", b"\r\n", b"\r\n")}
    for split, data in content.items():
        put(f"{t}/set/Ucr_{split.upper()}.tsv", data.replace(b",", b"\t"))
    labels = [7.0, 14.0, 21.0]
    for split, data in content.items():
        stream = Stream(t, t + "/set", "--format", "series", "--split", split, size=0)
        stream.names = None
        compare(stream, read_series(data, labels)[0])
    os.remove(t + "/set/Ucr_TEST.tsv")
    refused("no .*test", "--data", t + "/set", "--format", "series", "--split", "test", "--policy", "eval")


@case
def arrays(t):
    x = np.stack([draw("x", 5, 1).ravel()[:11] / np.float32(99) for _ in range(8)]).astype("f4")
    y = np.array([5, 9, 5, 7, 7, 9, 5, 5])
    np.save(t + "/set.npy", x)
    np.save(t + "/set-labels.npy", y)
    stream = Stream(t, t + "/set.npy", size=0)
    stream.names = None
    compare(stream, [([5, 7, 9].index(label), row) for label, row in zip(y, x)])
    no_part(t + "/set.npy")


@case
def tiny_imagenet(t):
    ids = ["n03", "n01", "n02"]  # wnids.txt has another order
    put(t + "/set/wnids.txt", "".join(i + "\n" for i in ids).encode())
    put(t + "/set/words.txt", b"n01\ta fish\n")
    want = {"train": [], "test": []}
    for name, kind in zip(ids, "abc"):
        for i in range(6):
            pixels = draw(kind)
            put(f"{t}/set/train/{name}/images/{name}_{i}.png", png(pixels))
            want["train"].append((name, pixels))
        put(f"{t}/set/train/{name}/{name}_boxes.txt", b"0 0 63 63\n")
    lines = ""
    for i in range(9):
        pixels = draw("abc"[i % 3])
        put(f"{t}/set/val/images/val_{i}.png", png(pixels))
        lines += f"val_{i}.png\t{ids[i % 3]}\t0\t32\t44\t62\n"
        want["test"].append((ids[i % 3], pixels))
    put(t + "/set/val/val_annotations.txt", lines.encode())
    streams = both(t, t + "/set", lambda s: (want[s], ids), truth=1, may=[r"not read: \d+ \.txt"])
    need([int(y) for y in streams[1].y] == [i % 3 for i in range(9)], "numbers that are not in wnids.txt's order")


# ---- the table: limits ----

def shares(labels, n):
    """Checks that no class differs by more than one image from its share of n."""
    counts = Counter(labels)
    return {label: (count * n / len(labels)) for label, count in counts.items()}


def stratified(stream, all_labels, n):
    need(len(stream.y) == n, f"{len(stream.y)} rows, not {n}")
    have = Counter(stream.labels())
    for label, due in shares(all_labels, n).items():
        need(abs(have[label] - due) <= 1, f"{have[label]} of class {label}, and {due:.1f} are due: {have}")


@case
def limit_of_a_sorted_folder(t):
    make(t + "/set", train__a=40, train__b=40, train__c=40, test__a=30, test__b=30, test__c=30)
    labels = [label for label, _ in read_folder(t + "/set")[0]]
    train = Stream(t, t + "/set", "--limit", 30)
    stratified(train, labels, 30)
    test = Stream(t, t + "/set", "--limit", 12, "--split", "test")
    stratified(test, [label for label, _ in read_folder(t + "/set", "test")[0]], 12)
    judge(train, test, truth=1)
    need(counted(train.rows()) <= counted(read_folder(t + "/set")[0]), "rows that are none of the set's")
    chosen = sorted(train.index)
    for more in (["--seed", 9, "--epochs", 1], ["--epochs", 2], ["--epochs", 1, "--threads", 1]):
        other = Stream(t, t + "/set", "--limit", 30, *more, policy="simclr", batch=10)
        need(sorted(set(other.index)) == chosen, f"other images with {more}")
    shards = [Stream(t, t + "/set", "--limit", 30, "--shard", f"{r}/3", "--epochs", 1, policy="simclr", batch=10)
              for r in range(3)]
    need(sorted(set(np.concatenate([s.index for s in shards]))) == chosen, "other images in shards")
    path = pack(t + "/set.tar", t + "/set")
    need(Stream(t, path, "--limit", 30).bytes == train.bytes, "other images of the archive")


@case
def limit_of_other_formats(t):
    images, labels = idx([0] * 20 + [1] * 20 + [2] * 20)
    put(t + "/idx/train-images-idx3-ubyte", images)
    put(t + "/idx/train-labels-idx1-ubyte", labels)
    stratified(Stream(t, t + "/idx", "--limit", 12), list(labels[8:]), 12)
    put(t + "/cifar/data_batch_1.bin", cifar_records("a" * 20 + "b" * 20))
    for i in range(2, 6):
        put(f"{t}/cifar/data_batch_{i}.bin", cifar_records("b"))
    put(t + "/cifar/test_batch.bin", cifar_records("a" * 10 + "b" * 10))
    stream = Stream(t, t + "/cifar", "--limit", 10, "--split", "test", size=32)
    stream.names = None
    stratified(stream, [0] * 10 + [1] * 10, 10)
    put(t + "/set.csv", series([1] * 20 + [2] * 20))
    stream = Stream(t, t + "/set.csv", "--limit", 10, size=0)
    stream.names = None
    stratified(stream, [0] * 20 + [1] * 20, 10)


@case
def limit_beyond_the_set(t):
    make(t + "/set", a=5, b=5)
    need(Stream(t, t + "/set", "--limit", 100).bytes == Stream(t, t + "/set").bytes, "other frames")


@case
def limit_of_a_stream_is_its_beginning(t):
    make(t + "/set", a=20, b=20)
    path = pack(t + "/set.tar.gz", t + "/set", "w:gz")
    want = counted((0, x) for _, x in read_tars([path])[0][:8])
    with open(path, "rb") as file:  # it comes once, so the user must say how much of it to take
        streams = [Stream(t, path, "--cache", 0, "--limit", 8, says=[r"first 8"]),
                   Stream(t, "-", "--cache", 0, "--limit", 8, stdin=file, may=[r"first 8"])]
    for stream in streams:
        need(counted((0, x) for x in stream.x) == want, "not the first ones")


# ---- the table: files that are not read ----

def kinds(**counts):
    """Returns a regular expression for a line that has each kind with its count."""
    return "".join(rf"(?=.*\b{n}\b[^,;]*{kind}|.*{kind}[^,;]*\b{n}\b)" for kind, n in counts.items())


@case
def other_formats_beside_png(t):
    make(t + "/set", a=2, b=2)
    for ending, n in ("heic", 4), ("psd", 5), ("gif", 3), ("avif", 2), ("svg", 4):
        for i in range(n):
            put(f"{t}/set/{'ab'[i % 2]}/{i}.{ending}", b"an image of another kind")
    line = kinds(heic=4, psd=5, gif=3, avif=2, svg=4)
    compare(Stream(t, t + "/set", says=[line]), *read_folder(t + "/set"))
    for archive, mode in ("set.tar", "w"), ("set.tar.gz", "w:gz"):
        path = pack(f"{t}/{archive}", t + "/set", mode)
        compare(Stream(t, path, says=[line]), *read_tars([path]))


@case
def nothing_but_other_formats(t):
    put(t + "/set/a/1.heic", b"an image of another kind")
    refused("heic|no PNG, JPEG", "--data", t + "/set", "--policy", "eval")


@case
def images_beside_class_folders(t):
    make(t + "/set", a=6, b=6)
    for i in range(10):
        put(f"{t}/set/{i:04}.png", png(draw("noise")))
    compare(Stream(t, t + "/set", says=[r"\b10\b"]), *read_folder(t + "/set"))


@case
def images_beside_thumbs(t):
    for i in range(10):
        put(f"{t}/set/{i:04}.png", png(draw("noise")))
    put(t + "/set/thumbs/0010.png", png(draw("noise")))
    compare(Stream(t, t + "/set", says=[r"\b10\b"]), *read_folder(t + "/set"))


@case
def links_that_lead_nowhere(t):
    make(t + "/set", a=6, b=6)
    for i in range(3):
        os.symlink("nowhere.png", f"{t}/set/a/x{i}.png")
    compare(Stream(t, t + "/set", says=[r"\b3\b"]), *read_folder(t + "/set"))


@case
def links_in_a_folder(t):
    make(t + "/store", a=4, b=4)
    for kind in "ab":
        os.makedirs(f"{t}/set/{kind}")
        for i in range(4):
            os.symlink(f"../../store/{kind}/{i:04}.png", f"{t}/set/{kind}/{i}.png")
    os.symlink("../store/a", t + "/set/c")  # a folder that is a link
    rows, names = read_folder(t + "/set")
    need(len(rows) == 12, "the reader")
    compare(Stream(t, t + "/set"), rows, names)


@case
def links_in_an_archive(t):
    make(t + "/set", train__a=5, train__b=5, test__a=3)
    with tarfile.open(t + "/set.tar", "w") as tar:
        tar.add(t + "/set", ".")
        for i, (kind, target) in enumerate([(tarfile.LNKTYPE, "./train/b/0000.png"),
                                            (tarfile.SYMTYPE, "../../train/b/0001.png"),
                                            (tarfile.SYMTYPE, "../a/0001.png")]):
            info = tarfile.TarInfo(f"./test/{'bba'[i]}/link{i}.png")
            info.type, info.linkname = kind, target
            tar.addfile(info)
    with open(t + "/set.tar", "rb") as file, gzip.open(t + "/set.tar.gz", "wb", 1) as out:
        out.write(file.read())
    for path in t + "/set.tar", t + "/set.tar.gz":
        for split, n in ("train", 10), ("test", 6):
            rows, names = read_tars([path], split)
            need(len(rows) == n, f"the reader: {len(rows)}")
            compare(Stream(t, path, "--split", split), rows, names)


@case
def links_in_an_archive_that_lead_nowhere(t):
    make(t + "/set", a=5, b=5)
    pack(t + "/set.tar", t + "/set")
    with tarfile.open(t + "/set.tar", "a") as tar:
        for i, target in enumerate(("nowhere.png", "../../../../etc/passwd.png")):
            info = tarfile.TarInfo(f"b/link{i}.png")
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    compare(Stream(t, t + "/set.tar", says=[r"\b2\b"]), *read_tars([t + "/set.tar"]))


@case
def archive_of_links_alone(t):
    with tarfile.open(t + "/set.tar", "w") as tar:
        for i in range(3):
            info = tarfile.TarInfo(f"a/link{i}.png")
            info.type, info.linkname = tarfile.SYMTYPE, "/somewhere/else.png"
            tar.addfile(info)
    refused("link|no PNG, JPEG", "--data", t + "/set.tar", "--policy", "eval")


@case
def names_in_capitals(t):
    make(t + "/set", a=3, b=3)
    for kind in "ab":
        put(f"{t}/set/{kind}/X.PNG", png(draw(kind)))
        put(f"{t}/set/{kind}/y.jpg", png(draw(kind)))  # it is a PNG whatever its name
    compare(Stream(t, t + "/set"), *read_folder(t + "/set"))


@case
def names_of_every_kind(t):
    rows = []
    for kind in ("a b", "ü", "$(touch x)", "`id`", "a,b", "-x", "it's", 'quo"te', "{1..3}", "tab\there", "line\nbreak",
                 "back\\slash", "日本"):
        pixels = draw("noise")
        put(f"{t}/set/{kind}/1.png", png(pixels))
        rows.append((kind, pixels))
    names = sorted((kind for kind, _ in rows), key=str.encode)
    compare(Stream(t, t + "/set"), rows, names)
    compare(Stream(t, pack(t + "/set.tar", t + "/set")), rows, names)


@case
def names_that_are_no_text(t):
    for kind in (b"\xff\xfe", b"caf\xe9", "caf\u00e9".encode()):
        for i in range(3):
            name = os.path.join(os.fsencode(t), b"set", kind, b"%d.png" % i)
            os.makedirs(os.path.dirname(name), exist_ok=True)
            with open(name, "wb") as file:
                file.write(png(draw("noise")))
    stream = Stream(t, t + "/set")
    need(len(set(stream.names)) == 3 and Counter(stream.y) == {0: 3, 1: 3, 2: 3}, f"{stream.names}: {stream.y}")
    judge(stream, stream, k=1, truth=1)


# ---- the table: labels beside images ----

def web(path, n, labels=None, extra=(), mode="w"):
    members = []
    for i in range(n):
        members.append((f"{i:05}.png", png(draw("ab"[i % 2]))))
        label = (labels or {}).get(i, b"%d" % (i % 2))
        if label is not None:
            members.append((f"{i:05}.cls", label))
    return pack_members(path, members + list(extra), mode)


@case
def webdataset(t):
    for name, mode in ("web.tar", "w"), ("web.tar.gz", "w:gz"):
        path = web(f"{t}/{name}", 20, mode=mode)
        compare(Stream(t, path), read_webdataset([path])[0])
        no_part(path)


@case
def webdataset_in_a_list(t):
    paths = [web(f"{t}/web-{i}.tar", 10) for i in range(3)]
    compare(Stream(t, t + "/web-{0..2}.tar"), read_webdataset(paths)[0])


@case
def a_label_that_is_none(t):
    for name, mode in ("web.tar", "w"), ("web.tar.gz", "w:gz"):
        path = web(f"{t}/{name}", 200, {20: b"1.0"}, mode=mode)
        rows, _ = read_webdataset([path])
        need(len(rows) == 199, "the reader")
        compare(Stream(t, path, says=[r"00020\.cls", r"labels? .*\b1$|\b1 .*label"]), rows)
        refused(r"00020\.cls", "--data", path, "--policy", "eval", "--on-error", "stop")


@case
def labels_that_are_none(t):
    path = web(t + "/web.tar", 200, {20: b"1.0", 21: b"cat", 150: b""})
    out, lines, status = run("augment", "--data", path, "--policy", "eval", "--size", SIDE)
    need(status == 1 and "1 %" in lines[-1] + "".join(lines) and len(lines) <= 6, f"{status}: {lines}")


@case
def labels_without_images(t):
    path = web(t + "/web.tar", 20, extra=[("x1.cls", b"1"), ("x2.cls", b"0")])
    compare(Stream(t, path, says=[r"\b2\b"]), read_webdataset([path])[0])


@case
def images_without_labels(t):
    path = web(t + "/web.tar", 20, {3: None, 4: None})
    stream, want = Stream(t, path, may=[r"\b2\b.*label"]), read_webdataset([path])[0]
    have, labelled = counted(stream.rows()), counted(row for row in want if row[0] >= 0)
    need(labelled <= have and have - labelled <= counted(want), "other labels")


@case
def two_images_under_a_key(t):
    members = [("0.png", png(draw("a"))), ("0.jpg", png(draw("b"))), ("0.cls", b"5"),
               ("1.png", png(draw("a"))), ("1.cls", b"1")]
    path = pack_members(t + "/web.tar", members)
    stream = Stream(t, path, says=[r"0\.(png|jpg|cls)|\b1\b"])
    truth = {unpng(data).tobytes(): 5 if name.startswith("0") else 1 for name, data in members if unpng(data) is not None}
    for label, pixels in stream.rows():
        need(label in (-1, truth[np.ascontiguousarray(pixels).tobytes()]), f"label {label}")
    need({5, 1} <= set(stream.labels()), "labels")


# ---- the table: damage and sizes ----

@case
def an_empty_file(t):
    make(t + "/set", a=100, b=100)
    put(t + "/set/a/zzz.png", b"")
    rows, names = read_folder(t + "/set")
    need(len(rows) == 200, "the reader")
    for batch in (1, 50, 100, 201):
        compare(Stream(t, t + "/set", batch=batch, says=[r"zzz\.png: empty", r"cannot be read: 1$"]), rows, names)
    path = pack(t + "/set.tar", t + "/set")
    compare(Stream(t, path, batch=1, says=[r"zzz\.png: empty", r"cannot be read: 1$"]), rows, names)
    out, lines, status = run("augment", "--data", t + "/set", "--batch", 1, "--size", SIDE, "--epochs", 1)
    parts = list(frames.read_all(io.BytesIO(out)))
    need(status == 0 and len(parts) == 201, f"training, batches of one: {lines}")
    of = Counter(int(f["index"][0]) for f, _ in parts)
    need(max(of.values()) == 2 and len(of) == 200, "one stands in for the empty one")


@case
def three_empty_files(t):
    make(t + "/set", a=98, b=99)
    for i in range(3):
        put(f"{t}/set/b/x{i}.png", b"")
    out, lines, status = run("augment", "--data", t + "/set", "--policy", "eval", "--size", SIDE)
    need(status == 1 and "more than 1 %" in lines[-1] + lines[-2], f"{status}: {lines}")


def frames_of_sizes(t, *arguments, **more):
    return Stream(t, *arguments, size=0, **more).x.shape[2]


@case
def an_icon_among_photos(t):
    for i in range(30):
        put(f"{t}/set/{'ab'[i % 2]}/{i:02}.png", png(draw("ab"[i % 2], 40 + i, 30 + i)))
    put(t + "/set/a/apple-touch-icon.png", png(draw("a", 16, 16)))
    put(t + "/set/a/00-icon.png", png(draw("a", 16, 16)))
    says = [r"224.*\b30 of 32\b"]
    need(frames_of_sizes(t, t + "/set", says=says) == 224, "a folder")
    need(frames_of_sizes(t, pack(t + "/set.tar", t + "/set"), says=says) == 224, "an archive")
    path = pack(t + "/set.tar.gz", t + "/set", "w:gz")
    for more in [], ["--cache", 0]:
        need(frames_of_sizes(t, path, *more, says=says) == 224, "a compressed archive")
    Stream(t, t + "/set", size=16)  # prints nothing


@case
def icons_alone(t):
    make(t + "/set", a=70, b=70)
    put(t + "/set/a/0.png", png(draw("a", 50, 40)))
    size = frames_of_sizes(t, t + "/set", says=[rf"\b{SIDE}\b.*\b\d+ of \d+\b"])
    need(size == SIDE, f"views of {size} pixels")


def main(words):
    chosen = [c for c in CASES if not words or any(w in c.__name__ for w in words)]
    os.makedirs("own_data", exist_ok=True)

    def one(function):
        folder = os.path.abspath(f"own_data/{function.__name__}")
        os.makedirs(folder)
        began = time.monotonic()
        try:
            function(folder)
            why = ""
        except Wrong as wrong:
            why = str(wrong)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        if not why:
            shutil.rmtree(folder)
        return function.__name__, why, time.monotonic() - began

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, why, seconds in pool.map(one, chosen):
            what = name.replace("_", " ")
            print(f"ok - {what}" if not why else f"not ok - {what}\n# {why[:1000]}", flush=True)
            if "TIMES" in os.environ:
                print(f"# {seconds:.1f} s")


main(sys.argv[3:])
