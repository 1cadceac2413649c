"""Makes models whose values are all random, with inputs for them, and compares exports with what encode,
project and classify compute.

    export_model.py ROOT make                    every NAME.st of MODELS with its input NAME.x, and models that
                                                 cannot be exported
    export_model.py ROOT same MODEL.onnx INPUT.st OUTPUT=FILE.st...   also MODEL.fold.onnx
    export_model.py ROOT tensors FILE,MODEL.st,PART...   each FILE, .pth or .safetensors, has the same tensors
"""
import collections
import pickle
import sys
import zipfile

sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np

import frames
import onnx_numpy

PARTS = "conv1", "bn1", "layer1", "layer2", "layer3", "layer4"


def load(path):
    with open(path, "rb") as file:
        return next(iter(frames.read_all(file)))


CLASSES = '["cat","dog","fox"]'
MODELS = {  # description, blocks, bottlenecks, shape of an input
    "small": ("arch=resnet18 width=0.125 stem=cifar normalize=none sk=0 size=16", (2, 2, 2, 2), False, (16, 16, 3)),
    "heads": ("arch=resnet18 width=0.125 stem=imagenet normalize=imagenet sk=0 size=37", (2, 2, 2, 2), False,
              (37, 37, 3)),
    "sk": ("arch=resnet50 width=0.0625 stem=imagenet normalize=0.4,0.5,0.6/0.2,0.3,0.4 sk=1 size=0", (3, 4, 6, 3),
           True, (37, 30, 3)),
    "five": ("arch=resnet18 width=0.0625 stem=cifar normalize=none sk=0 size=12 channels=5", (2, 2, 2, 2), False,
             (12, 12, 5)),
    "series": ("arch=resnet1d width=0.125 stem=imagenet normalize=none sk=0 size=70 channels=4", (2, 2, 2, 2),
               False, (1, 70, 4)),
}


