#!/usr/bin/env python3
"""Writes and checks data sets for python_data.sh: CIFAR as pickles of Python, and STL-10.

    cifar FOLDER              CIFAR-10 and CIFAR-100, 10 images for each file, in the binary version
                              and as pickles of each protocol, with their archives as distributed
    damage FOLDER PICKLE      files beside each other, each with another defect
    stl10 FOLDER              STL-10 with 20, 10 and 30 images, and archives of it
    same STREAM SET SPLIT     checks the pixels and labels of a stream without augmentation against
                              what Python's pickle or numpy reads
"""
import io
import os
import pickle
import struct
import sys
import tarfile

import numpy

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import frames  # noqa: E402

random = numpy.random.default_rng(5)


class Python2(pickle._Pickler):
    """Writes every str and bytes as the str of Python 2: STRING or BINSTRING."""

    def save_string(self, text):
        raw = text.encode("latin1") if isinstance(text, str) else text
        if self.proto == 0:
            quoted = repr(raw)[1:].encode("ascii")
            self.write(pickle.STRING + quoted + b"\n")
        elif len(raw) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(raw)]) + raw)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(text)

    dispatch = dict(pickle._Pickler.dispatch)
    dispatch[str] = save_string
    dispatch[bytes] = save_string


def dumps(thing, protocol, python2):
    if not python2:
        return pickle.dumps(thing, protocol)
    out = io.BytesIO()
    Python2(out, protocol).dump(thing)
    return out.getvalue()


