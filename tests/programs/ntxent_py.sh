#!/usr/bin/env bash
# Tests of examples/ntxent.py, the short stage in Python.
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "examples/ntxent.py" "python3-numpy is not installed"
    done_testing
    exit
fi
export PYTHONDONTWRITEBYTECODE=1
check "loss, gradient, accuracy and entropy agree with PyTorch in float64" \
    /usr/bin/python3 "$ROOT/tests/programs/ntxent_py.py" "$ROOT"
check_fails 1 "a truncated stream" 'without an end frame' \
    /usr/bin/python3 "$ROOT/examples/ntxent.py" </dev/null
single() {
    /usr/bin/python3 -c 'import sys; sys.path.insert(0, sys.argv[1]); import numpy as np, frames
frames.write(sys.stdout.buffer, {"z": np.ones((1, 2, 3), np.float32)})' "$ROOT/tests" | /usr/bin/python3 "$ROOT/examples/ntxent.py"
}
check_fails 1 "a single image" 'a single image has no negatives' single
done_testing
