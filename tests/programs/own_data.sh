#!/usr/bin/env bash
# Small data sets of a user's own, each with one oddity or defect (own_data.py): labels, counts, names
# and top-1 accuracy must be those that Python computes from the files, or augment must fail with one
# line and status 1.
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "own data" "python3-numpy is not installed"
    done_testing
    exit
fi
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/own_data.py" "$ROOT" "$(dirname "$(command -v augment)")" >table
cat table
passed=$(grep -c '^ok - ' table) failed=$(grep -c '^not ok' table || true)
done_testing
