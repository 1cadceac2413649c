"""Input and expected results for classify.sh.

    classify.py ROOT make      writes init.st and step.st: a ResNet-18 of torchvision, an eighth as wide, with
                               a classifier and parts of another head; and one batch
    classify.py ROOT compare FROZEN...    compares what runs of that batch sent to their optimizers
    classify.py ROOT bad       writes frames that classify must refuse
    classify.py ROOT frozen BEFORE AFTER BLOCK   checks which tensors a training run has changed
    classify.py ROOT same MODEL PART...
    classify.py ROOT top1 LOGITS          prints the top-1 that numpy computes"""

import sys

import numpy as np

root, action, *words = sys.argv[1:]
sys.path.insert(0, root + "/tests")
import frames  # noqa: E402

BLOCKS = ["none", "stem", "layer1", "layer2", "layer3", "layer4"]
B, V, S, CLASSES = 8, 2, 8, 7
SMOOTHING = {"smooth": 0.1}


def load(path):
    with open(path, "rb") as file:
        return list(frames.read_all(file))


def write(path, *all_frames):
    with open(path, "wb") as file:
        for tensors, meta in all_frames:
            frames.write(file, tensors, **meta)
        frames.write_end(file)


def network():
    import torch
    from torch import nn
    from torchvision.models import resnet18

    m = resnet18(num_classes=CLASSES)
    base = m.inplanes = 8
    m.conv1, m.bn1, m.maxpool = nn.Conv2d(3, base, 3, 1, 1, bias=False), nn.BatchNorm2d(base), nn.Identity()
    for i in range(4):
        layer = m._make_layer(type(m.layer1[0]), base << i, 2, stride=2 if i else 1)
        setattr(m, f"layer{i + 1}", layer)
    m.fc = nn.Linear(base << 3, CLASSES)
    return m, torch


def freeze(m, name):
    """Freezes what encode --freeze NAME freezes; nothing if NAME is not a block's."""
    parts = [[m.conv1, m.bn1], [m.layer1], [m.layer2], [m.layer3], [m.layer4]]
    for part in sum(parts[: BLOCKS.index(name) if name in BLOCKS else 0], []):
        part.eval().requires_grad_(False)


def distance_to_kinks(m, x):
    """Returns the smallest magnitude of any ReLU's input, however much is frozen."""
    import copy

    import torch

    seen = []
    for name in BLOCKS:
        double = copy.deepcopy(m).double().train()
        freeze(double, name)
        for module in double.modules():
            if isinstance(module, torch.nn.ReLU):
                module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].abs().min().item()))
        double(x.double().flatten(0, 1).permute(0, 3, 1, 2))
    return min(seen)


def make():
    # If a ReLU's input is as small as float32's rounding, its gradient depends on chance, so such
    # networks are drawn again.
    for seed in range(1000):
        m, torch = network()
        torch.manual_seed(seed)
        for name, p in m.named_parameters():
            with torch.no_grad():
                p.copy_(torch.randn(p.shape) * (2 / max(p[0].numel(), 1)) ** 0.5 if p.ndim > 1
                        else torch.rand(p.shape) + (0.5 if name.endswith("weight") else -0.5))
        x = torch.randn(B, V, S, S, 3)
        m.train()(torch.randn(64, 3, S, S))  # gives the network other running statistics
        if distance_to_kinks(m, x) > 1e-5:
            break
    else:
        sys.exit("no seed keeps the network off its kinks")
    y = np.arange(B) % CLASSES
    y[3] = -1
    tensors = {k: v.numpy() for k, v in m.state_dict().items()}
    with open("init.st", "wb") as file:
        frames.write(file, tensors | {"projector.0.weight": np.zeros((4, 4), np.float32)})
    write("step.st", ({"x": x.numpy(), "y": y, "index": np.arange(B)},
                      {"step": 0, "steps": 1, "steps_per_epoch": 1, "batch": B, "grains": 4,
                       "classes": CLASSES}))


