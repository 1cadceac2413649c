"""Writes checkpoints in the layouts of PyTorch's converters of the official SimCLR models, for small
networks with random weights, and the features that these networks compute from images.

  import_simclr.py ROOT    writes *.pth, x.st, and the features NAME.want; imports those that do
                           not fit, and all but one of those that do: PyTorch is slow to load

Modules are named as those of simclr-converter (v1) and SimCLRv2-Pytorch (v2) name them."""
import contextlib, glob, re, sys
sys.dont_write_bytecode = True
sys.path[:0] = [sys.argv[1] + "/tests", sys.argv[1] + "/examples"]
import numpy as np, torch, torch.nn as nn, torchvision, frames, import_simclr

def conv(i, o, kernel, stride=1):
    return nn.Conv2d(i, o, kernel, stride, (kernel - 1) // 2, bias=False)

def norm(c):  # in v2 each norm is in a Sequential of its own
    return nn.Sequential(nn.BatchNorm2d(c), nn.ReLU())

def bare(c):
    return nn.Sequential(nn.BatchNorm2d(c), nn.Identity())

class Mixed(nn.Module):
    def __init__(self, c, stride, least=32):
        super().__init__()
        middle = max(int(c * 0.0625), least)
        self.main_conv = nn.Sequential(conv(c, 2 * c, 3, stride), norm(2 * c))
        self.mixing_conv = nn.Sequential(conv(c, middle, 1), norm(middle), conv(middle, 2 * c, 1))
    def forward(self, x):
        a, b = self.main_conv(x).chunk(2, 1)
        p, q = self.mixing_conv((a + b).mean((2, 3), True)).chunk(2, 1)
        share = torch.sigmoid(p - q)
        return share * a + (1 - share) * b

class Shortcut(nn.Module):
    def __init__(self, i, o, stride, sk):
        super().__init__()
        self.shortcut = conv(i, o, 1, stride) if not sk else nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)), nn.AvgPool2d(2, stride), conv(i, o, 1))
        self.bn = bare(o)
    def forward(self, x):
        return self.bn(self.shortcut(x))

class Block(nn.Module):
    def __init__(self, i, c, stride, sk, first):
        super().__init__()
        self.projection = Shortcut(i, 4 * c, stride, sk) if first else nn.Identity()
        middle = [Mixed(c, stride)] if sk else [conv(c, c, 3, stride), norm(c)]
        self.net = nn.Sequential(conv(i, c, 1), norm(c), *middle, conv(c, 4 * c, 1), bare(4 * c))
    def forward(self, x):
        return torch.relu(self.projection(x) + self.net(x))

class Stage(nn.Module):
    def __init__(self, i, c, blocks, stride, sk):
        super().__init__()
        self.blocks = nn.ModuleList(Block(4 * c if b else i, c, 1 if b else stride, sk, b == 0)
                                    for b in range(blocks))
    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x

class V2(nn.Module):
    def __init__(self, blocks, base, sk):
        super().__init__()
        h = base // 2
        stem = [conv(3, h, 3, 2), norm(h), conv(h, h, 3), norm(h), conv(h, base, 3)] if sk else [conv(3, base, 7, 2)]
        parts, i = [nn.Sequential(*stem, norm(base), nn.MaxPool2d(3, 2, 1))], base
        for stage, n in enumerate(blocks):
            parts.append(Stage(i, base << stage, n, 2 if stage else 1, sk))
            i = 4 * base << stage
        self.net, self.fc = nn.Sequential(*parts), nn.Linear(i, 10)
    def forward(self, x):
        return self.net(x).mean((2, 3))

class Head(nn.Module):
    def __init__(self, width, out, layers):
        super().__init__()
        parts = []
        for l in range(layers):
            o = out if l == layers - 1 else width
            parts += [nn.Linear(width, o, bias=False), nn.BatchNorm1d(o)] + [nn.ReLU()] * (l < layers - 1)
        self.layers = nn.ModuleList(parts)
    def forward(self, x):
        for part in self.layers:
            x = part(x)
        return x

def v1(base):
    """A ResNet-50 of that width: simclr-converter's has torchvision's names."""
    m = torchvision.models.resnet50()
    m.inplanes, m.conv1, m.bn1 = base, nn.Conv2d(3, base, 7, 2, 3, bias=False), nn.BatchNorm2d(base)
    for i, n in enumerate((3, 4, 6, 3)):
        setattr(m, f"layer{i + 1}", m._make_layer(type(m.layer1[0]), base << i, n, stride=2 if i else 1))
    m.fc = nn.Linear(32 * base, 10)
    return m

