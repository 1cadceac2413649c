#!/usr/bin/env bash
# Tests of encode: shapes, tensors that pass through, training replies, and bad input.
set -eu
. "$(dirname "$0")/../lib.sh"

cat > make.py <<'P'
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np, frames
r = np.random.default_rng(1)
def save(name, tensors, **meta):
    with open(name, "wb") as f:
        frames.write(f, tensors, **meta)
x = r.integers(0, 256, (6, 2, 16, 16, 3), dtype=np.uint8)
y, index = np.arange(6, dtype=np.int64), np.arange(6, dtype=np.int64) * 7
save("x.st", {"x": x, "y": y, "index": index}, step=3, note="kept")
save("float.st", {"x": (x / np.float32(255)).astype(np.float32)})
save("one.st", {"x": x[4:5], "y": y[4:5]})
save("grains.st", {"x": x}, step=0, batch=6, grains=4)
save("flat.st", {"x": x[0]})
save("gray.st", {"x": x[..., :1]})
save("empty.st", {"x": x[:0]})
save("viewless.st", {"x": x[:, :0]})
save("none.st", {"y": y})
P
/usr/bin/python3 make.py "$ROOT"
cat > compare.py <<'P'
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np, frames
def load(name):
    with open(name, "rb") as f:
        return next(iter(frames.read_all(f)))
(a, meta), (b, _), (c, _) = load("h.st"), load("float.h"), load("one.h")
assert a["h"].shape == (6, 2, 32) and a["h"].dtype == np.float32 and "x" not in a
assert (a["y"] == np.arange(6)).all() and (a["index"] == 7 * np.arange(6)).all()
assert meta["step"] == "3" and meta["note"] == "kept"
assert np.isfinite(a["h"]).all() and a["h"].std() > 0
assert np.allclose(a["h"], b["h"], rtol=1e-5, atol=1e-6)
assert (a["h"][4:5] == c["h"]).all()
P
tiny="--width 0.0625 --seed 5"
# shellcheck disable=SC2086
run() { encode $tiny "$@"; }
run < x.st > h.st
run < float.st > float.h
run < one.st > one.h
check "the features of a batch, of floats and of one image are right, and other tensors pass through" /usr/bin/python3 compare.py "$ROOT"
run --threads 3 < x.st > h3.st
check "the number of threads changes nothing" cmp h.st h3.st
run --seed 6 < x.st > other.st
check "another seed gives other features" bash -c '! cmp -s h.st other.st'

check_fails 1 "a missing tensor" 'x' encode --in none.st
check_fails 1 "too few dimensions" 'x' encode --in flat.st
check_fails 1 "one channel, with a normalization of three" 'x has 1 channels, and --normalize cifar10 is for 3' \
    encode --in gray.st --normalize cifar10
check_fails 1 "no views" 'x is empty' encode --in viewless.st
no_rows() {
    encode --width 0.25 --in empty.st --out empty-h.st && inspect empty-h.st | grep -q 'h *F32 *\[0,2,128\]'
}
check "without images there are no features" no_rows
check_fails 1 "a missing checkpoint" 'nowhere.st' encode --init nowhere.st --in x.st
check_fails 1 "a checkpoint of another network" 'none.st: no tensor conv1.weight' \
    encode --init none.st --in x.st
check_fails 2 "--next without --opt" '--next needs --opt' encode --next exec:cat --in x.st
check_fails 2 "--opt without --next" '--opt needs --next' encode --opt exec:cat --in x.st
check_fails 1 "a normalization of floats" 'x is F32, which is used as it is: --normalize cifar10 is for bytes' \
    encode --in float.st --normalize cifar10
check_fails 2 "an incomplete normalization" '--normalize 1,2' encode --normalize 1,2 --in x.st
check_fails 2 "an unknown option" 'colour' encode --colour red
check_fails 1 "grains that do not divide the batch" '4 grains' \
    encode --next 'exec:cat' --opt 'exec:cat' --in grains.st
done_testing