def beside_torch(name):
    """Compares NAME-encoder.st and NAME-head.st with one training step in float64."""
    m, torch = network()
    m.load_state_dict({k: torch.from_numpy(np.array(v)) for k, v in load("init.st")[0][0].items()},
                      strict=False)
    m = m.double().train()
    kept = BLOCKS.index(name) if name in BLOCKS else 0
    freeze(m, name)
    batch = load("step.st")[0][0]
    x = torch.from_numpy(np.array(batch["x"])).double().flatten(0, 1).permute(0, 3, 1, 2)
    y = torch.from_numpy(np.array(batch["y"])).repeat_interleave(V)
    logits = m(x)
    loss = torch.nn.functional.cross_entropy(logits, y, ignore_index=-1,
                                             label_smoothing=SMOOTHING.get(name, 0))
    loss.backward()
    accuracy = (logits.argmax(1) == y)[y >= 0].double().mean()

    metrics = load(name + "-metrics.st")[0][1]
    assert abs(float(metrics["loss"]) - loss.item()) < 1e-5 * loss.item(), (metrics, loss)
    assert abs(float(metrics["accuracy"]) - accuracy.item()) < 1e-6, (metrics, accuracy)
    assert metrics["lr"] == "0" and "classes" not in metrics, metrics

    encoder, head = load(name + "-encoder.st"), load(name + "-head.st")
    names = {k for k in m.state_dict() if not k.startswith("fc.")}
    assert set(encoder[0][0]) == names and set(head[0][0]) == {"fc.weight", "fc.bias"}
    blocks = [["conv1", "bn1"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]]
    assert set(encoder[0][1].get("frozen", "").split(",")) == set(sum(blocks[:kept], [])) or kept == 0
    sent = {k: v for tensors, meta in encoder[1:] + head[1:] for k, v in tensors.items()}
    frozen = {k for k in names if any(k.split(".")[0] in b for b in blocks[:kept])}
    assert set(sent) == (names | {"fc.weight", "fc.bias"}) - frozen, set(sent) ^ names
    for k, p in m.named_parameters():
        if k not in frozen:
            want = p.grad.numpy()
            off = np.linalg.norm(sent[k] - want) / np.linalg.norm(want)
            assert off < 1e-4, (k, off)
    for k, b in m.named_buffers():
        if k not in frozen:
            assert np.allclose(sent[k], b.numpy(), rtol=1e-4, atol=1e-6), k


def compare(*names):
    for name in names:
        try:
            beside_torch(name)
            print(name, "agrees")
        except AssertionError as error:
            print(name, "differs:", error)


def bad():
    h = np.ones((3, 1, 4), np.float32)
    y = np.array([0, 1, 4])
    step = {"step": 0, "steps": 1, "classes": 4}
    write("label.st", ({"h": h, "y": y}, step))
    write("negative.st", ({"h": h, "y": y - 5}, step))
    write("unlabelled.st", ({"h": h, "y": np.full(3, -1)}, step))
    write("noy.st", ({"h": h}, step))
    write("short.st", ({"h": h, "y": y[:2]}, step))
    write("nan.st", ({"h": h * np.nan, "y": y % 4}, step))
    write("noclasses.st", ({"h": h, "y": y}, {"step": 0, "steps": 1}))
    write("many.st", ({"h": h, "y": y}, step | {"classes": 1 << 40}))


def frozen(before, after, block):
    a, b = load(before)[0][0], load(after)[0][0]
    still = BLOCKS[1 : BLOCKS.index(block) + 1] + (["conv1", "bn1"] if block != "none" else [])
    assert {k for k in a if not k.startswith("projector.")} <= set(b)
    for k in b:
        if k in a:
            same = np.array_equal(a[k], b[k])
            assert same == (k.split(".")[0] in still), (k, same)


def same(whole, *parts):
    """Checks that the parts together are the whole model."""
    want, have = load(whole)[0][0], {}
    for part in parts:
        have |= load(part)[0][0]
    assert set(have) == set(want)
    for k in want:
        assert np.array_equal(have[k], want[k]), k


def top1(path):
    rows = [(t["logits"].reshape(len(t["y"]), -1).argmax(1) == t["y"]) for t, _ in load(path)]
    print("%.9g" % np.concatenate(rows).mean())


globals()[action](*words)
