#!/usr/bin/env bash
# Tests of project: shapes, heads of 0 to 4 layers, a training step, and bad input.
set -eu
. "$(dirname "$0")/../lib.sh"

cat > make.py <<'P'
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np, frames
r = np.random.default_rng(1)
def save(name, tensors, **meta):
    with open(name, "wb") as f:
        frames.write(f, tensors, **meta)
h = r.standard_normal((8, 2, 24), dtype=np.float32)
save("h.st", {"h": h, "y": np.arange(8, dtype=np.int64)})
save("step.st", {"h": h, "y": np.arange(8, dtype=np.int64)}, step=0, steps=1, batch=8, grains=4)
save("z.st", {"z": h, "z_target": -h})
save("zstep.st", {"z": h, "z_target": -h}, step=0, steps=1, batch=8, grains=4)
save("wrong.st", {"h": h.reshape(8, 48)})
save("late.st", {"h": h}, step=7, steps=9, batch=8, grains=4)
P
/usr/bin/python3 make.py "$ROOT"
cat > compare.py <<'P'
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np, frames
def load(name):
    with open(name, "rb") as f:
        return next(iter(frames.read_all(f)))[0]
h = load("h.st")["h"]
for layers, width in (0, 24), (1, 10), (2, 10), (3, 10), (4, 10):
    z = load(f"z{layers}.st")
    assert z["z"].shape == (8, 2, width) and "h" not in z and (z["y"] == np.arange(8)).all()
    assert np.isfinite(z["z"]).all()
assert (load("z0.st")["z"] == h).all()
dh = load("dh.st")
assert list(dh) == ["dh"] and dh["dh"].shape == h.shape and np.abs(dh["dh"]).max() > 0
P
for layers in 0 1 2 3 4; do
    project --layers $layers --dim 10 --hidden 12 < h.st > z$layers.st
done
project --dim 10 --next exec:ntxent --opt 'exec:lars --lr 0.1 --model m.st' < step.st > dh.st
check "heads of 0 to 4 layers, and the gradient of a step" /usr/bin/python3 compare.py "$ROOT"
project --dim 10 --threads 3 --next exec:ntxent --opt 'exec:lars --lr 0.1 --model m3.st' \
    < step.st > dh3.st
check "the number of threads changes no gradient" cmp dh.st dh3.st
check "the number of threads changes no parameter" cmp m.st m3.st
project --dim 10 --init m.st < h.st > trained.st
check "a trained model can be loaded" test -s trained.st
cat > sequential.py <<'P'
# numpy computes a trained head of that many layers in evaluation mode: Linear, BatchNorm1d, ReLU,
# ... A predictor ends with a Linear.
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np, frames
layers, part = int(sys.argv[2]), sys.argv[3]
def load(name):
    with open(name, "rb") as f:
        return next(iter(frames.read_all(f)))[0]
m, want = load(f"{part}{layers}.st"), load("h.st")["h"].astype(np.float64)
assert all(name.startswith(part + ".") for name in m), list(m)
assert sum(value.ndim == 2 for value in m.values()) == layers, list(m)
for l in range(layers):
    norm = f"{part}.{3 * l + 1}."
    want = want @ m[f"{part}.{3 * l}.weight"].T.astype(np.float64)
    if part == "predictor" and l == layers - 1:
        assert norm + "weight" not in m, list(m)
        break
    want = (want - m[norm + "running_mean"]) / np.sqrt(m[norm + "running_var"] + 1e-5)
    want = want * m[norm + "weight"]
    if l < layers - 1:
        want = np.maximum(want + m[norm + "bias"], 0)
made = load(f"made{layers}.st")
z = made["z"]
assert part == "projector" or (made["z_target"] == -load("h.st")["h"]).all()
assert np.abs(z - want).max() < 1e-4 * np.abs(want).max(), np.abs(z - want).max()
P
as_sequential() { # layers
    project --layers "$1" --dim 10 --hidden 12 --next exec:ntxent \
        --opt "exec:lars --lr 0.1 --warmup-steps 0 --model projector$1.st" <step.st >step.out || return
    project --layers "$1" --dim 10 --hidden 12 --init "projector$1.st" <h.st >"made$1.st"
    /usr/bin/python3 sequential.py "$ROOT" "$1" projector
}
for layers in 1 2 3 4; do
    check "a trained head of $layers layers agrees with numpy" as_sequential $layers
done
predicts() { # layers; the file says the widths, and the output is as wide as the input
    project --predictor --layers "$1" --hidden 12 --next exec:byol \
        --opt "exec:lars --lr 0.1 --warmup-steps 0 --model predictor$1.st" <zstep.st >step.out || return
    project --predictor --init "predictor$1.st" <z.st >"made$1.st"
    /usr/bin/python3 sequential.py "$ROOT" "$1" predictor
}
for layers in 1 2 3; do
    check "a trained predictor of $layers layers agrees with numpy" predicts $layers
done
check "a predictor says what it is" grep -q '"predictor":"layers=2 hidden=12 dim=24"' predictor2.st
check_fails 1 "another predictor than the file's" '--hidden 13, but predictor2.st was trained with hidden=12' \
    project --predictor --hidden 13 --init predictor2.st --in z.st
check_fails 1 "a projection head's file for a predictor" 'm.st: no tensor predictor.0.weight; is the file of another' \
    project --predictor --init m.st --in z.st
check_fails 1 "no z for a predictor" 'the frame has no tensor z' project --predictor --in h.st
check_fails 1 "a wrong shape" 'h' project --in wrong.st
check_fails 1 "a model of another shape" 'm.st' project --dim 11 --init m.st --in h.st
check_fails 1 "another step than the optimizer's" 'start it with --start 0' \
    project --next 'exec:ntxent 2>ntxent.err' --opt 'exec:lars --lr 0.1 --model late.model 2>lars.err' \
    --in late.st
check_fails 2 "five layers" 'layers' project --layers 5
done_testing
