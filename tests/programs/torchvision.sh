#!/usr/bin/env bash
# Tests that checkpoints can be exchanged with torchvision in both directions, and that features
# agree.
set -eu
. "$(dirname "$0")/../lib.sh"
if ! python_has torch torchvision; then
    skip "torchvision loads and is loaded" "python3-torchvision is not installed"
    done_testing
    exit 0
fi
fixture torchvision_resnet50
cat > agree.py <<'P'
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np, frames
def load(name):
    with open(name, "rb") as f:
        return next(iter(frames.read_all(f)))[0]["h"].reshape(6, -1)
a, b = load(sys.argv[2]), load(sys.argv[3])
off = np.linalg.norm(a - b) / np.linalg.norm(b)
assert off < 1e-4, off
P
cat > back.py <<'P'
"""A model that was trained here, in torchvision."""
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np, torch, torchvision, frames
def load(name):
    with open(name, "rb") as f:
        return next(iter(frames.read_all(f)))[0]
m = torchvision.models.resnet18()
m.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)
m.maxpool = m.fc = torch.nn.Identity()
missing, unexpected = m.load_state_dict(
    {k: torch.from_numpy(np.array(v)) for k, v in load("ours.st").items()}, strict=False)
assert not missing and all(k.startswith("projector.") for k in unexpected), (missing, unexpected)
x = torch.from_numpy(load("views.st")["x"].astype(np.float32) / 255)
with torch.no_grad():
    h = m.eval()(x.flatten(0, 1).permute(0, 3, 1, 2))
with open("want18.st", "wb") as f:
    frames.write(f, {"h": h.numpy()})
P
encode --arch resnet50 --init theirs.st < x.st > got.st
check "torchvision's ResNet-50 gives the same features here" /usr/bin/python3 agree.py "$ROOT" got.st want.st

augment --data shapes --size 16 --batch 8 --steps 3 > train.st
lars --lr 0.1 --listen ipc://opt.ipc --model ours.st &
encode --opt ipc://opt.ipc --next 'exec:project --opt ipc://opt.ipc --next exec:ntxent' \
    < train.st > metrics.st
wait $!
augment --data shapes --size 16 --batch 3 --views 2 --steps 1 > views.st
encode --init ours.st < views.st > ours.h
/usr/bin/python3 back.py "$ROOT"
check "a model trained here gives the same features in torchvision" \
    /usr/bin/python3 agree.py "$ROOT" ours.h want18.st
done_testing
