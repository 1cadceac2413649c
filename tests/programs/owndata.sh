#!/usr/bin/env bash
# Small sets of own data with one oddity or defect each (owndata.py): labels, counts, names and top-1
# are those that Python computes from the files, or there is one line and status 1.
set -eu
. "$(dirname "$0")/../lib.sh"

if ! python_has numpy; then
    skip "own data" "python3-numpy is not installed"
    done_testing
    exit
fi
PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/owndata.py" "$ROOT" "$(dirname "$(command -v augment)")" >table
cat table
passed=$(grep -c '^ok - ' table) failed=$(grep -c '^not ok' table || true)
done_testing
