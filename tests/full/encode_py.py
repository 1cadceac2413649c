"""Helpers of encode_py.sh: examples/encode.py against PyTorch itself.

    encode_py.py ROOT steps               checks three steps of ResNet-18 by encode.py and encode against float64
    encode_py.py ROOT features A B        two streams of features agree
    encode_py.py ROOT loads MODEL         the model loads into torchvision's ResNet-18
    encode_py.py ROOT changes INIT A B    two models have moved alike from INIT
    encode_py.py ROOT frozen BEFORE AFTER the patches of the transformer are the same, and the rest is not
    encode_py.py ROOT targets WHOLE RESUMED STATE
                                          what a run with --ema sent, and the slow copies that it ended with
    encode_py.py ROOT refusals            what encode.py says of modules and files that do not fit
    encode_py.py ROOT wires REQUESTS      what the buckets of a run with --wire bf16 hold"""

import math
import sys

import numpy as np
import torch
import torchvision

root, action, *words = sys.argv[1:]
sys.path[:1] = [root + "/examples", root + "/tests"]  # not this folder, whose names may hide those of Python
sys.dont_write_bytecode = True
import frames  # noqa: E402
import simclr_stage as stage  # noqa: E402

# In some orders of the images in the batch, which change nothing but rounding, the first gradient of PyTorch's own
# float32 is 3e-3 off, and in others 2e-5. A likely cause, not traced: rounding moves an input of a ReLU across zero, and
# one unit of the last stage weighs about 1 / sqrt(16 x 512 x 16) = 3e-3. Rates carry that into later losses: at 0.1, the
# third loss of PyTorch's own float32 differs from float64's by 3e-5 to 5e-3, and at 0.01 by 1e-6 to 3e-4. At 0.001 it is
# less than 1e-5, and the change of the weights differs by 4e-3 to 9e-3. So these steps are small, and PyTorch's own error
# is the largest in ORDERS orders.
STEPS, RATE, ORDERS = 3, 0.001, 6
torch.set_num_threads(1)  # threads would wait for each other beside other tests


def tensors_of(path):
    with open(path, "rb") as file:
        return frames.read(file)[0]


def resnet18(weights, dtype):
    network = torchvision.models.resnet18()
    network.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool, network.fc = torch.nn.Identity(), torch.nn.Identity()
    missing, unexpected = network.load_state_dict({k: torch.tensor(v) for k, v in weights.items()}, strict=False)
    assert not missing and all(name.startswith("projector.") for name in unexpected), (missing, unexpected)
    return network.to(dtype)


def head(weights, dtype):
    first, last = weights["projector.0.weight"], weights["projector.3.weight"]
    layers = torch.nn.Sequential(torch.nn.Linear(*first.shape[::-1], bias=False), torch.nn.BatchNorm1d(first.shape[0]),
                                 torch.nn.ReLU(), torch.nn.Linear(*last.shape[::-1], bias=False), torch.nn.BatchNorm1d(last.shape[0]))
    layers.load_state_dict({k[len("projector."):]: torch.tensor(v) for k, v in weights.items()}, strict=False)
    layers[4].bias.requires_grad_(False)
    return layers.to(dtype)


def nt_xent(z, temperature=0.5):
    u = torch.nn.functional.normalize(z, dim=1)
    s = (u @ u.T / temperature).masked_fill(torch.eye(len(u), dtype=torch.bool), -math.inf)
    return torch.nn.functional.cross_entropy(s, torch.arange(len(u)) ^ 1)


def by_torch(dtype, seed=0):
    """Returns the losses and the weights of these steps by PyTorch alone, in this precision. Seeds other than 0 put the
    images of each batch into another order, which changes nothing but the rounding."""
    network, layers, losses = resnet18(tensors_of("init.st"), dtype), head(tensors_of("head.st"), dtype), []
    parameters = [p for p in [*network.parameters(), *layers.parameters()] if p.requires_grad]
    with open("views.st", "rb") as file:
        for tensors, _ in frames.read_all(file):
            order = np.random.default_rng(seed).permutation(len(tensors["x"])) if seed else slice(None)
            x = torch.tensor(tensors["x"][order]).flatten(0, 1).permute(0, 3, 1, 2).to(dtype) / 255
            loss = nt_xent(layers(network(x)))
            losses.append(loss.item())
            for p, g in zip(parameters, torch.autograd.grad(loss, parameters)):
                p.data -= RATE * g
    assert len(losses) == STEPS
    return losses, {name: v.double().numpy() for name, v in network.state_dict().items()}


