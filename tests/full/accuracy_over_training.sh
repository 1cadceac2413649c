#!/usr/bin/env bash
# Accuracy over training: of kept models, of a run that is still going, and after an interruption.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

train=$ROOT/pipelines/train judge=$ROOT/pipelines/judge
small='encode --width 0.125'
export OMP_WAIT_POLICY=passive
mkdir images
/usr/bin/python3 "$ROOT/tests/programs/tiny_cifar.py" images 300 100
run() { # folder, options of pipelines/train
    "$train" --run "$1" --data images --batch 32 --seed 3 --encoder "$small" "${@:2}" >"$1.out" 2>&1
}

# ---- kept models ----
kept_whole() {
    run whole --steps 12 --keep-every 5 &&
        [ "$(cd whole && echo model*)" = "model-10.safetensors model-5.safetensors model.safetensors" ] &&
        [ "$(inspect --meta step whole/model-5.safetensors)" = 5 ]
}
check "a run keeps its models" kept_whole
kept_stopped() {
    printf '#!/bin/sh\nif mkdir began 2>/dev/null; then exec "%s" 7 ntxent; fi\nexec ntxent\n' \
        "$ROOT/tests/programs/fail-after" >once && chmod +x once
    run stopped --steps 12 --keep-every 5 --save-every 4 --restarts 0 --loss ./once && return 1
    [ "$(cd stopped && echo model*)" = model-5.safetensors ] && run stopped --resume &&
        cmp whole/model-5.safetensors stopped/model-5.safetensors &&
        cmp whole/model-10.safetensors stopped/model-10.safetensors
}
check "a run that was stopped and resumed keeps the same models" kept_stopped

judged() { # folder: the rows of each step must be the results of evaluate for its model
    local step model images="augment --data images --policy eval --batch 250" method
    for step in 5 10 12; do
        model=$1/model-$step.safetensors
        [ $step != 12 ] || model=$1/model.safetensors
        $images | $small --init "$model" >h-train.st
        $images --split test | $small --init "$model" >h-test.st
        for method in linear knn; do
            evaluate --method $method --train h-train.st --test h-test.st --bootstrap 300 |
                grep -oE '"(top1|top1_low|top1_high)": [0-9.e-]+' | awk '{ print $2 }'
        done | paste -s | sed "s/^/$step\t/"
    done
}
checkpoints() {
    "$judge" --run whole --checkpoints --bootstrap 300 >table || return 1
    cat table && judged whole >rows && tail -n +2 whole/evaluation/checkpoints.tsv | diff - rows &&
        [ "$(awk '$1 == "step" { print $2 }' table | paste -sd ' ')" = '5 10 12' ]
}
check "each kept model is evaluated" checkpoints
if command -v gnuplot >/dev/null; then
    check "the accuracies are drawn" grep -q '</svg>' whole/evaluation/checkpoints.svg
else
    skip "and drawn" "gnuplot is not installed"
fi
known_rows_stay() {
    sed -i 's/^5\t[0-9.]*/5\t0.125/' whole/evaluation/checkpoints.tsv # a wrong value
    sed -i '/^10\t/d' whole/evaluation/checkpoints.tsv
    "$judge" --run whole --checkpoints --bootstrap 300 >table || return 1
    grep -q $'^5\t0.125' whole/evaluation/checkpoints.tsv && ! grep -q 'step 5' table &&
        [ "$(cut -f 1 whole/evaluation/checkpoints.tsv | paste -s -d ' ')" = 'step 5 10 12' ]
}
check "steps that were evaluated are not evaluated again" known_rows_stay
without_gnuplot() {
    local program
    mkdir few
    for program in bash sh augment encode evaluate inspect awk sed grep sort head tail cut mv rm mkdir mktemp cmp find dirname cat \
        readlink realpath flock supervise; do
        ln -s "$(command -v $program)" few
    done
    PATH=$T/few BIN=$T/few "$T/few/bash" "$judge" --run whole --checkpoints --bootstrap 300 --limit 250 >table 2>said || { cat said && return 1; }
    grep -q 'starts anew' said && grep -q 'no picture, for gnuplot is not installed' said &&
        ! grep -q $'^5\t0.125' whole/evaluation/checkpoints.tsv
}
check "with other options all steps are evaluated again, and a missing gnuplot is reported" without_gnuplot

# ---- a run in progress ----
follow() {
    run followed --steps 30 --save-every 5 --loss "sh -c 'sleep 2; exec ntxent'" &
    local trainer=$!
    "$judge" --run followed --follow --bootstrap 300 >tap.out 2>&1 || { cat tap.out && return 1; }
    wait $trainer || return 1
    cat tap.out
    # Steps must ascend, be those of states, and end with the last one, whose accuracy is the
    # model's.
    cut -f 1 followed/evaluation/checkpoints.tsv | awk 'NR > 1 { if ($1 <= last || $1 % 5) exit 1; last = $1; n++ }
        END { exit !(last == 30 && n >= 1) }'
}
check "a run is evaluated while it is in progress" follow
untouched() {
    run alone --steps 30 --save-every 5 && cmp alone/model.safetensors followed/model.safetensors &&
        cmp alone/state.safetensors followed/state.safetensors
}
check "the evaluation changes no bit of the run" untouched
last_row() {
    "$judge" --run alone --checkpoints --bootstrap 300 >/dev/null &&
        diff <(tail -n 1 alone/evaluation/checkpoints.tsv) <(tail -n 1 followed/evaluation/checkpoints.tsv)
}
check "the accuracies of the last state are the model's" last_row
again() {
    cp followed/evaluation/checkpoints.tsv before.tsv
    "$judge" --run followed --follow --bootstrap 300 && cmp before.tsv followed/evaluation/checkpoints.tsv
}
check "a run that is complete and evaluated is left alone" again
check "no temporary folder is left" test -z "$(find . -name 'work.*')"
halted() {
    run halted --steps 12 --save-every 4 --restarts 0 --loss "$ROOT/tests/programs/fail-after 7 ntxent" && return 1
    ! "$judge" --run halted --follow --bootstrap 0 >said 2>&1 &&
        grep -q 'halted stopped after 4 steps; --follow again once it goes on' said &&
        [ "$(cut -f 1,3 halted/evaluation/checkpoints.tsv | tail -n 1)" = $'4\tnan' ]
}
check "a run that stopped is evaluated up to its last state" halted
check_fails 1 "a run that never begins" 'nothing: no run begins there within 1 s' \
    "$judge" --run nothing --follow --timeout 1
mkdir bare && cp whole/options bare/
check_fails 1 "no models" 'bare: no models; pipelines/train --keep-every' "$judge" --run bare --checkpoints
check_fails 2 "--task with --checkpoints" 'exclude each other' "$judge" --run whole --checkpoints --task color
done_testing
