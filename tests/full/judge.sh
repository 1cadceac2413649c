#!/usr/bin/env bash
# Tests of pipelines/judge on one model: h, z, pixels and logits in one table, and on other data.
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

judge=$ROOT/pipelines/judge
small='encode --width 0.125'
export OMP_WAIT_POLICY=passive
fixture run

beside() {
    "$judge" --run run --on h,z,random,x --bootstrap 100 >table || return 1
    cat table
    [ "$(awk 'NR > 1 { print $1, $2 }' table | head -n 4 | paste -s -d ,)" = \
        "trained encoder,its projection,random encoder,raw pixels" ] &&
        [ "$(cut -f 1-3 run/evaluation/results.tsv | tail -n +2 | tr '\t' / | paste -s -d ' ')" = \
            "trained/h/linear trained/h/knn projected/z/linear projected/z/knn random/h/linear random/h/knn pixels/x/linear pixels/x/knn" ]
}
check "h, z, random features and x are in one table" beside
z_is_the_heads() {
    for part in train test; do
        augment --data images --policy eval --batch 250 --split $part | $small --init run/model.safetensors |
            project --init run/model.safetensors >z-$part.st
    done
    evaluate --train z-train.st --test z-test.st --bootstrap 100 | cmp - run/evaluation/projected-linear.json
}
check "z is what the head computes from h" z_is_the_heads
cat >classify.py <<END
"""Stands for a classifier: the logits are the first ten features."""
import sys
sys.path.insert(0, "$ROOT/tests")
import frames
assert sys.argv[1] == "--init"
for tensors, meta in frames.read_all(sys.stdin.buffer):
    if tensors:
        frames.write(sys.stdout.buffer, {"logits": tensors["h"][..., :10].copy(), "y": tensors["y"]})
frames.write_end(sys.stdout.buffer)
END
classified() {
    "$judge" --run run --on h,logits --projector '/usr/bin/python3 classify.py' --bootstrap 100 >table || return 1
    awk '/its classifier/ { found = $3 >= 0 && $4 == "-" } END { exit !found }' table &&
        awk -F '\t' '$2 == "logits" { found = $3 == "classifier" && $8 == "nan" && $9 == 200 } END { exit !found }' \
            run/evaluation/results.tsv
}
if python_has numpy; then
    check "logits of a classifier in place of the projector" classified
else
    skip "logits of a classifier" "python3-numpy is not installed"
fi
transfer() {
    "$judge" --run run --data shapes --limit 300 --test-limit 90 --bootstrap 0 --out shapes >table &&
        [ "$(awk -F '\t' 'NR > 1 && $9 == 90' shapes/results.tsv | wc -l)" = 6 ]
}
check "features are evaluated on other data" transfer
model_alone() { # no run, and no flags of the encoder or the projection head
    "$judge" --model run/model.safetensors --data images --on h,z,random,x --bootstrap 100 --out alone >table &&
        for name in trained-linear projected-knn random-linear pixels-knn; do
            cmp alone/$name.json run/evaluation/$name.json || return 1
        done
}
check "a model alone gives the results of its run" model_alone
contradict() {
    "$judge" --model run/model.safetensors --data images --encoder 'encode --width 0.5' --on h --out alone 2>err && return
    tail -n 1 err >&2
    return 1
}
check_fails 1 "a model and an encoder that contradict each other" \
    '^encode: --width 0.5, but run/model.safetensors was trained with width=0.125' contradict
check_fails 2 "a model without data" '--model without --run needs --data' "$judge" --model run/model.safetensors
check_fails 2 "a task on random features" 'tasks are judged on' "$judge" --run run --on h,random --task flip
check_fails 2 "an unknown tensor" "'y' is none of h, z, logits, random, x" "$judge" --run run --on h,y
done_testing
