#!/usr/bin/env bash
# Tests of pipelines/finetune: from random parameters, from a run, frozen, with some of the labels,
# interrupted; and the accuracy that it reports on the test split.
# shellcheck disable=SC2016 # sh -c expands by itself
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"
export PYTHONDONTWRITEBYTECODE=1
small='encode --width 0.125'
finetune() { # folder, options
    local folder=$1
    shift
    "$ROOT/pipelines/finetune" --run "$folder" --data images --batch 16 "$@" >"$folder.out" 2>&1
}
if ! evaluate --help | grep -q classifier; then
    skip "finetune" "evaluate has no method classifier"
    done_testing
    exit
fi

fixture run
check "training from random parameters" finetune scratch --steps 4 --labels 0.05 --encoder "$small"
check "training from a run, with a part frozen" finetune tuned --from run --steps 3 --labels 0.1 --freeze layer2
check "linear evaluation" finetune linear --from run/model.safetensors --encoder "$small" --steps 3 --freeze layer4
one_line() {
    [ "$(grep -c 'top-1 on the test split: [0-9.]* %' "$1.out")" = 1 ] && grep -q '"top1"' "$1/test.json"
}
for run in scratch tuned linear; do
    check "$run: top-1 is printed as a line and stored as JSON" one_line $run
done
if python_has numpy; then
    numpy_counts() {
        augment --data images --split test --policy eval --batch 250 | $small --init tuned/model.safetensors |
            classify --init tuned/model.safetensors >logits.st
        local want have
        want=$(/usr/bin/python3 "$ROOT/tests/programs/classify.py" "$ROOT" top1 logits.st)
        have=$(sed -n 's/.*"top1": *\([0-9.eE+-]*\).*/\1/p' tuned/test.json)
        awk -v a="$want" -v b="$have" 'BEGIN { exit !(a - b < 1e-6 && b - a < 1e-6) }'
    }
    check "$run: top-1 agrees with numpy" numpy_counts
    moved() {
        /usr/bin/python3 "$ROOT/tests/programs/classify.py" "$ROOT" frozen run/model.safetensors \
            linear/model.safetensors layer4
    }
    check "linear evaluation does not change the encoder" moved
fi
interrupted() {
    printf '#!/bin/sh\nif mkdir began 2>/dev/null; then exec "%s" 2 classify "$@"; fi\nexec classify "$@"\n' \
        "$ROOT/tests/programs/fail-after" >once && chmod +x once
    finetune stopped --steps 4 --labels 0.05 --save-every 1 --restarts 0 \
        --encoder "$small" --classifier ./once && return 1
    [ ! -e stopped/test.json ] && finetune stopped --resume &&
        cmp stopped/model.safetensors scratch/model.safetensors && cmp stopped/test.json scratch/test.json
}
check "a run that was interrupted and resumed has the same bits" interrupted
check "a complete run prints its accuracy again" sh -c \
    '"$0" --run scratch --resume | grep -q "top-1 on the test split"' "$ROOT/pipelines/finetune"
check_fails 1 "a missing model" 'nowhere: no such model' \
    "$ROOT/pipelines/finetune" --run x --from nowhere
done_testing
