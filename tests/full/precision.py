"""Gradients and features of a whole ResNet-18, here and in PyTorch, for precision.sh.

    precision.py ROOT make SEED...      for views.SEED: initial weights init.SEED, the features'
                                        gradient dh.SEED, and the runs autocast and float64
    precision.py ROOT bf16|fp32x3|fp32 RUN SEED...
                                        fails unless gradients.RUN.SEED and features.RUN.SEED are
                                        as close as that precision's should be
    precision.py ROOT table RUN,... SEED...
                                        prints the cosines by layer

All are compared with PyTorch's float64. The error of a gradient is 1 - cosine. Most of it comes
from ReLUs that rounding flips. Their number grows with the size of the roundings, and so does
1 - cosine, in which an error is squared.

Which ReLUs flip depends on chance. A gradient's error has about as many independent parts as the layer has
channels, C, so the logarithm of the ratio of two errors' squares has a standard deviation of
2 / sqrt(C): 0.25, 0.18, 0.13, 0.09 for 64, 128, 256, 512 channels. Measured over 13 seeds it is 0.20,
0.14, 0.10, 0.07 for norms, 0.21 to 0.25 for the stem's layers, 0.08 to 0.02 for other convolutions."""

import os
import sys

import numpy as np

root, action, *words = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402

# A bound in standard deviations, which chance exceeds in none of 60 layers.
BEYOND = 4
# A bound for the median over layers, relative to 1 - cosine. Measured over 13 seeds of 32 views, ours
# is 0.02 below PyTorch's, with a standard deviation of 0.02 from seed to seed. The mean of three seeds
# is four of its standard deviations below this bound.
MEDIAN = 0.03
# Rounding to nearest does not shorten gradients. Rounding towards zero does, which no cosine shows.
# The logarithm of our length over float64's, averaged over convolutions, has a standard deviation of
# 0.007 from seed to seed around 0, so BEYOND standard deviations are this much for three seeds.
LENGTH = 0.016
# The relative errors of gradients and of features between two float32 computations.
GRADIENT_FP32, FEATURE_FP32 = 2e-2, 1e-5


def load(path):
    """Returns all tensors of a stream, without those that a stage sends to join."""
    with open(path, "rb") as file:
        parts = [tensors for tensors, meta in frames.read_all(file) if meta.get("kind") != "join"]
    return {name: value.astype(np.float64) for part in parts for name, value in part.items()}


def save(path, tensors):
    with open(path, "wb") as file:
        frames.write(file, tensors)


# ---- PyTorch ----


def make(*seeds):
    import torch

    torch.set_num_threads(os.cpu_count())
    for seed in seeds:
        torch.manual_seed(int(seed))
        network = resnet()
        x = torch.from_numpy(load("views." + seed)["x"]).float().div(255)
        x = x.flatten(0, 1).permute(0, 3, 1, 2)
        dh = torch.randn(len(x), 512)
        save("init." + seed, {k: v.numpy() for k, v in network.state_dict().items()})
        with open("dh." + seed, "wb") as file:  # the answer to a first request
            frames.write(file, {"dh": dh.reshape(-1, 2, 512).numpy()}, seq=0)
            frames.write_end(file)
        network.to(memory_format=torch.channels_last)
        step("autocast." + seed, network, x, dh)
        step("float64." + seed, network.double(), x.double(), dh.double())


def resnet():
    """Returns the network of --stem cifar. The last norms of its blocks have weights of 1, not 0."""
    import torch
    import torchvision

    network = torchvision.models.resnet18()
    network.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = network.fc = torch.nn.Identity()
    return network.train()


def step(run, network, x, dh):
    import torch

    network.zero_grad()
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=run.startswith("autocast")):
        h = network(x)
    h = h.to(dh.dtype)
    h.backward(dh)
    save("features." + run, {"h": h.detach().float().numpy()})
    save("gradients." + run, {k: p.grad.float().numpy() for k, p in network.named_parameters()})


# ---- comparing ----


