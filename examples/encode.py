#!/usr/bin/env python3
"""encode.py: any module of PyTorch as the stage `encode`.

In:  `x` U8 [B,V,H,W,C], scaled by 1/255 and normalized, or F32, used as it is. The module gets
     [N,C,H,W], N = B x V; of time series, F32 [B,V,1,T,C], it gets [N,C,T]. It returns [N,D].
Out: without --next `h` F32 [B,V,D] in `x`'s place, in evaluation mode; with it, after a training
     step, metrics: `lr`, `views_per_s`, and those that came with `dh`.

--model torchvision:NAME is that network without its last linear layer; a ResNet gets the stem of
`encode`. --model FILE.py:FUNCTION is what the function returns, without arguments: a torch.nn.Module.
Parameters that do not require gradients are stored with the model and not trained.

The result depends on --threads and on the device, by rounding. On one machine it is the same each time
on the CPU. Before each step the random numbers start from --seed, the step and the rank, so that dropout
is the same in a resumed run.

Examples:
  augment --data shapes --policy eval --limit 100 |
    python3 encode.py --model torchvision:resnet18 --init model.safetensors > features.st
  pipelines/train --encoder 'python3 encode.py --model vit.py:vit --device cuda --precision bf16'
"""

import copy
import importlib.util
import os
import sys
import time

sys.dont_write_bytecode = True  # the folder may be everybody's

import numpy as np
import simclr_stage as stage
from simclr_stage import Failure

NORMALIZATIONS = {"cifar10": "0.4914,0.4822,0.4465/0.2470,0.2435,0.2616",
                  "imagenet": "0.485,0.456,0.406/0.229,0.224,0.225"}
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")  # those that `encode` has, too
CIFAR_UP_TO = 64  # pixels a side for which --stem auto is cifar, as with `encode`
OTHERS = ("projector", "predictor", "fc", "loss")  # parts of a file that belong to other stages


def parse_options():
    parser = stage.new_parser("any module of PyTorch as the encoder", __doc__.split("\n", 2)[2])
    add = parser.add_argument
    add("--model", metavar="WHAT", default="", help="torchvision:NAME or FILE.py:FUNCTION; must be given")
    add("--device", choices=("cpu", "cuda", "mps"), default="cpu", help="where the module is")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="bf16: by autocast; parameters stay float32")
    add("--stem", choices=("auto", "cifar", "imagenet"), default="auto",
        help="of torchvision's ResNets; auto: cifar up to 64 pixels")
    add("--normalize", metavar="HOW", default="none",
        help="none, cifar10, imagenet, or means/standard deviations: M,M,M/S,S,S")
    add("--init", metavar="FILE", default="", help="start from this model (safetensors)")
    add("--seed", metavar="N", type=stage.between(int, 0, 2**53), default=0, help="seed of the initial parameters")
    add("--opt", metavar="LINK", default="", help="the optimizer, which owns the parameters")
    add("--next", metavar="LINK", default="", help="train: send the output there and get its gradient back")
    add("--sync", metavar="LINK", default="", help="of several workers; the module must not have batch norm")
    add("--ema", metavar="M", type=stage.between(float, 0, 1), default=None,
        help="also send h_target, of a slow copy with this momentum, at least 0 and less than 1")
    add("--wire", choices=("fp32", "bf16"), default="fp32", help="type in which gradients and new weights are sent")
    add("--threads", metavar="N", type=stage.between(int, 1, 1024), default=0,
        help="threads of the CPU [all cores, or OMP_NUM_THREADS]")
    stage.add_options(parser)
    options = parser.parse_args()
    if options.next and not options.opt:
        parser.error("--next needs --opt: who else would own the parameters?")
    if options.opt and not options.next:
        parser.error("--opt needs --next: without it nothing is trained")
    if options.ema is not None and not options.next:
        parser.error("--ema needs --next: it is for training")
    if options.ema == 1:
        parser.error("--ema: a momentum of 1 is not less than 1")
    if options.sync and not options.next:
        parser.error("--sync needs --next: it is for training")
    try:
        options.normalization = read_normalization(options.normalize)
    except ValueError:
        parser.error(f"--normalize {options.normalize} is not none, cifar10, imagenet or M,M,M/S,S,S")
    if not options.model:
        parser.error("--model is missing: torchvision:NAME or FILE.py:FUNCTION")
    if ":" not in options.model:
        parser.error(f"--model '{options.model}' is neither torchvision:NAME nor FILE.py:FUNCTION")
    return options


