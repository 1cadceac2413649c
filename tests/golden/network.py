#!/usr/bin/python3
"""Writes tests/golden/network/*.safetensors: what PyTorch computes for single operations, blocks,
projection heads and whole ResNets, in float64, for tests/unit/test_network.c to compare with.

  tests/golden/network.py [CASE...]        (Debian's python3-torch and python3-torchvision)

What goes in is fill(name, n), a hash of the name and the position that the C test computes as
well, and is not stored (biases before a ReLU excepted, see below): weights, inputs and output
gradients. Of every tensor that comes out a file holds its L2 norm under "norm/NAME", and under
"NAME" all values, or 1024 (whole networks: 64) at positions i * 2654435761 mod count. Maps are NHWC.
Names: "out", "din", "grad/PARAMETER", and for batch norm's buffers after the step "after/BUFFER".

ReLUs have kinks, and a max pooling has ties: where rounding decides on which side a value falls,
two correct float32 implementations differ in their gradients by far more than rounding. A whole
network has millions of such places. So every bias of a batch norm before a ReLU is chosen here,
front to back: a channel's values are sorted, and the widest gap that has 20 to 50 % of them below
it (behind the stem 60 to 90 %) is moved to zero. This leaves a good share of inactive ReLUs in
every channel, and none that rounding could flip. The biases are stored under "value/PARAMETER".
Ties are avoided by trying seeds of the input. A case is written only if PyTorch's own float32
agrees with its float64 to LIMIT or SK_LIMIT in every tensor, and if on every map the smallest distance of a
value to its kink or tie is at least SAFETY times the largest difference that float32 makes."""
import os, sys, zlib
import numpy as np, torch, torch.nn as nn, torchvision
from torchvision.models.resnet import BasicBlock, Bottleneck

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import frames
from sk_resnet import MeanPool, SkBottleneck, SkResNet

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "network")
LIMIT = 1e-5
SK_LIMIT = 4e-5  # of whole networks whose norms of 1x1 maps divide by the deviation of few values
SAFETY = 8
TRIES = 50
INACTIVE = 0.2, 0.5
STEM = 0.6, 0.9  # were fewer inactive, hardly any zero would be left behind the pooling

def fill(name, n):
    """n numbers in [-1, 1), multiples of 2^-23."""
    h = (np.arange(n, dtype=np.uint64) * 0x9E3779B1 + zlib.crc32(name.encode())) & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = ((h ^ (h >> np.uint64(shift))) * factor) & 0xFFFFFFFF
    h ^= h >> np.uint64(16)
    return (h >> np.uint64(8)).astype(np.float64) / 2**23 - 1

