#!/usr/bin/env bash
# Tests of the command that `make train` runs, with the Makefile's settings: a few steps of it.
# tests/full/make_train_learns.sh trains longer.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR source=../make_train.bash
. "$ROOT/tests/make_train.bash"

a_few_steps() {
    train --steps 2 --batch 16 --limit 100 && [ "$(cut -f 1 run/metrics.tsv | paste -s -d ,)" = step,0,1 ] &&
        "$ROOT/pipelines/judge" --run run --limit 100 --test-limit 50 --bootstrap 0 >table && cat table &&
        [ "$(awk 'NR > 1 { print $1, $2 }' table | head -n 3 | paste -s -d ,)" = "trained encoder,random encoder,raw pixels" ]
}
make_train RUN=run
check "make train's settings train, and judge reads the run" a_few_steps
check "they are those of drawn images" grep -qx -- '--data shapes' run/options
make_train RUN=run 'DATA=my shapes' EPOCHS=7 "ENCODER=encode --normalize 'none'"
check "other data, with a space in its name, has the general settings" \
    [ "${arguments[*]}" = "--data my shapes --epochs 7 --augment augment --encoder encode --normalize 'none' --loss ntxent --optimizer lars --scaling sqrt --warmup 1 --run run" ]
done_testing