class Errors:
    """The errors of a run. For gradients these are arrays (seeds, layers): 1 - cosine, relative error,
    and the logarithm of the length over float64's. For features, (seeds), it is the relative error."""

    def __init__(self, run, seeds):
        cosines, gradients, lengths, features = [], [], [], []
        for seed in seeds:
            want, got = load("gradients.float64." + seed), load(f"gradients.{run}.{seed}")
            self.layers, self.channels = list(want), np.array([len(v) for v in want.values()])
            self.convolutions = np.array([v.ndim == 4 for v in want.values()])
            cosines.append([1 - cosine(got[name], want[name]) for name in want])
            lengths.append([np.log(norm(got[name]) / norm(want[name])) for name in want])
            gradients.append([relative(got[name], want[name]) for name in want])
            h = load(f"features.{run}.{seed}")["h"], load("features.float64." + seed)["h"]
            features.append(relative(*h))
        self.one_minus_cosine, self.gradients = np.array(cosines), np.array(gradients)
        self.lengths, self.features = np.array(lengths), np.array(features)

    def __str__(self):
        layer = self.one_minus_cosine.mean(axis=0)
        return (
            f"1 - cosine: median {np.median(layer):.2e}, most {layer.max():.2e} "
            f"({self.layers[layer.argmax()]}); features off by {self.features.mean():.2e}"
        )


def norm(a):
    return np.linalg.norm(a.ravel())


def cosine(a, b):
    return np.vdot(a, b) / (norm(a) * norm(b))


def relative(a, b):
    return norm(a - b.reshape(a.shape)) / norm(b)


def bf16(run, *seeds):
    """Gradients must be at least as close as those of PyTorch's autocast (the median over layers and
    every layer), and have the right length. Features must be at least as close."""
    ours, theirs = Errors(run, seeds), Errors("autocast", seeds)
    worse = np.log(ours.one_minus_cosine / theirs.one_minus_cosine).mean(axis=0)
    allowed = BEYOND * np.sqrt(4 / ours.channels / len(seeds))
    print(f"{run}: {ours}\nautocast: {theirs}")
    length = ours.lengths[:, ours.convolutions].mean()
    ratio = np.exp(np.median(worse))
    print(f"1 - cosine over autocast's: median {ratio:.3f}; logarithm of the length: {length:.4f}")
    for i in np.flatnonzero(worse > allowed):
        print(f"{ours.layers[i]}: {np.exp(worse[i]):.3f}, chance makes {np.exp(allowed[i]):.3f}")
    assert np.median(worse) < MEDIAN
    assert (worse < allowed).all()
    assert ours.features.mean() < theirs.features.mean()
    assert abs(length) < LENGTH


def fp32x3(run, *seeds):
    """Products have 16 bits instead of 8, so the median and the largest error of all layers must be
    2^8 times smaller than those of PyTorch's autocast. In the last layers so few ReLUs flip that a
    single layer may have a larger error: with one of 11 seeds, some in layer4 were 1.5 times that."""
    ours, theirs = Errors(run, seeds), Errors("autocast", seeds)
    print(f"{run}: {ours}\nautocast: {theirs}")
    for of in np.median, np.max:
        assert of(ours.one_minus_cosine) < of(theirs.one_minus_cosine) / 2**8
    assert ours.features.mean() < theirs.features.mean() / 2**8


def fp32(run, *seeds):
    """Errors must be at most those between two correct float32 computations."""
    ours = Errors(run, seeds)
    print(f"{run}: {ours}; gradients off by at most {ours.gradients.max():.2e}")
    assert (ours.gradients < GRADIENT_FP32).all()
    assert (ours.features < FEATURE_FP32).all()


def table(runs, *seeds):
    """Prints means over the seeds that were run."""
    errors = {run: Errors(run, [s for s in seeds if os.path.exists(f"gradients.{run}.{s}")])
              for run in runs.split(",")}
    print("layer", *errors, sep="\t")
    for i, name in enumerate(errors["autocast"].layers):
        cosines = (1 - e.one_minus_cosine[:, i].mean() for e in errors.values())
        print(name, *(f"{c:.6f}" for c in cosines), sep="\t")
    for run, e in errors.items():
        print(f"{run}: {e}; gradients off by {np.median(e.gradients):.2e} (median)")


globals()[action](*words)
