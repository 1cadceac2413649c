"""Models of full width with random values and the tests' inputs, and comparisons for
tests/full/export_readers.sh.

    export_readers.py ROOT make                      NAME.st, NAME-SIZE.x and images-SIZE.raw (float32 N,C,H,W)
    export_readers.py ROOT agree NAME-SIZE.h RAW...  features of images 0 to n - 1 in each file, float32
    export_readers.py ROOT torch NAME.pth SIZE       torchvision's network with these weights computes NAME-SIZE.h,
                                                     or the logits of these features if the file has a classifier
"""
import sys

sys.path.insert(0, sys.argv[1] + "/tests/programs")
import numpy as np

import export_model as quick

SIZES = 64, 97
MODELS = {
    "resnet18": ("arch=resnet18 width=1 stem=imagenet normalize=imagenet sk=0 size=64", (2, 2, 2, 2), False),
    "resnet50": ("arch=resnet50 width=1 stem=imagenet normalize=none sk=0 size=64", (3, 4, 6, 3), True),
    "sk": ("arch=resnet50 width=1 stem=imagenet normalize=none sk=1 size=64", (3, 4, 6, 3), True),
}
IMAGES = 4


def make():
    r = np.random.default_rng(8)
    for size in SIZES:
        x = r.integers(0, 256, (2, 2, size, size, 3), np.uint8)
        quick.save(f"images-{size}.x", {"x": x})
        quick.images_of(f"images-{size}.x").tofile(f"images-{size}.raw")
    for name, (description, blocks, bottlenecks) in MODELS.items():
        words = dict(word.split("=") for word in description.split())
        model = quick.values(quick.shapes(words, blocks, bottlenecks), r)
        quick.save(f"{name}.st", model, kind="model", optimizer="lars", encoder=description)


def agree(path, *raws):
    (want,) = quick.load(path)[0].values()
    want = want.reshape(IMAGES, -1)
    for raw in raws:
        got = np.fromfile(raw, np.float32).reshape(-1, want.shape[1])
        quick.agree(got, want[:len(got)])


def with_torch(path, size):
    import torch
    import torchvision

    name = path.split(".")[0]
    state = torch.load(path, weights_only=True)
    assert type(state).__name__ == "OrderedDict"
    network = getattr(torchvision.models, name)(num_classes=3)
    if "fc.weight" not in state:
        network.fc = torch.nn.Identity()
    network.load_state_dict(state, strict=True)
    x = torch.from_numpy(quick.images_of(f"images-{size}.x"))
    if MODELS[name][0].split()[3] == "normalize=imagenet":
        x = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        network.eval()(x).numpy().tofile(f"{name}-torch.raw")
    if "fc.weight" not in state:
        return agree(f"{name}-{size}.h", f"{name}-torch.raw")
    model, (features,) = quick.load(f"{name}.st")[0], quick.load(f"{name}-{size}.h")[0].values()
    logits = features.reshape(IMAGES, -1) @ model["fc.weight"].T + model["fc.bias"]
    quick.agree(np.fromfile(f"{name}-torch.raw", np.float32).reshape(logits.shape), logits)


if __name__ == "__main__":
    {"make": make, "agree": agree, "torch": with_torch}[sys.argv[2]](*sys.argv[3:])