def set_parameters(m):
    """Weights of variance 2 / fan-in; scales around 1, also where training starts them at 0, but
    around 1/2 at a bottleneck's end, where rounding then grows more slowly with depth; biases
    around 1.5, or around 0 behind the stem, until settle() chooses."""
    for name, v in m.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        u = fill(name, v.numel())
        if v.ndim > 1:
            u = u * np.sqrt(6 / (v.numel() // v.shape[0]))
        elif name.endswith("running_mean") or name == "bn1.bias":
            u = 0.25 * u
        elif name.endswith("bias"):
            u = 1.5 + 0.5 * u
        else:
            u = (0.5 if name.endswith("bn3.weight") else 1) * (1 + 0.25 * u)
        v.copy_(torch.from_numpy(u.astype(np.float32).reshape(v.shape)))

def nhwc(t):
    return t.permute(0, 2, 3, 1) if t.ndim == 4 else t.transpose(1, 2) if t.ndim == 3 else t

def input_of(m, shape, seed, dtype):
    n, h, w, c = shape
    x = torch.from_numpy(fill(f"input {seed}", n * h * w * c).reshape(n, h, w, c)).to(dtype)
    return (x.flatten(1) if isinstance(m, Head) else x.permute(0, 3, 1, 2)).contiguous()

def settle(make, shape, seed, train):
    """The biases before ReLUs that keep all values away from zero: {parameter: float32 values}."""
    m = make().eval()
    set_parameters(m)
    m = m.double().train(train)
    last, chosen = [], {}

    def after_norm(name):
        def hook(norm, args, out):
            if norm.bias is not None and "downsample" not in name:
                last[:] = [(name, norm.bias)]
        return hook

    def before_relu(relu, args):
        (name, bias), v = last[0], args[0]
        values = v.transpose(0, 1).flatten(1).sort(1).values
        low, high = (int(values.shape[1] * share) for share in (STEM if name == "bn1" else INACTIVE))
        gaps = values[:, low:high].diff(dim=1)
        at = gaps.argmax(1, keepdim=True) + low
        middle = (values.gather(1, at) + values.gather(1, at + 1)).flatten() / 2
        moved = (bias - middle).float()
        chosen[name + ".bias"] = moved.numpy()
        return v + (moved.double() - bias).reshape((1, -1) + (1,) * (v.ndim - 2))

    for name, part in m.named_modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.register_forward_hook(after_norm(name))
        elif isinstance(part, nn.ReLU):
            part.register_forward_pre_hook(before_relu)
    with torch.no_grad():
        m(input_of(m, shape, seed, torch.float64))
    return chosen

def run(make, shape, seed, train, dtype, biases):
    """Returns the tensors that come out, and the values that kinks and ties decide on: a list of
    (what, values), where zero is the kink or tie."""
    m = make().eval()
    set_parameters(m)
    for name, v in biases.items():
        m.state_dict()[name].copy_(torch.from_numpy(v))
    m = m.to(dtype).train(train)
    critical = []

    def before_relu(relu, args):
        critical.append(("relu", args[0].detach().double().numpy().copy()))

    def before_pool(pool, args):
        # How far each window's largest value leads. Windows of zeros pass their gradient on to
        # ReLUs that drop it.
        v = args[0].detach().double()
        v = v if v.ndim == 4 else v[:, :, None]
        padded = nn.functional.pad(v.flatten(0, 1)[:, None], (1, 1, 1, 1), value=-np.inf)
        windows = padded.unfold(2, 3, 2).unfold(3, 3, 2).flatten(4)
        top = windows.topk(2).values
        lead = torch.where(top[..., 0] == 0, top[..., 0].max(), top[..., 0] - top[..., 1])
        critical.append(("tie", lead.numpy()))

    for part in m.modules():
        if isinstance(part, nn.ReLU):
            part.register_forward_pre_hook(before_relu)
        elif isinstance(part, (nn.MaxPool1d, nn.MaxPool2d)):
            part.register_forward_pre_hook(before_pool)
    x = input_of(m, shape, seed, dtype).requires_grad_(True)
    out = m(x)
    flat = nhwc(out)
    d = torch.from_numpy(fill("dout", flat.numel()).reshape(flat.shape)).to(dtype)
    result = {"out": flat}
    if train:
        flat.backward(d)
        result["din"] = nhwc(x.grad)
        for name, p in m.named_parameters():
            if p.requires_grad:
                result["grad/" + name] = p.grad
        for name, b in m.named_buffers():
            if not name.endswith("num_batches_tracked"):
                result["after/" + name] = b
    return {k: v.detach().double().contiguous().numpy().ravel() for k, v in result.items()}, critical

class Head(nn.Module):
    """1 to 3 layers of Linear and BatchNorm1d, ReLU between them, the last without a bias."""
    def __init__(self, layers, width, hidden, out):
        super().__init__()
        parts = []
        for l in range(layers):
            last = l == layers - 1
            parts += [nn.Linear(width, out if last else hidden, bias=False),
                      nn.BatchNorm1d(out if last else hidden)] + ([] if last else [nn.ReLU()])
            width = hidden
        parts[-1].bias = None
        self.projector = nn.Sequential(*parts)
    def forward(self, x):
        return self.projector(x)

def named(**parts):
    m = nn.Sequential()
    for name, part in parts.items():
        m.add_module(name, part)
    return m

def conv(i, o, kernel, stride):
    return lambda: named(conv1=nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False))

def norm(c, relu):
    return lambda: named(bn1=nn.BatchNorm2d(c), **({"relu": nn.ReLU()} if relu else {}))

def block(kind, i, planes, stride):
    def make():
        o = planes * kind.expansion
        down = None if stride == 1 and i == o else nn.Sequential(
            nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))
        return named(block=kind(i, planes, stride, down))
    return make

def sk_block(i, planes, stride, projected):
    return lambda: named(block=SkBottleneck(i, planes, stride, projected))