def change(before, after):
    names = [name for name in before if name in after and not stage.is_buffer(name) and "projector" not in name]
    return np.concatenate([(after[name].astype("f8") - before[name].astype("f8")).ravel() for name in names])


def steps():
    before = tensors_of("init.st")
    exact, weights = by_torch(torch.float64)
    want = change(before, weights)

    def error(after):
        return np.linalg.norm(change(before, after) - want) / np.linalg.norm(want)

    def drift(after):  # of batch norm's statistics, which the optimizer only keeps
        return max(np.abs(after[key] - v).max() / max(1.0, np.abs(v).max()) for key, v in weights.items() if stage.is_buffer(key))

    plain = [by_torch(torch.float32, seed)[1] for seed in range(ORDERS)]
    most, most_drift = max(map(error, plain)), max(map(drift, plain))
    assert exact[0] - exact[-1] > 0.01, exact  # the steps change the loss by far more than the bound
    for name in ("python", "c"):
        with open(f"metrics-{name}.st", "rb") as file:
            losses = [float(meta["loss"]) for _, meta in frames.read_all(file)]
        assert len(losses) == STEPS and np.abs(np.subtract(losses, exact)).max() < 1e-4, (name, losses, exact)
        after = tensors_of(f"model-{name}.st")
        print(f"{name}: relative error of the change {error(after):.2e}, PyTorch's own {most:.2e}; "
              f"of the statistics {drift(after):.2e}, {most_drift:.2e}")
        assert error(after) < 1.5 * most and drift(after) < 1.5 * most_drift


def features(a, b):
    with open(a, "rb") as one, open(b, "rb") as other:
        for (x, _), (y, _) in zip(frames.read_all(one), frames.read_all(other), strict=True):
            assert list(x) == list(y), (list(x), list(y))
            far = np.abs(x["h"] - y["h"]).max() / np.abs(x["h"]).max()
            assert x["h"].shape == y["h"].shape and far < 1e-5, far
            assert all(np.array_equal(x[name], y[name]) for name in x if name != "h")


def loads(model):
    resnet18(tensors_of(model), torch.float32)


def changes(init, a, b):
    before, one, other = map(tensors_of, (init, a, b))
    assert list(one) == list(other)
    x, y = change(before, one), change(before, other)
    far = np.linalg.norm(x - y) / np.linalg.norm(x)
    print(f"relative difference of the change {far:.2e}")
    # Both sum the same products in float32, in another order: for each sum of n terms about sqrt(n) roundings of 6e-8.
    assert 0 < far < 1e-4, far


def targets(whole, resumed, state):
    def sent(path):
        with open(path, "rb") as file:
            return [tensors for tensors, _ in frames.read_all(file)]

    steps, last = sent(whole), sent(resumed)
    assert len(steps) == 3 and len(last) == 1
    assert np.array_equal(steps[0]["h_target"], steps[0]["h"])  # the copy starts as the parameters
    assert not np.array_equal(steps[1]["h_target"], steps[1]["h"])
    for name in ("h", "h_target"):  # the optimizer's copy, and the stage's own after two steps
        assert np.array_equal(steps[2][name], last[0][name]), name
    kept = tensors_of(state)
    names = [name for name in kept if "/" not in name and not stage.is_buffer(name)]
    assert all(("ema/" + name in kept) != name.startswith("predictor.") for name in names)
    assert not any("ema/" + name in kept for name in kept if stage.is_buffer(name))


def frozen(before, after):
    a, b = tensors_of(before), tensors_of(after)
    for name in a:
        assert np.array_equal(a[name], b[name]) == name.startswith("patches."), name


def wires(requests):
    """The gradients of weights are BF16, and everything else is as it was."""
    with open(requests, "rb") as file:
        sent = [frame for frame in iter(lambda: stage.read_frame(file), None) if not frame.is_end]
    assert [frame.meta["kind"] for frame in sent][:2] == ["join", "gradients"]
    for frame in sent:
        for name, a in frame.tensors.items():
            narrow = frame.meta["kind"] == "gradients" and a.ndim > 1
            assert a.dtype == (stage.BF16 if narrow else np.float32), (name, a.dtype)
    named = [name for frame in sent[1:] for name in frame.tensors]
    assert set(named) == set(sent[0].tensors) and len(named) % len(sent[0].tensors) == 0


