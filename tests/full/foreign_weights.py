"""Writes checkpoints of small networks with random weights as other programs write them, and the
features that PyTorch computes from images with these networks.

  foreign_weights.py ROOT    writes *.pth, *.ckpt, *.safetensors, x.st, and the features NAME.want

The names of a ResNet-18 are changed by rules that are independent of the ones in lib/weights: those of
moco, moco-v3, lightly, solo-learn, SupContrast, Lightning, Hugging Face's transformers and others. The
networks of simclr-converter (v1) and SimCLRv2-Pytorch (v2) are built here with the modules' names."""
import json, re, struct, sys
sys.dont_write_bytecode = True
sys.path[:0] = [sys.argv[1] + "/tests"]
import numpy as np, torch, torch.nn as nn, torchvision, frames

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

def want(name, **tensors):
    with open(name + ".want", "wb") as f:
        frames.write(f, {k: v.numpy() for k, v in tensors.items()})

def save(name, what, model=None, x=None):
    torch.save(what, name + ".pth")
    if model is not None:
        with torch.no_grad():
            model.fc = nn.Identity()
            want(name, h=model(x))

# ---- the names that other programs give a ResNet ----

def under(prefix, state):
    return {prefix + k: v for k, v in state.items()}

def without_fc(state):
    return {k: v for k, v in state.items() if not k.startswith("fc.")}

def hugging_face(state):
    """ResNetForImageClassification of transformers, which numbers the parts of a block."""
    def rename(name):
        name = re.sub(r"^fc\.", "classifier.1.", name)
        name = re.sub(r"^conv1\.", "resnet.embedder.embedder.convolution.", name)
        name = re.sub(r"^bn1\.", "resnet.embedder.embedder.normalization.", name)
        name = re.sub(r"^layer(\d)\.(\d+)\.",
                      lambda m: f"resnet.encoder.stages.{int(m[1]) - 1}.layers.{m[2]}.", name)
        name = re.sub(r"\.downsample\.0\.", ".shortcut.convolution.", name)
        name = re.sub(r"\.downsample\.1\.", ".shortcut.normalization.", name)
        name = re.sub(r"(layers\.\d+)\.conv(\d)\.", lambda m: f"{m[1]}.layer.{int(m[2]) - 1}.convolution.", name)
        return re.sub(r"(layers\.\d+)\.bn(\d)\.", lambda m: f"{m[1]}.layer.{int(m[2]) - 1}.normalization.", name)
    return {rename(k): v for k, v in state.items()}