def resnet(depth, stem, base=64):
    """torchvision's ResNet with `base` channels in its first stage."""
    def make():
        m = getattr(torchvision.models, f"resnet{depth}")()
        if base != 64:
            m.inplanes = base
            m.conv1, m.bn1 = nn.Conv2d(3, base, 7, 2, 3, bias=False), nn.BatchNorm2d(base)
            for i in range(4):
                old = getattr(m, f"layer{i + 1}")
                new = m._make_layer(type(old[0]), base << i, len(old), stride=2 if i else 1)
                setattr(m, f"layer{i + 1}", new)
        if stem == "cifar":
            m.conv1, m.maxpool = nn.Conv2d(3, base, 3, 1, 1, bias=False), nn.Identity()
        m.fc = nn.Identity()
        return m
    return make

class Series(nn.Module):
    """A network of Conv1d for maps of one row, H = 1."""
    def __init__(self, m):
        super().__init__()
        self.m = m
    def forward(self, x):
        return self.m(x[:, :, 0])
    def named_modules(self, *args, **kwargs):
        return self.m.named_modules(*args, **kwargs)
    def state_dict(self, *args, **kwargs):
        return self.m.state_dict(*args, **kwargs)
    def named_parameters(self, *args, **kwargs):
        return self.m.named_parameters(*args, **kwargs)
    def named_buffers(self, *args, **kwargs):
        return self.m.named_buffers(*args, **kwargs)

class SeriesBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(i, o, 3, stride, 1, bias=False), nn.BatchNorm1d(o)
        self.conv2, self.bn2 = nn.Conv1d(o, o, 3, 1, 1, bias=False), nn.BatchNorm1d(o)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.downsample = None if stride == 1 and i == o else nn.Sequential(
            nn.Conv1d(i, o, 1, stride, bias=False), nn.BatchNorm1d(o))
    def forward(self, x):
        y = self.relu1(self.bn1(self.conv1(x)))
        side = x if self.downsample is None else self.downsample(x)
        return self.relu2(self.bn2(self.conv2(y)) + side)

