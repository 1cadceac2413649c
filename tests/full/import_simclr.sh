#!/usr/bin/env bash
# Imports converted checkpoints of the official models: features and projections must agree with
# PyTorch's.
set -eu
. "$(dirname "$0")/../lib.sh"
export OMP_WAIT_POLICY=passive
if ! /usr/bin/python3 -c 'import importlib.util as u; assert u.find_spec("torchvision")' 2> /dev/null; then
    skip "converted checkpoints are imported" "python3-torchvision is not installed"
    done_testing
    exit 0
fi
check "a checkpoint that fits is imported; for any other there is one line and no file" \
    /usr/bin/python3 "$ROOT/tests/full/import_simclr.py" "$ROOT"
/usr/bin/python3 "$ROOT/examples/import_simclr.py" v2sk.pth v2sk.st > v2sk.commands
cat > agree.py <<'P'
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np, frames
def load(name):
    with open(name, "rb") as f:
        return next(iter(frames.read_all(f)))[0][sys.argv[4]].reshape(4, -1)
a, b = load(sys.argv[2]), load(sys.argv[3])
off = np.linalg.norm(a - b) / np.linalg.norm(b)
assert a.shape == b.shape and b.std() > 0 and off < 1e-4, (a.shape, b.shape, off)
P
agree() { /usr/bin/python3 agree.py "$ROOT" "$@"; }

same() { # NAME, the commands that the import printed, z: also compares projections
    diff - "$1.commands" <<< "$2" || return 1
    local command
    command=$(sed -n 1p "$1.commands")
    $command < x.st > "$1.h" && agree "$1.h" "$1.want" h || return 1
    [ $# = 3 ] || return 0
    command=$(sed -n 2p "$1.commands")
    $command < "$1.h" > "$1.z" && agree "$1.z" "$1.z.want" z
}
check "a checkpoint of torchvision" same torchvision \
    'encode --arch resnet18 --width 1 --stem imagenet --init torchvision.st'
check "a SimCLR checkpoint of simclr-converter" same v1 \
    'encode --arch resnet50 --width 0.25 --stem imagenet --init v1.st'
check "a SimCLRv2 checkpoint of SimCLRv2-Pytorch, with its head" same v2 \
    'encode --arch resnet50 --width 0.25 --stem imagenet --init v2.st
project --layers 2 --hidden 512 --dim 24 --init v2.st' z
check "a SimCLRv2 checkpoint with selective kernels and a head of 3 layers" same v2sk \
    'encode --arch resnet50 --width 0.25 --sk --stem imagenet --init v2sk.st
project --layers 3 --hidden 512 --dim 24 --init v2sk.st' z

done_testing