def modules():
    """Modules that can't be an encoder, and what encode.py says of each."""

    class Unused(torch.nn.Linear):
        def forward(self, x):
            return x.flatten(1)[:, :4] * self.weight[0, 0]

    class Raises(torch.nn.Module):
        def forward(self, x):
            raise KeyError("here")

    def flat(width):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, width))

    normed = torch.nn.Sequential(torch.nn.BatchNorm2d(3), flat(4))
    double = flat(4).double()
    return {"unused": (Unused(4, 4), "parameter bias got no gradient"), "raises": (Raises(), "encode_py.py:.*KeyError: 'here'"),
            "tuple": (torch.nn.LSTM(8, 8), "returned tuple for 8 views|of x .*RuntimeError"), "double": (double, "1.weight is float64"),
            "rows": (torch.nn.Flatten(0), r"of x|returned \[1536\] for 8 views, not \[8,D\]"),
            "normed": (normed, "--sync: 0 is a batch norm"), "none": (torch.nn.Flatten(), "has no parameter that requires a gradient")}


def refusals():
    import re

    import encode

    def options_of(*more):
        sys.argv = ["encode.py", "--model", "torchvision:resnet18", "--opt", "exec:sgd --lr 0.1 2>/dev/null",
                    "--next", f"exec:/usr/bin/python3 {root}/tests/full/encode_py.py {root} gradients", *more]
        return encode.parse_options()

    def refused(pattern, make=None, *more):
        links = []
        try:
            encoder = encode.Encoder(options_of(*more))
            if make:
                encoder.make = lambda: make
            links = encoder.open_links()
            x = np.random.default_rng(1).integers(0, 256, (4, 2, 8, 8, 3), np.uint8)
            encoder.answer({"x": x}, {"step": "0", "steps": "3", "batch": "4"})
        except stage.Failure as why:
            assert re.search(pattern, str(why)), (pattern, str(why))
            print(why)
        else:
            raise AssertionError(pattern)
        for link in links:
            link.abandon()

    with open("right.py", "w") as file:
        file.write("def text(): return 'a'\ndef fails(): return 1 / 0\n")
    for name, (module, pattern) in modules().items():
        refused(pattern, module, "--model", "right.py:text", *(["--sync", "exec:cat"] if name == "normed" else []))
    refused("torchvision has no such model", None, "--model", "torchvision:resnet19")
    refused("none.py is no file", None, "--model", "none.py:f")
    with open("wrong.py", "w") as file:
        file.write("import torch\nx = = 1\n")
    refused("--model wrong.py:f: SyntaxError: invalid syntax .wrong.py, line 2", None, "--model", "wrong.py:f")
    refused("right.py has no function f", None, "--model", "right.py:f")
    refused("returned str, not a torch.nn.Module", None, "--model", "right.py:text")
    refused("right.py:2: ZeroDivisionError", None, "--model", "right.py:fails")
    if not torch.cuda.is_available():
        refused("--device cuda: PyTorch finds no GPU here", None, "--device", "cuda")
    whole = tensors_of("init.st")
    for pattern, edit in (("no tensor conv1.weight; is the file of another --model", lambda w: w.pop("conv1.weight")),
                          (r"bn1.bias is F32 \[2\], not \[64\]", lambda w: w.update({"bn1.bias": np.ones(2, "f4")})),
                          ("bn1.bias holds NaN", lambda w: w.update({"bn1.bias": np.full(64, np.nan, "f4")})),
                          ("bn1.running_var holds a negative", lambda w: w.update({"bn1.running_var": np.full(64, -1, "f4")})),
                          ("the network has no tensor layer1.9.x", lambda w: w.update({"layer1.9.x": np.ones(2, "f4")}))):
        weights = dict(whole)
        edit(weights)
        with open("edited.st", "wb") as file:
            frames.write(file, weights)
        refused("edited.st: " + pattern, None, "--init", "edited.st")
    refused("no-such.st: No such file", None, "--init", "no-such.st")
    refused("--stem imagenet, but init.st was trained with stem=cifar", None, "--init", "init.st", "--stem", "imagenet")
    refused("--normalize cifar10, but init.st was trained with normalize=none", None, "--init", "init.st", "--normalize", "cifar10")
    refused("init.st was trained with arch=resnet18", None, "--init", "init.st", "--model", "torchvision:resnet34")


def gradients():
    """Stands for --next: answers h with a gradient."""

    def answer(tensors, meta):
        return {"dh": np.ones_like(tensors["h"])}, meta

    stage.run(answer)


try:
    globals()[action](*words)
except BrokenPipeError:
    sys.exit(1)
