#!/usr/bin/env bash
# Tests of labels that name the transformation applied to an image (augment --target), and of how
# well features predict them (pipelines/judge --task).
set -eu
# shellcheck source-path=SCRIPTDIR source=../lib.sh
. "$(dirname "$0")/../lib.sh"

py() {
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 "$ROOT/tests/programs/augment.py" "$ROOT" "$@"
}
all=crop,flip,jitter:0.6,gray:0.4,blur,solarize:0.3,cutout:0.5,rotate,noise,sobel:0.2
views() { # the options of augment
    augment --data shapes --views 1 --batch 100 --limit 500 --epochs 1 --seed 5 "$@"
}
labelled() { # OPERATION SHARE...
    local operation=$1
    views --ops $all --target "$operation" --trace trace --out "$1.st" &&
        py outcomes "$operation" "$1.st" trace "${@:2}"
}
if python_has numpy; then
    check "y is the number of quarter turns" labelled rotate 0.25 0.25 0.25 0.25
    for pair in flip:0.5 jitter:0.6 gray:0.4 blur:0.5 solarize:0.3 cutout:0.5 noise:0.5 sobel:0.2; do
        name=${pair%:*} share=${pair#*:}
        check "y is whether $name was applied" labelled "$name" "$(awk "BEGIN { print 1 - $share }")" "$share"
    done
else
    skip "y is what the trace says" "python3-numpy is not installed"
fi

pieces() { # threads, the first step and ranks must change nothing
    views --ops center,rotate --target rotate --threads 1 --out one.st &&
        views --ops center,rotate --target rotate --threads 3 --out three.st && cmp one.st three.st &&
        views --ops center,rotate --target rotate --start 2 | inspect --limit 1 | grep ' y ' >late &&
        inspect one.st | grep ' y ' | sed -n 3p | cmp - late
}
check "threads and the first step do not change the labels" pieces
check "--target class gives the same y as no --target" cmp <(views --ops center --target class) <(views --ops center)
unlabelled() {
    mkdir -p plain && augment --data shapes --limit 8 --batch 8 --steps 1 --policy eval | inspect --png plain/a.png &&
        augment --data plain --batch 1 --ops center,flip --target flip | inspect --tsv >/dev/null
}
check "images need no labels" unlabelled

usage() { # WHAT REGEX ARGUMENTS...
    check_fails 2 "$1" "$2" augment --data shapes --out refused.st "${@:3}"
}
usage "a target of two views" 'y is the label of one view: --views 1' --ops crop,rotate --target rotate
usage "a target that is not there" 'gray is not among the operations' --ops center,rotate --target gray
usage "a target that is always so" 'gray comes out the same in every view: its probability is 1' \
    --ops center,gray:1 --target gray
usage "a target that is never so" 'its probability is 0' --ops center,rotate:0 --target rotate
usage "a target twice" 'gray is among the operations twice' --ops center,gray,gray:0.1 --target gray
usage "a target of a list that is not given" '--ops or --policy' --views 1 --target gray
usage "a target that is no operation" "'crop' is none of class" --ops crop --views 1 --target crop

# The accuracies mean little here, but the features of a random network show colour.
fixture run
tasks() {
    "$ROOT/pipelines/judge" --run run --task color,rotation --bootstrap 200 >table || return 1
    cat table
    awk '$1 == "color" && $2 == 50 && $3 > 70 && NF == 4 { n++ }
        $1 == "rotation" && $2 == 25 && $3 > 15 && NF == 4 { n++ } END { exit n != 2 }' table || return 1
    # compute the table's row for h without the pipeline
    images="augment --data images --batch 250 --ops center,gray:0.5 --target gray"
    $images --seed 0 | encode --width 0.125 --init run/model.safetensors >gray-train.st
    $images --split test --seed 1 | encode --width 0.125 --init run/model.safetensors >gray-test.st
    evaluate --train gray-train.st --test gray-test.st --bootstrap 200 | cmp - run/evaluation/color/h-linear.json &&
        evaluate --train 'exec:project --init run/model.safetensors <gray-train.st' \
            --test 'exec:project --init run/model.safetensors <gray-test.st' --bootstrap 200 |
        cmp - run/evaluation/color/z-linear.json
}
check "colour and rotation are predicted from h and from z" tasks
table_of_results() {
    awk -F'\t' 'NR == 1 && $0 != "name\ttensor\tmethod\ttop1\tlow\thigh\ttop5\tn_train\tn_test" { exit 1 }
        NR > 1 && !($5 <= $4 && $4 <= $6 && $6 <= 1 && $7 == 1 && $8 == 400 && $9 == 200) { exit 1 }
        END { exit NR != 3 }' run/evaluation/color/results.tsv
}
check "results.tsv has the same accuracies" table_of_results
check_fails 2 "an unknown task" "'hue' is none of class rotation" \
    "$ROOT/pipelines/judge" --run run --task hue
done_testing