def read_normalization(text):
    """Returns means and standard deviations, or None for "none"."""
    if text == "none":
        return None
    mean, std = ([np.float32(v) for v in part.split(",")] for part in NORMALIZATIONS.get(text, text).split("/"))
    if not 1 <= len(mean) == len(std) <= 4 or not np.isfinite([*mean, *std]).all() or min(std) <= 0:
        raise ValueError
    return np.stack([mean, std])


def same_normalization(a, b):
    return np.array_equal(read_normalization(a), read_normalization(b))


def failed_in(what, why):
    """Returns a Failure for an exception in the module's code, which names its line."""
    trace, at = why.__traceback__, ""
    while trace:
        name = trace.tb_frame.f_code.co_filename
        if name != __file__ and not name.startswith("<") and f"{os.sep}torch{os.sep}" not in name:
            at = f"{os.path.basename(name)}:{trace.tb_lineno}: "
        trace = trace.tb_next
    return Failure(f"{what}: {at}{type(why).__name__}: {stage.one_line(why)[:300]}")


# ---- the module ----


def find_maker(model):
    """Returns a function that makes the module."""
    where, name = model.rsplit(":", 1)
    if where == "torchvision":
        import torchvision

        make = getattr(torchvision.models, name, None)
        if not name[:1].islower() or not callable(make):
            raise Failure(f"--model {model}: torchvision has no such model")
        return make
    try:
        spec = importlib.util.spec_from_file_location("model", where)
        if spec is None or not os.path.isfile(where):
            raise Failure(f"--model {model}: {where} is no file FILE.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["model"] = module
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as why:
        raise why if isinstance(why, Failure) else failed_in(f"--model {model}", why) from None
    if not callable(getattr(module, name, None)):
        raise Failure(f"--model {model}: {where} has no function {name}")
    return getattr(module, name)


def without_classifier(torch, module, model):
    """Replaces the last linear layer of a torchvision network by the identity."""
    linear = [name for name, part in module.named_modules() if isinstance(part, torch.nn.Linear)]
    if not linear or linear[-1].split(".")[0] not in ("fc", "classifier", "head", "heads"):
        raise Failure(f"--model {model}: no classifier was found in it; write a FILE.py that returns the encoder")
    parent, _, name = linear[-1].rpartition(".")
    parent = module.get_submodule(parent)
    if isinstance(parent, torch.nn.Sequential):
        parent[int(name) if name.isdigit() else list(parent._modules).index(name)] = torch.nn.Identity()
    else:
        setattr(parent, name, torch.nn.Identity())


class Encoder:
    """The module, the numbers that go in and come out of it, and its place among the other stages."""

    def __init__(self, options):
        self.options, self.module, self.width = options, None, None
        try:
            import torch
        except ImportError:
            raise Failure("needs PyTorch (python3-torch)") from None
        self.torch = torch
        threads = options.threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
        if threads > 0:
            torch.set_num_threads(threads)
        if options.device == "cuda" and not torch.cuda.is_available():
            raise Failure("--device cuda: PyTorch finds no GPU here")
        if options.device == "mps" and not (hasattr(torch.backends, "mps") and torch.backends.mps.is_available()):
            raise Failure("--device mps: PyTorch finds no such device here")
        self.device, self.cuda = torch.device(options.device), options.device == "cuda"
        # --precision says how products are computed. By default cuDNN would round float32 to TF32.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.benchmark = self.cuda
        if options.device == "cpu":
            torch.use_deterministic_algorithms(True)
        self.make = find_maker(options.model)
        self.file = stage.load(options.init) if options.init else None
        self.take_description()
        self.pinned, self.optimizer, self.slow = {}, None, None

    def open_links(self):
        """Opens the links of training and returns them."""
        options = self.options
        if not options.next:
            return []
        self.next = stage.Link(options.next, options)
        self.opt = stage.Link(options.opt, options)
        return [self.next, self.opt] + ([stage.Link(options.sync, options)] if options.sync else [])

    def take_description(self):
        """Takes from the file of --init what the flags leave open: stem and normalization of a ResNet."""
        text = self.file.meta.get("encoder") if self.file else None
        if text is None:
            return
        options, words = self.options, dict(word.split("=", 1) for word in text.split() if "=" in word)
        arch = options.model.removeprefix("torchvision:")
        if arch != options.model and words.get("arch") != arch:
            raise Failure(f"--model {options.model}, but {options.init} was trained with arch={words.get('arch')}")
        stem, normalize = words.get("stem", "auto"), words.get("normalize", "none")
        if arch != options.model and options.stem not in ("auto", stem):
            raise Failure(f"--stem {options.stem}, but {options.init} was trained with stem={stem}")
        if options.normalize == "none":
            options.normalize, options.normalization = normalize, read_normalization(normalize)
        elif not same_normalization(options.normalize, normalize):
            raise Failure(f"--normalize {options.normalize}, but {options.init} was trained with normalize={normalize}")
        if arch != options.model:
            options.stem = stem

    def start(self, x):
        """Makes the module for the first request's images x, with its initial parameters."""
        torch, options = self.torch, self.options
        torch.manual_seed(options.seed)
        try:
            module = self.make()
        except Exception as why:
            raise failed_in(f"--model {options.model}", why) from None
        if not isinstance(module, torch.nn.Module):
            raise Failure(f"--model {options.model} returned {type(module).__name__}, not a torch.nn.Module")
        self.description = {}
        if options.model.startswith("torchvision:"):
            without_classifier(torch, module, options.model)
            self.set_stem(module, x)
        elif options.stem != "auto":
            raise Failure(f"--stem {options.stem} is for torchvision's ResNets; {options.model} has its own")
        self.values = {name: p for name, p in module.named_parameters()}
        self.values |= self.named_buffers(module)
        for name, p in self.values.items():
            if "/" in name or (p.dtype != torch.float32 and not stage.is_buffer(name)):
                raise Failure(f"--model {options.model}: {name} is {str(p.dtype)[6:]}: parameters are float32")
        if self.file:
            self.load(self.file)
            self.file = None
        self.module = module.to(self.device)
        if self.cuda and x.shape[2] > 1:
            self.module = module.to(memory_format=torch.channels_last)
        self.values = {name: p for name, p in module.named_parameters()} | self.named_buffers(module)
        self.scale = torch.full((1,), 255.0, device=self.device)
        if options.normalization is not None:
            self.mean, self.std = torch.from_numpy(options.normalization).to(self.device)
            if len(self.mean) != x.shape[4]:
                raise Failure(f"x has {x.shape[4]} channels, and --normalize {options.normalize} is for {len(self.mean)}")
            if x.dtype != np.uint8:
                raise Failure(f"x is F32, which is used as it is: --normalize {options.normalize} is for bytes")

    def named_buffers(self, module):
        """Returns the persistent buffers of floats, and batch norm's counters. What else a module keeps (indices,
        masks) does not change and is made with it."""
        torch, state = self.torch, module.state_dict(keep_vars=True)
        return {name: b for name, b in module.named_buffers() if name in state
                and (b.dtype == torch.float32 or (stage.is_buffer(name) and b.dtype == torch.int64))}

    def set_stem(self, module, x):
        torch, options = self.torch, self.options
        name = options.model.removeprefix("torchvision:")
        if name not in RESNETS:
            if options.stem == "cifar":
                raise Failure(f"--stem cifar is for {', '.join(RESNETS)}, and not for {name}")
            return
        stem = options.stem
        if stem == "auto":
            stem = "cifar" if max(x.shape[2:4]) <= CIFAR_UP_TO else "imagenet"
        if stem == "cifar":
            module.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
            torch.nn.init.kaiming_normal_(module.conv1.weight, mode="fan_out", nonlinearity="relu")
            module.maxpool = torch.nn.Identity()
        self.description["encoder"] = f"arch={name} width=1 stem={stem} normalize={options.normalize} sk=0 size={x.shape[3]}"

    def load(self, file):
        """Takes the initial values from a file."""
        torch, path, parts = self.torch, self.options.init, {name.split(".")[0] for name in self.values}
        which = f"is the file of another --model than {self.options.model}?"
        for name, p in self.values.items():
            a = file.tensors.get(name)
            if a is None and not name.endswith(".num_batches_tracked"):
                raise Failure(f"{path}: no tensor {name}; {which}")
            if a is not None and (stage.widen(a).dtype != torch_dtype(p) or a.shape != tuple(p.shape)):
                raise Failure(f"{path}: {name} is {stage.NAMES[a.dtype]} {list(a.shape)}, not {list(p.shape)}; {which}")
            if a is not None and (what := stage.is_unsound(name, a)):
                raise Failure(f"{path}: {name} holds {what}")
        unused = set()
        for name in file.tensors:
            part = name.split(".")[0]
            if name not in self.values and "/" not in name and part not in OTHERS:
                if part in parts:
                    raise Failure(f"{path}: the network has no tensor {name}; {which}")
                unused.add(part)
        if unused:
            stage.warn(f"{path}: not used: {', '.join(sorted(unused)[:8])}")
        with torch.no_grad():
            for name, p in self.values.items():
                if name in file.tensors:
                    p.copy_(torch.from_numpy(stage.widen(file.tensors[name])))
                else:
                    p.zero_()

    # ---- numbers in and out ----

    def host(self, name, shape, dtype):
        """Returns the tensor in this machine's memory through which an array of that name goes to the device and
        back. It is kept; for a GPU it is pinned, so that copies need not wait."""
        kept = self.pinned.get(name)
        if kept is None or kept.shape != shape or kept.dtype != dtype:
            kept = self.pinned[name] = self.torch.empty(shape, dtype=dtype, pin_memory=self.cuda)
        return kept

    def to_device(self, name, a):
        """Returns the array on the device. Its bytes cross once."""
        t = self.torch.from_numpy(a)
        if self.cuda:
            t = self.host(name, t.shape, t.dtype).copy_(t)
        return t.to(self.device, non_blocking=True)

    def to_host(self, name, t):
        """Returns a tensor of the device as an array, when it is computed."""
        return self.host(name, t.shape, t.dtype).copy_(t.detach()).numpy()

    def images(self, x):
        """Returns [N,C,H,W], or [N,C,T] of time series, of x [B,V,H,W,C]: bytes as (x/255 - mean) / std."""
        x = self.to_device("x", x).flatten(0, 1)
        if x.dtype == self.torch.uint8:
            x = x.float().div_(self.scale)
            if self.options.normalization is not None:
                x = x.sub_(self.mean).div_(self.std)
        x = x.permute(0, 3, 1, 2)
        if x.shape[2] == 1 and x.shape[3] > 1:
            return x[:, :, 0]
        return x if self.cuda else x.contiguous()

    def forward(self, module, images):
        """Returns a module's output [N,D] on the device, as float32."""
        torch = self.torch
        try:
            with torch.autocast(self.device.type, torch.bfloat16, self.options.precision == "bf16"):
                h = module(images)
        except Failure:
            raise
        except Exception as why:
            raise failed_in(f"{self.options.model} of x {list(images.shape)}", why) from None
        if not torch.is_tensor(h) or h.dim() < 2 or h.shape[0] != images.shape[0]:
            shape = list(h.shape) if torch.is_tensor(h) else type(h).__name__
            raise Failure(f"{self.options.model} returned {shape} for {images.shape[0]} views, not [{images.shape[0]},D]")
        return h.float().flatten(1)

    # ---- requests ----

    def answer(self, tensors, meta):
        x = stage.need(tensors, "x", "U8" if "x" in tensors and tensors["x"].dtype == np.uint8 else "F32", (None,) * 5)
        if x.shape[0] == 0 and self.options.next:
            raise stage.Unfit("x has no rows, and a training step needs some")
        if 0 in x.shape[1:]:
            raise stage.Unfit("x is empty")
        first = self.module is None
        if first:
            self.start(x)
        if self.options.next:
            return self.step(x, tensors, meta, first)
        self.module.eval()
        with self.torch.inference_mode():
            if len(x) == 0:  # all images of this batch were unreadable
                self.width = self.width or self.features(np.zeros((1, 1, *x.shape[2:]), x.dtype)).shape[1]
                h = np.empty((0, x.shape[1], self.width), np.float32)
            else:
                h = self.features(x)
        self.width = h.shape[-1]
        return {"h": h.reshape(*x.shape[:2], -1)} | others(tensors), meta

    def features(self, x):
        return self.forward(self.module, self.images(x)).cpu().numpy()

    def step(self, x, tensors, meta, first):
        """Makes one training step, and returns the metrics."""
        torch, began = self.torch, time.monotonic()
        if first:
            self.join(meta)
        rank, step = stage.integer(meta, "rank", 0), stage.integer(meta, "step", 0)
        torch.manual_seed((self.options.seed * 1_000_003 + step) * 1_000_003 + rank & (1 << 63) - 1)
        images = self.images(x)
        h = self.forward(self.module, images)
        if not h.requires_grad:
            raise Failure(f"{self.options.model} has no parameter that requires a gradient: there is nothing to train")
        request = {key: value for key, value in meta.items() if key != "class_names"}
        shape = (*x.shape[:2], h.shape[1])
        out = {"h": self.to_host("h", h).reshape(shape)}
        if self.slow:
            with torch.no_grad():
                out["h_target"] = self.to_host("h_target", self.forward(self.slow, images)).reshape(shape)
        answer = self.next.request(out | others(tensors), request)
        dh = stage.need(answer.tensors, "dh", "F32", shape)
        if not np.isfinite(stage.number(answer.meta, "loss", 0.0)):
            raise Failure(f"the loss is not finite in step {meta.get('step', '?')}")
        self.backward(h, dh, meta)
        values = self.optimizer.finish()
        self.take(values)
        self.follow()
        metrics = stage.metrics(meta, answer.meta)
        if not np.isnan(self.optimizer.grad_norm):
            metrics["grad_norm"] = stage.digits(self.optimizer.grad_norm)
        if self.optimizer.lr is not None:
            metrics["lr"] = self.optimizer.lr
        views = stage.integer(meta, "batch", len(x)) * x.shape[1]
        metrics["views_per_s"] = stage.digits(views / (time.monotonic() - began))
        return {}, metrics

    def join(self, meta):
        """Joins the optimizer with the initial parameters, and takes its own in their place."""
        torch = self.torch
        self.module.train()
        norms = torch.nn.modules.batchnorm._BatchNorm
        for name, part in self.module.named_modules():
            if self.options.sync and isinstance(part, norms) and part.training:
                raise Failure(f"--sync: {name} is a batch norm, which does not span the workers here: use group norm or layer "
                              "norm, one worker, or `encode`")
        # Frozen tensors cross the link once, with the join. Floats that are no batch norm's statistics are constants.
        frozen = [name for name, p in self.values.items() if not p.requires_grad and not stage.is_buffer(name)]
        initial = {name: p.detach().cpu().numpy() for name, p in self.values.items()}
        self.optimizer = stage.Optimizer(self.opt, self.options.wire)
        self.take(self.optimizer.join(meta, initial, frozen, self.description, self.options.ema))
        if self.options.ema is not None:
            self.slow = copy.deepcopy(self.module).requires_grad_(False)  # in training mode, too
            for name, p in self.slow.named_parameters():
                p.copy_(torch.from_numpy(self.optimizer.slow[name]))
        bf16 = self.options.wire == "bf16"
        for name, p in self.module.named_parameters():
            if p.requires_grad:
                dtype = torch.bfloat16 if bf16 and p.dim() > 1 else torch.float32
                p.register_hook(lambda gradient, name=name, dtype=dtype: self.push(name, gradient, dtype))
        self.side = torch.cuda.Stream() if self.cuda else None

    def push(self, name, gradient, dtype):
        """Sends a gradient as soon as the backward pass has it. From a GPU it is copied on a stream of its own, beside
        the kernels of the earlier layers; the thread that sends waits for the copy."""
        torch = self.torch
        host, ready = self.host(name, gradient.shape, dtype), None
        if self.cuda:
            gradient = gradient.detach()
            self.side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.side):
                host.copy_(gradient.to(dtype), non_blocking=True)
                ready = torch.cuda.Event()
                ready.record(self.side)
            gradient.record_stream(self.side)
        else:
            host.copy_(gradient)
        self.optimizer.push(name, to_numpy(torch, host), ready.synchronize if ready else None)

    def backward(self, h, dh, meta):
        """Runs the backward pass, which sends the gradients."""
        buffers = {name: p.cpu().numpy() for name, p in self.values.items() if stage.is_buffer(name)}
        self.optimizer.begin(meta, buffers)
        for p in self.module.parameters():
            p.grad = None
        dh = self.to_device("dh", np.ascontiguousarray(dh).reshape(h.shape))
        try:
            h.backward(dh)
        except Failure:
            raise
        except Exception as why:
            raise failed_in(f"{self.options.model}, backward pass", why) from None

    def take(self, values):
        """Stores the optimizer's values."""
        torch = self.torch
        with torch.no_grad():
            for name, a in values.items():
                p, t = self.values[name], torch.from_numpy(a)
                if self.cuda and p.requires_grad:
                    t = self.host("new " + name, t.shape, t.dtype).copy_(t)
                p.copy_(t, non_blocking=True)


    def follow(self):
        """Moves the slow copy to the new parameters, as stage.follow() and the optimizer do."""
        if self.slow:
            c = float(np.float32(1 - self.options.ema))
            for now, slow in zip(self.module.parameters(), self.slow.parameters()):
                if now.requires_grad:
                    slow.add_((now.detach() - slow).mul_(c))


def torch_dtype(p):
    """Returns numpy's type of a tensor."""
    return np.dtype("<i8") if not p.is_floating_point() else np.dtype("<f4")


def to_numpy(torch, t):
    """Returns a tensor in memory as an array, of the type stage.BF16 if it is bfloat16."""
    if t.dtype != torch.bfloat16:
        return t.numpy()
    return t.view(torch.int16).numpy().view(stage.BF16)


def others(tensors):
    return {name: a for name, a in tensors.items() if name not in ("x", "h", "h_target")}


def main():
    options = parse_options()
    encoder = []

    def links():
        encoder.append(Encoder(options))
        return encoder[0].open_links()

    stage.run(lambda tensors, meta: encoder[0].answer(tensors, meta), options, links)


if __name__ == "__main__":
    main()