def settle(m, x):
    """Gives norms random scales and biases, and running statistics from real batches. The scales at
    a block's end are small, as after training."""
    with torch.no_grad():
        for part in m.modules():
            if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
                part.weight.uniform_(0.5, 1)
                part.bias.uniform_(-0.3, 0.3)
        m.train()
        for _ in range(3):
            m(x)
    return m.eval()

def save(name, what, model=None, x=None, classifier=True):
    torch.save(what, name + ".pth")
    if model is not None:
        with torch.no_grad():
            if classifier:
                model.fc = nn.Identity()
            with open(name + ".want", "wb") as f:
                frames.write(f, {"h": model(x).numpy()})

def make():
    torch.manual_seed(5)
    torch.set_num_threads(1)
    x = torch.rand(4, 3, 66, 70)  # odd maps on the way down: 33 x 35, 17 x 18, 9 x 9 ...
    with open("x.st", "wb") as f:
        frames.write(f, {"x": np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy()).reshape(4, 1, 66, 70, 3)})
    m = settle(v1(16), x)
    state = dict(m.state_dict())
    save("v1", {"state_dict": dict(state)}, m, x)
    for what, change in (("missing", lambda s: s.pop("layer3.5.bn2.bias")),
                         ("extra", lambda s: s.update({"layer1.0.conv4.weight": torch.zeros(1)})),
                         ("shape", lambda s: s.update({"layer2.0.conv2.weight": torch.zeros(32, 32, 1, 1)})),
                         ("shallow", lambda s: [s.pop(k) for k in list(s) if k.startswith("layer4.2")]),
                         ("integers", lambda s: s.update({"bn1.weight": torch.ones(16, dtype=torch.int32)}))):
        bad = dict(state)
        change(bad)
        save(what, {"state_dict": bad})
    save("torchvision", settle(torchvision.models.resnet18(), x).state_dict())
    m = torchvision.models.resnet18()
    m.load_state_dict(torch.load("torchvision.pth"))
    m.eval()
    save("torchvision", m.state_dict(), m, x)
    for name, sk, layers in (("v2", False, 2), ("v2sk", True, 3)):
        m = settle(V2((3, 4, 6, 3), 16, sk), x)
        head = settle(Head(512, 24, layers), m(x).detach() if layers else None)
        nn.init.zeros_(head.layers[-1].bias)
        file = {"resnet": dict(m.state_dict()), "head": head.state_dict()}
        save(name, file, m, x)
        with torch.no_grad(), open(name + ".z.want", "wb") as f:
            frames.write(f, {"z": head(m(x)).numpy()})
    head.layers[-1].bias.data[3] = 1
    save("biased", {"resnet": file["resnet"], "head": head.state_dict()})
    save("list", [torch.zeros(3)])
    with open("text.pth", "w") as f:
        f.write("no checkpoint\n")

MISFITS = {
    "missing": r"no tensor layer3.5.bn2.bias",
    "extra": r"unknown tensor layer1.0.conv4.weight",
    "shape": r"layer2.0.conv2.weight is \[32, 32, 1, 1\], not \[32, 32, 3, 3\]",
    "shallow": r"no ResNet of a known depth .*: 3, 4, 6, 2 blocks in layer1 to layer4",
    "integers": r"bn1.weight has type torch.int32",
    "biased": r"the head's last norm has a bias, which `project` does not have",
    "list": r"no dictionary of parameters",
    "text": r"no checkpoint of tensors that PyTorch can load",
    "absent": r"No such file or directory",
}

def fits():
    for name in ("torchvision", "v1", "v2"):
        sys.argv[1:] = [name + ".pth", name + ".st"]
        with open(name + ".commands", "w") as f, contextlib.redirect_stdout(f):
            import_simclr.main()

def misfits():
    """Checks that each misfit ends with one line and leaves no file."""
    cases = {f"{name}.pth: {why}": [name + ".pth", "bad.st"] for name, why in MISFITS.items()}
    cases["nowhere/bad.st: No such file or directory"] = ["v1.pth", "nowhere/bad.st"]
    for why, arguments in cases.items():
        sys.argv[1:] = arguments
        try:
            import_simclr.main()
        except SystemExit as e:  # a text goes to stderr, and the status is 1
            assert isinstance(e.code, str), (why, e.code)
            assert re.fullmatch("import_simclr.py: " + why, e.code), (why, e.code)
        else:
            raise AssertionError(f"{arguments} was taken")
        assert not glob.glob("bad.st*"), why

make()
misfits()
fits()
