#!/usr/bin/env bash
# examples/ntxent.py: the stage in Python that shows how short a stage can be.
set -eu
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$@"
}
if python_has torch; then
    check "loss, gradient, accuracy and entropy as PyTorch's in float64" \
        py "$ROOT/tests/programs/ntxent_py.py" "$ROOT"
else
    skip "loss and gradient against PyTorch" "python3-torch is not installed"
fi
if python_has numpy; then
    check_fails 1 "a stream that breaks off" 'without an end frame' \
        /usr/bin/python3 "$ROOT/examples/ntxent.py" </dev/null
fi
done_testing