def series_conv(i, o, kernel, stride):
    return lambda: Series(named(conv1=nn.Conv1d(i, o, kernel, stride, kernel // 2, bias=False)))

def series_resnet18(stem, channels, base):
    def make():
        parts = {"conv1": nn.Conv1d(channels, base, *((3, 1, 1) if stem == "cifar" else (7, 2, 3)), bias=False),
                 "bn1": nn.BatchNorm1d(base), "relu": nn.ReLU()}
        if stem == "imagenet":
            parts["maxpool"] = nn.MaxPool1d(3, 2, 1)
        for i in range(4):
            first = SeriesBlock(base << max(i - 1, 0), base << i, 2 if i else 1)
            parts[f"layer{i + 1}"] = nn.Sequential(first, SeriesBlock(base << i, base << i, 1))
        return Series(named(**parts, avgpool=nn.AdaptiveAvgPool1d(1), flat=nn.Flatten()))
    return make

# name: module, (images, H, W, C), training
CASES = {
    "conv3x3s1": (conv(8, 12, 3, 1), (4, 7, 6, 8), True),
    "conv3x3s2": (conv(8, 12, 3, 2), (4, 7, 6, 8), True),
    "conv1x1s1": (conv(8, 12, 1, 1), (4, 7, 6, 8), True),
    "conv1x1s2": (conv(8, 12, 1, 2), (4, 7, 6, 8), True),
    "conv7x7s2": (conv(3, 16, 7, 2), (4, 13, 12, 3), True),
    "norm": (norm(8, False), (8, 5, 4, 8), True),
    "norm_relu": (norm(8, True), (8, 5, 4, 8), True),
    "norm_eval": (norm(8, True), (8, 5, 4, 8), False),
    "max_pool": (lambda: named(pool=nn.MaxPool2d(3, 2, 1)), (4, 7, 6, 8), True),
    "average_pool": (lambda: named(pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten()), (4, 7, 6, 8), True),
    "basic": (block(BasicBlock, 8, 8, 1), (8, 6, 6, 8), True),
    "basic_down": (block(BasicBlock, 8, 16, 2), (8, 7, 6, 8), True),
    "bottleneck": (block(Bottleneck, 32, 8, 1), (8, 6, 6, 32), True),
    "bottleneck_down": (block(Bottleneck, 8, 8, 2), (8, 7, 6, 8), True),
    "mean_pool1": (lambda: named(pool=MeanPool(1)), (4, 7, 6, 8), True),
    "mean_pool2": (lambda: named(pool=MeanPool(2)), (4, 7, 6, 8), True),
    "sk_bottleneck": (sk_block(32, 8, 1, False), (16, 6, 6, 32), True),
    "sk_bottleneck_first": (sk_block(8, 8, 1, True), (16, 6, 6, 8), True),
    "sk_bottleneck_down": (sk_block(8, 8, 2, True), (16, 7, 6, 8), True),
    "head1": (lambda: Head(1, 32, 0, 16), (16, 1, 1, 32), True),
    "head2": (lambda: Head(2, 32, 24, 16), (16, 1, 1, 32), True),
    "head3": (lambda: Head(3, 32, 24, 16), (16, 1, 1, 32), True),
    "resnet18_cifar": (resnet(18, "cifar"), (8, 8, 8, 3), True),
    "resnet18_imagenet": (resnet(18, "imagenet"), (8, 32, 32, 3), True),
    "resnet50_cifar": (resnet(50, "cifar"), (8, 16, 16, 3), True),
    "resnet50_imagenet": (resnet(50, "imagenet"), (8, 64, 64, 3), True),
    "resnet50_cifar_narrow": (resnet(50, "cifar", 16), (8, 16, 16, 3), True),
    "series_conv3s1": (series_conv(8, 12, 3, 1), (4, 1, 13, 8), True),
    "series_conv3s2": (series_conv(8, 12, 3, 2), (4, 1, 13, 8), True),
    "series_conv7s2": (series_conv(2, 16, 7, 2), (4, 1, 30, 2), True),
    "series_resnet18_cifar": (series_resnet18("cifar", 2, 16), (8, 1, 33, 2), True),
    "series_resnet18_imagenet": (series_resnet18("imagenet", 1, 16), (8, 1, 150, 1), True),
    "resnet50_imagenet_narrow": (resnet(50, "imagenet", 16), (8, 64, 64, 3), True),
    "resnet50_sk_cifar_narrow": (lambda: SkResNet(50, "cifar", 16), (8, 16, 16, 3), True),
    "resnet50_sk_imagenet_narrow": (lambda: SkResNet(50, "imagenet", 16), (8, 64, 64, 3), True),
}

def distance(a, b):
    return max(np.linalg.norm(a[k] - b[k]) / (np.linalg.norm(b[k]) + 1e-30) for k in b)

def soundness(got, want):
    """Of two runs' critical values: how many times the difference between the two goes into the
    distance to the next kink or tie, on the map where it does least often; the smallest distance,
    relative to its map's root mean square; the share of ReLUs that are inactive; and the number
    that the two runs see on different sides."""
    safety, margin, inactive, total, flips = np.inf, np.inf, 0, 0, 0
    for (what, a), (_, b) in zip(got, want):
        near, scale = np.abs(b).min(), np.sqrt(np.mean(b**2))
        safety = min(safety, near / max(np.abs(a - b).max(), scale * 2**-24))
        margin = min(margin, near / scale)
        if what == "relu":
            inactive += (b <= 0).sum()
            total += b.size
            flips += ((a > 0) != (b > 0)).sum()
    return safety, margin, inactive / max(total, 1), flips

def main():
    torch.set_num_threads(2)
    os.makedirs(FOLDER, exist_ok=True)
    for case in sys.argv[1:] or CASES:
        make, shape, train = CASES[case]
        for seed in range(TRIES):
            biases = settle(make, shape, seed, train)
            want, exact = run(make, shape, seed, train, torch.float64, biases)
            got, rounded = run(make, shape, seed, train, torch.float32, biases)
            off = distance(got, want)
            safety, margin, inactive, flips = soundness(rounded, exact)
            print(f"{case}: seed {seed}, float32 differs by {off:.1e}; kinks are {margin:.1e} away, "
                  f"{safety:.0f} times float32's difference; {100 * inactive:.0f} % of ReLUs are inactive, "
                  f"{flips} flip", flush=True)
            if off < (SK_LIMIT if "_sk_" in case else LIMIT) and safety > SAFETY:
                break
        else:
            sys.exit(f"{case}: no seed is sound")
        tensors = {"value/" + name: v for name, v in biases.items()}
        for name, v in want.items():
            samples = min(len(v), 64 if "resnet" in case else 1024)
            at = np.arange(samples) if samples == len(v) else np.arange(samples) * 2654435761 % len(v)
            tensors[name] = v[at].astype(np.float32)
            tensors["norm/" + name] = np.array([np.linalg.norm(v)], np.float32)
        with open(os.path.join(FOLDER, case + ".safetensors"), "wb") as f:
            frames.write(f, tensors, seed=seed)

if __name__ == "__main__":
    main()