def put(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def archive(path, folder, names):
    with tarfile.open(path, "w:gz" if path.endswith("gz") else "w") as tar:
        for name in names:
            tar.add(os.path.join(folder, name), os.path.join(os.path.basename(folder), name))


def cifar(folder):
    forms = [(f"p{protocol}", protocol, False) for protocol in range(6)]
    forms += [("python2", 2, True), ("python2-0", 0, True), ("arrays", 4, False), ("fortran", 3, False)]
    names10 = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for set_name, names, classes in ("10", names10, 10), ("100", ["train", "test"], 100):
        batches = {name: (random.integers(0, 256, (10, 3072), "u1"), random.integers(0, classes, 10).tolist())
                   for name in names}
        labels_of = [f"class {i}" for i in range(classes)]
        binary = f"{folder}/bin{set_name}"
        for name, (data, labels) in batches.items():
            coarse = b"" if set_name == "10" else b"\7"
            put(f"{binary}/{name}.bin", b"".join(coarse + bytes([label]) + row.tobytes()
                                                 for row, label in zip(data, labels)))
        text = "batches.meta.txt" if set_name == "10" else "fine_label_names.txt"
        put(f"{binary}/{text}", "".join(f"{n}\n" for n in labels_of).encode())
        for form, protocol, python2 in forms:
            pickled = f"{folder}/{form}-{set_name}"
            for name, (data, labels) in batches.items():
                batch = {"batch_label": f"batch {name}", "filenames": [f"{i}.png" for i in range(10)],
                         "data": numpy.asfortranarray(data) if form == "fortran" else data}
                if form == "arrays":
                    labels = numpy.array(labels)
                elif form == "fortran":
                    labels = [numpy.int64(label) for label in labels]
                if set_name == "10":
                    batch["labels"] = labels
                else:
                    batch |= {"coarse_labels": [7] * 10, "fine_labels": labels}
                put(f"{pickled}/{name}", dumps(batch, protocol, python2))
            if set_name == "10":
                put(f"{pickled}/batches.meta",
                    dumps({"num_cases_per_batch": 10, "label_names": labels_of, "num_vis": 3072}, protocol, python2))
            else:
                put(f"{pickled}/meta", dumps({"coarse_label_names": ["x"] * 20, "fine_label_names": labels_of},
                                             protocol, python2))
        # The order in which they are distributed.
        order = (["data_batch_4", "test_batch", "data_batch_3", "batches.meta", "data_batch_2", "data_batch_5",
                  "data_batch_1"] if set_name == "10" else ["train", "test", "meta"])
        archive(f"{folder}/cifar-{set_name}-python.tar.gz", f"{folder}/python2-{set_name}", order)


def damage(folder, whole):
    batch = pickle.load(open(whole, "rb"), encoding="bytes")
    batch = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {folder}/ran",)

    def write(name, content):
        put(f"{folder}/{name}/test_batch", content if isinstance(content, bytes) else pickle.dumps(content, 2))

    write("no_labels", {k: v for k, v in batch.items() if k != "labels"})
    write("no_data", {k: v for k, v in batch.items() if k != "data"})
    write("label", batch | {"labels": [10] * 10})
    write("few", batch | {"labels": [1] * 9})
    write("words", batch | {"labels": ["cat"] * 10})
    write("narrow", batch | {"data": batch["data"][:, 1:]})
    write("floats", batch | {"data": batch["data"].astype("f4")})
    write("list", [1])
    write("call", batch | {"extra": Evil()})
    write("data_call", batch | {"data": Evil()})
    write("evil", Evil())
    write("cut", pickle.dumps(batch, 2)[:-500])
    write("inst", b"\x80\2(X\5\0\0\0touchios\nsystem\n.")


def stl10(folder):
    for part, count in ("train", 20), ("test", 10), ("unlabeled", 30):
        put(f"{folder}/stl10_binary/{part}_X.bin", random.integers(0, 256, (count, 3, 96, 96), "u1").tobytes())
        if part != "unlabeled":
            put(f"{folder}/stl10_binary/{part}_y.bin", (random.integers(0, 10, count) + 1).astype("u1").tobytes())
    names = "airplane bird car cat deer dog horse monkey ship truck".split()
    put(f"{folder}/stl10_binary/class_names.txt", "\n".join(names).encode())
    put(f"{folder}/stl10_binary/fold_indices.txt", b"0 1 2\n")
    order = ["test_X.bin", "test_y.bin", "train_X.bin", "train_y.bin", "unlabeled_X.bin", "class_names.txt",
             "fold_indices.txt"]
    for end in "tar", "tar.gz":
        archive(f"{folder}/stl10_binary.{end}", f"{folder}/stl10_binary", order)


def truth(folder, split):
    """Images U8 [N,H,W,3] and labels, as Python's pickle and numpy read them."""
    if os.path.exists(f"{folder}/class_names.txt"):
        x = numpy.fromfile(f"{folder}/{split}_X.bin", "u1").reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)
        y = (numpy.full(len(x), -1) if split == "unlabeled" else
             numpy.fromfile(f"{folder}/{split}_y.bin", "u1").astype(int) - 1)
        return x, y
    hundred = os.path.exists(f"{folder}/meta")
    names = ([split] if hundred else
             ["test_batch"] if split == "test" else [f"data_batch_{i}" for i in range(1, 6)])
    x, y = [], []
    for name in names:
        batch = pickle.load(open(f"{folder}/{name}", "rb"), encoding="bytes")
        batch = {k.decode() if isinstance(k, bytes) else k: v for k, v in batch.items()}
        x.append(batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        y += list(batch["fine_labels" if hundred else "labels"])
    return numpy.concatenate(x), numpy.array(y)


def same(stream, folder, split):
    x, y = truth(folder, split)
    seen = 0
    for tensors, _ in frames.read_all(open(stream, "rb")):
        for view, label, index in zip(tensors["x"], tensors["y"], tensors["index"]):
            if not (view[0] == x[index]).all() or label != y[index]:
                sys.exit(f"image {index} differs")
            seen += 1
    if seen != len(x):
        sys.exit(f"{seen} images, and {len(x)} are there")


if __name__ == "__main__":
    {"cifar": cifar, "damage": damage, "stl10": stl10, "same": same}[sys.argv[1]](*sys.argv[2:])