def safetensors(path, state, dtype, name):
    """Writes a safetensors file with floats of a dtype, which is called so in the format."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for k, v in state.items():
        floats = v.is_floating_point()
        v = v.to(dtype) if floats else v
        raw = (v.view(torch.int16) if v.dtype == torch.bfloat16 else v).numpy().tobytes()
        header[k] = {"dtype": name if floats else "I64", "shape": list(v.shape),
                     "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)

def wrappings(m):
    """Writes the ResNet-18 m under the names of other programs; all give the same features."""
    state = m.state_dict()
    bare, other = without_fc(state), {k: torch.zeros_like(v) for k, v in state.items()}
    names = list(m.children())
    everything = nn.Sequential(*names[:-1])
    unpooled = nn.Sequential(*(c for c in names[:-1] if not isinstance(c, (nn.MaxPool2d, nn.AdaptiveAvgPool2d))))
    momentum = {"state": {i: {"momentum_buffer": torch.zeros(3)} for i in range(3)}, "param_groups": [{"lr": 0.1}]}
    files = {
        "parallel.pth": {"model": under("module.", state), "optimizer": momentum, "epoch": 7},
        "moco.pth.tar": {"epoch": 200, "arch": "resnet18", "optimizer": momentum, "state_dict": {
            **under("module.encoder_q.", bare), "module.encoder_q.fc.0.weight": torch.zeros(4, 512),
            "module.encoder_q.fc.2.weight": torch.zeros(3, 4), **under("module.encoder_k.", bare | {"bn1.weight": torch.ones(64)}),
            "module.queue": torch.zeros(3, 9), "module.queue_ptr": torch.zeros(1, dtype=torch.int64)}},
        "moco3.pth": {"state_dict": {**under("module.base_encoder.", bare), **under("module.momentum_encoder.", other)}},
        "byol.pth": {"model_state_dict": {**under("online_network.encoder.", bare), **under("target_network.encoder.", other)}},
        "lightly.ckpt": {"state_dict": {**under("backbone.", everything.state_dict()),
                                        "projection_head.layers.0.weight": torch.zeros(4, 512)},
                         "pytorch-lightning_version": "2.1.0", "optimizer_states": [momentum], "epoch": 3},
        "supervised.pth": {"state_dict": under("model.backbone.", bare)},
        "solo.ckpt": {"state_dict": {**under("backbone.", bare), **under("momentum_backbone.", other),
                                     "classifier.weight": state["fc.weight"], "classifier.bias": state["fc.bias"],
                                     "projector.0.weight": torch.zeros(4, 512), "projector.0.bias": torch.zeros(4)}},
        "supcon.pth": {"model": {**under("module.encoder.", {k.replace("downsample", "shortcut"): v for k, v in bare.items()}),
                                 "module.head.0.weight": torch.zeros(4, 512)}, "opt": {"lr": 0.1}},
        "features.pth": under("f.", unpooled.state_dict()),
        "hugging.bin": hugging_face(state),
        "old.pth": {k: v for k, v in state.items() if "num_batches" not in k},
        "half.pth": {k: v.half() if v.is_floating_point() else v for k, v in state.items()},
        "bfloat.pth": {k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()},
        "double.pth": {k: v.double() if v.is_floating_point() else v for k, v in state.items()},
        "ema.pth": {"state_dict": dict(state), "state_dict_ema": other},
    }
    for path, file in files.items():
        torch.save(file, path)
    torch.save(state, "legacy.pth", _use_new_zipfile_serialization=False)
    for name, dtype in (("F64", torch.float64), ("F16", torch.float16), ("BF16", torch.bfloat16), ("F32", torch.float32)):
        safetensors(f"hugging{name}.safetensors", hugging_face(state), dtype, name)
    torch.save({"step": 3}, "nothing.pth")
    torch.save({**under("student.backbone.", bare), **under("teacher.backbone.", bare)}, "dino.pth")
    torch.save({**under("encoder.", bare), "encoder.layer1.2.conv1.weight": torch.zeros(64, 64, 3, 3)}, "deeper.pth")
    torch.save({**bare, "layer2.0.shortcut.0.weight": bare["layer2.0.downsample.0.weight"]}, "double_names.pth")

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
    m = settle(torchvision.models.resnet18(), x)
    wrappings(m)
    with torch.no_grad():
        want("logits", logits=m(x))
    save("torchvision", m.state_dict(), m, x)
    m = settle(torchvision.models.resnet50(), x)
    safetensors("bottleneck.safetensors", hugging_face(m.state_dict()), torch.float32, "F32")
    m.fc = nn.Identity()
    with torch.no_grad():
        want("bottleneck", h=m(x))
    for name, sk, layers in (("v2", False, 2), ("v2sk", True, 3)):
        m = settle(V2((3, 4, 6, 3), 16, sk), x)
        head = settle(Head(512, 24, layers), m(x).detach() if layers else None)
        nn.init.zeros_(head.layers[-1].bias)
        file = {"resnet": dict(m.state_dict()), "head": head.state_dict()}
        save(name, file, m, x)
        with torch.no_grad():
            want(name + ".z", z=head(m(x)))
    head.layers[-1].bias.data[3] = 1
    save("biased", {"resnet": file["resnet"], "head": head.state_dict()})
    save("list", [torch.zeros(3)])
    with open("text.pth", "w") as f:
        f.write("no checkpoint\n")

make()
