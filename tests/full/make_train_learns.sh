#!/usr/bin/env bash
# `make train` with a third of its steps: the features must say far more about the class than those of
# the untrained network and than pixels.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR source=../make_train.bash
. "$ROOT/tests/make_train.bash"

at() { # NAME CONDITION on the accuracy x of NAME's linear probe
    awk -F '\t' -v name="$1" '$1 == name && $3 == "linear" { x = $4; print; exit !('"$2"') }' run/evaluation/results.tsv
}
make_train RUN=run
check "training with make train's settings, for 800 steps" train --steps 800
check "its evaluation" "$ROOT/pipelines/judge" --run run --limit 4000 --bootstrap 0
check "the trained encoder is at 35 % or more" at trained 'x >= 0.35'
check "the untrained one is under 25 %" at random 'x > 0 && x < 0.25'
check "pixels are under 25 %" at pixels 'x > 0 && x < 0.25'
done_testing
