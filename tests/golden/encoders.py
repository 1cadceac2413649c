"""Writes tests/golden/encoders.safetensors: what encoders of every depth and width consist of, by
torchvision's ResNets and by sk_resnet.py. Modules are made on PyTorch's "meta" device, which has
shapes but no values, so the largest takes no memory. For each: CRC-32 of its state's names and
shapes as sorted lines NAME:D,D,..., the number of these lines, the number of learned values, and
of multiplications of one image of 224 x 224 with the ImageNet stem."""
import os, sys, zlib
import numpy as np, torch, torch.nn as nn, torchvision
from torchvision.models.resnet import BasicBlock, Bottleneck

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import frames, sk_resnet

def on_meta(kind):
    def __init__(self, *args, **kw):
        super(made, self).__init__(*args, **{**kw, "device": "meta"})
    made = type(kind.__name__, (kind,), {"__init__": __init__})
    return made

def plain(depth, base):
    """torchvision's ResNet with `base` channels behind the stem."""
    blocks = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}
    kinds = nn.Conv2d, nn.BatchNorm2d, nn.Linear
    nn.Conv2d, nn.BatchNorm2d, nn.Linear = map(on_meta, kinds)
    try:
        m = torchvision.models.ResNet(BasicBlock if depth < 50 else Bottleneck, [1, 1, 1, 1])
        m.inplanes = base
        m.conv1, m.bn1 = nn.Conv2d(3, base, 7, 2, 3, bias=False), nn.BatchNorm2d(base)
        for i, n in enumerate(blocks[depth]):
            setattr(m, f"layer{i + 1}", m._make_layer(BasicBlock if depth < 50 else Bottleneck,
                                                      base << i, n, stride=2 if i else 1))
    finally:
        nn.Conv2d, nn.BatchNorm2d, nn.Linear = kinds
    m.fc = nn.Identity()
    return m

def describe(m):
    lines = sorted(f"{name}:{','.join(map(str, v.shape))}\n" for name, v in m.state_dict().items())
    learned = sum(p.numel() for p in m.parameters())
    products = []
    for part in m.modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(
                lambda c, x, y: products.append(y.numel() * c.weight[0].numel()))
    m.eval()(torch.empty(1, 3, 224, 224, device="meta"))
    return np.array([zlib.crc32("".join(lines).encode()), len(lines), learned, sum(products)], np.int64)

def main():
    found = {}
    for width in (1, 2, 4):
        for depth in (18, 34, 50, 101, 152):
            found[f"resnet{depth}/{width}"] = describe(plain(depth, 64 * width))
    for depth, width in ((50, 1), (50, 2), (101, 1), (101, 2), (152, 1), (152, 2), (152, 3)):
        m = sk_resnet.SkResNet(depth, "imagenet", 64 * width, device="meta")
        found[f"resnet{depth}/{width}/sk"] = describe(m)
    for name, v in found.items():
        print(f"{name:16} {v[1]:5d} tensors {v[2] / 1e6:8.2f} M parameters {v[3] / 1e9:8.2f} G products")
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "encoders.safetensors")
    with open(path, "wb") as f:
        frames.write(f, found)

if __name__ == "__main__":
    main()
