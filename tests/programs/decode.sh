#!/usr/bin/env bash
# Compares the decoding of unusual and damaged PNG and JPEG files with PIL.
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has PIL numpy; then
    skip "odd pictures" "python3-pil or python3-numpy is not installed"
    done_testing
    exit
fi
odd() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/decode.py" "$ROOT" "$(command -v augment)"
}
check "odd pictures have PIL's pixels, or are refused" odd
done_testing
