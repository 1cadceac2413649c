#!/usr/bin/env bash
# Runs the numerical unit tests with each instruction set level below this machine's, and compares a
# network's features with those of this machine's level.
set -eu
. "$(dirname "$0")/../lib.sh"
unit=${UNIT:-$ROOT/build/tests}
tests="chunks conv cross_entropy encoders lars losses activations network optimizers pixels winograd"

augment --data shapes --batch 8 --steps 2 >views.st
for precision in fp32 bf16; do
    encode --width 0.5 --precision $precision <views.st >here.$precision
done
cat >near.py <<'P'
import sys; sys.path.insert(0, sys.argv[1] + "/tests")
import numpy as np, frames
def load(name):
    with open(name, "rb") as f:
        return np.concatenate([t["h"] for t, _ in frames.read_all(f) if t])
a, b = load(sys.argv[2]).astype(np.float64), load(sys.argv[3])
off = np.linalg.norm(a - b) / np.linalg.norm(b)
assert a.shape == b.shape and b.std() > 0, a.shape
assert off < float(sys.argv[4]), off
P
near() { # PRECISION, bound for float32 sums in another order, or for as many roundings to bf16
    SIMCLR_ISA=$level encode --width 0.5 --precision "$1" <views.st >there.st &&
        /usr/bin/python3 near.py "$ROOT" there.st "here.$1" "$2"
}
unit_test() { # NAME
    (cd "$ROOT" && "$unit/test_$1")
}
if ! python_has numpy; then
    skip "lower levels" "python3-numpy is not installed"
    done_testing
    exit
fi
"$unit/test_isa" look >machine
n=0
for level in portable avx2 avx512 avx512-bf16; do
    n=$((n + 1))
    if ! grep -q "^has $n 1" machine; then
        skip "$level" "no level of this machine lies above it"
        continue
    fi
    export SIMCLR_ISA=$level
    for name in $tests; do
        check "$level: test_$name" unit_test "$name"
    done
    check "$level: features in fp32" near fp32 1e-5
    check "$level: features in bf16" near bf16 2e-2
    unset SIMCLR_ISA
done
check_fails 2 "an unknown level" "SIMCLR_ISA is 'sse', not one of portable" env SIMCLR_ISA=sse encode --in views.st
done_testing