def shapes(words, blocks, bottlenecks):
    """The shapes of a ResNet's convolutions and linear maps, by name, and the norm after each."""
    wide, sk, series = round(64 * float(words["width"])), words["sk"] == "1", "1d" in words["arch"]
    found = {}

    def convolution(name, norm, o, i, k):
        found[name + ".weight"] = (o, i, k) if series else (o, i, k, k)
        if norm:
            found[norm] = o
        return o

    c = int(words.get("channels", 3))
    if words["stem"] == "cifar":
        c = convolution("conv1", "bn1", wide, c, 3)
    elif sk:
        c = convolution("conv1.0", "conv1.1", wide // 2, c, 3)
        c = convolution("conv1.3", "conv1.4", wide // 2, c, 3)
        c = convolution("conv1.6", "bn1", wide, c, 3)
    else:
        c = convolution("conv1", "bn1", wide, c, 7)
    for stage, n in enumerate(blocks):
        for i in range(n):
            block, inner, before = f"layer{stage + 1}.{i}.", wide << stage, c
            if bottlenecks:
                c = convolution(block + "conv1", block + "bn1", inner, c, 1)
                c = convolution(block + "conv2", block + "bn2", inner * (1 + sk), c, 3)
                if sk:
                    m = convolution(block + "sk.0", block + "sk.1", max(inner // 16, 32), inner, 1)
                    convolution(block + "sk.3", None, 2 * inner, m, 1)
                c = convolution(block + "conv3", block + "bn3", 4 * inner, inner, 1)
            else:
                c = convolution(block + "conv1", block + "bn1", inner, c, 3)
                c = convolution(block + "conv2", block + "bn2", inner, inner, 3)
            if stride_or_channels_change(stage, i, before, c):
                convolution(block + "downsample.0", block + "downsample.1", c, before, 1)
    found |= {"projector.0.weight": (10, c), "projector.1": 10, "projector.3.weight": (6, 10), "projector.4": 6,
              "fc.weight": (3, c)}
    return found


def stride_or_channels_change(stage, i, before, after):
    return i == 0 and (stage > 0 or before != after)


def values(found, r):
    """Values as after training: no batch norm is the identity, and no scale is zero."""
    model = {"fc.bias": r.normal(0, 1, 3).astype(np.float32)}
    for name, shape in found.items():
        if name.endswith(".weight"):
            deviation = np.sqrt(1.5 / np.prod(shape[1:]))
            model[name] = (r.standard_normal(shape) * deviation).astype(np.float32)
            continue
        model[name + ".weight"] = r.uniform(0.4, 1.6, shape).astype(np.float32)
        model[name + ".bias"] = r.normal(0, 0.3, shape).astype(np.float32)
        model[name + ".running_mean"] = r.normal(0, 0.3, shape).astype(np.float32)
        model[name + ".running_var"] = r.uniform(0.4, 1.6, shape).astype(np.float32)
        model[name + ".num_batches_tracked"] = np.array(7, np.int64)
    del model["projector.4.bias"]  # the last norm has none
    model["momentum/bn1.weight"] = np.ones_like(model["bn1.weight"])  # an optimizer's, never exported
    return model


def save(path, tensors, **meta):
    with open(path, "wb") as file:
        frames.write(file, tensors, **meta)


def make():
    r = np.random.default_rng(5)
    for name, (description, blocks, bottlenecks, shape) in MODELS.items():
        words = dict(word.split("=") for word in description.split())
        model = values(shapes(words, blocks, bottlenecks), r)
        save(f"{name}.st", model, kind="state", optimizer="lars", encoder=description,
             class_names=CLASSES)
        bytes_ = shape[2] == 3
        x = r.integers(0, 256, (2, 2, *shape), np.uint8) if bytes_ else r.random((2, 2, *shape), np.float32)
        save(f"{name}.x", {"x": x})
    make_bad()


def make_bad():
    model, meta = load("small.st")
    own = meta.pop("encoder")
    save("silent.st", model, **meta)
    save("silent.x", load("small.x")[0])
    save("other.st", model, encoder=own.replace("resnet18", "resnet34"), **meta)
    save("channels.st", load("five.st")[0], **meta, encoder=load("five.st")[1]["encoder"].replace("none", "imagenet"))
    save("sizeless.st", model, encoder=own.replace("size=16", "size=0"), **meta)
    save("headless.st", {n: v for n, v in model.items() if n.split(".")[0] in PARTS}, encoder=own, **meta)
    model["bn1.weight"] = np.full_like(model["bn1.weight"], 3e38)
    model["bn1.running_var"] = np.zeros_like(model["bn1.running_var"])
    save("large.st", model, encoder=own, **meta)


def images_of(path):
    """The input of the ONNX model: images (N,C,H,W) from 0 to 1, or series (N,C,T)."""
    x = load(path)[0]["x"]
    x = x.reshape(-1, *x.shape[2:])
    x = x / np.float32(255) if x.dtype == np.uint8 else x
    return np.moveaxis(x[:, 0] if x.shape[1] == 1 else x, -1, 1).astype(np.float32)


def agree(got, want):
    want = want.reshape(got.shape)
    off = np.abs(got - want).max() / np.abs(want).max()
    assert want.std() > 1e-3 * np.abs(want).max(), want.std()
    assert off < 1e-4, off


def same(path, x, *wanted):
    wanted = dict(w.split("=") for w in wanted)
    x = images_of(x)
    for file in path, path.replace(".onnx", ".fold.onnx"):
        graph = onnx_numpy.load(file)
        assert graph["ir_version"] == 8 and graph["opsets"] == [(b"", 17)], graph["opsets"]
        assert graph["producer"][0] == "simclr" and graph["producer"][1] != ""
        assert graph["metadata"]["encoder"].startswith("arch=resnet")
        assert graph["metadata"].get("class_names") == (CLASSES if "logits" in wanted else None)
        (name, shape), = graph["inputs"].items()
        assert name == ("series" if x.ndim == 3 else "images") and shape[0] == "N"
        norms = sum(node[0] == "BatchNormalization" for node in graph["nodes"])
        assert (norms == 0) == ("fold" in file), norms
        outputs = onnx_numpy.run(graph, x)
        assert list(outputs) == list(wanted), list(outputs)
        for name, of in wanted.items():
            agree(outputs[name], load(of)[0][{"features": "h", "projection": "z"}.get(name, name)])
            assert graph["outputs"][name] == ["N", outputs[name].shape[1]]


class Tensors(pickle.Unpickler):
    """Reads a state dictionary of PyTorch without PyTorch."""

    TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}

    def __init__(self, archive):
        super().__init__(archive.open("archive/data.pkl"))
        self.archive = archive

    def find_class(self, module, name):
        return {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self.rebuild,
            ("torch", "FloatStorage"): "FloatStorage",
            ("torch", "LongStorage"): "LongStorage",
        }[module, name]

    def persistent_load(self, identity):
        kind, storage, member, device, count = identity
        assert (kind, device) == ("storage", "cpu")
        values = np.frombuffer(self.archive.read(f"archive/data/{member}"), self.TYPES[storage])
        assert len(values) == count
        return values

    @staticmethod
    def rebuild(storage, offset, shape, strides, requires_grad, hooks):
        assert not requires_grad and not hooks and offset == 0
        array = storage.reshape(shape)
        assert array.strides == tuple(s * array.itemsize for s in strides) or array.size <= 1
        return array


def tensors(*files):
    for file in files:
        same_tensors(*file.split(","))


def same_tensors(path, model, *parts):
    own, meta = load(model)
    own = {n: v for n, v in own.items() if n.split(".")[0] in PARTS + parts}
    if path.endswith(".pth"):
        archive = zipfile.ZipFile(path)
        assert archive.testzip() is None
        assert archive.read("archive/version") == b"3\n"
        assert archive.read("archive/byteorder") == b"little"
        assert all(i.compress_type == zipfile.ZIP_STORED for i in archive.infolist())
        found = Tensors(archive).load()
    else:
        found, metadata = load(path)
        assert metadata["format"] == "pt" and metadata["encoder"] == meta["encoder"], metadata
        assert metadata.get("class_names") == (CLASSES if "fc" in parts else None), metadata
    assert sorted(found) == sorted(own), set(found) ^ set(own)
    for name, value in own.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape, name
        assert found[name].tobytes() == value.tobytes(), name


if __name__ == "__main__":
    {"make": make, "same": same, "tensors": tensors}[sys.argv[2]](*sys.argv[3:])
